"""The configuration of a study, from presets, YAML and flags."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from vestige.config.base import Settings, fingerprint, merge
from vestige.config.difficulty import DifficultyConfig
from vestige.config.image import (
    DataConfig,
    MLPConfig,
    ModelConfig,
    OutputsConfig,
    Recipe,
    RecoverConfig,
    ShadowConfig,
    TrainConfig,
    UnlearnConfig,
    kind_of,
)
from vestige.config.text import (
    AskConfig,
    LMConfig,
    TextDataConfig,
    TextRecipe,
    TextUnlearnConfig,
    TuneConfig,
    UtilityConfig,
)
from vestige.types import InputError


class Replicated(Settings):
    """What every study says, whatever it is about."""

    study: str = "image-target"
    preset: str = "small"
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the models live; cuda: every GPU seen")
    seed: int = Field(0, ge=0, description="the first seed")
    seeds: int = Field(5, ge=1, description="how many replicates: seed, seed + 1, …")
    training: tuple[Literal["without", "with"], ...] = ("without", "with")


class StudyConfig(Replicated):
    """Everything that a run folder was made with."""

    modality: Literal["image"] = "image"
    stages: tuple[str, ...] = ("before", "R0", "R1", "relabel", "RF-1+3", "RF-1+5")
    data: DataConfig = DataConfig()
    model: ModelConfig = MLPConfig()
    train: TrainConfig = TrainConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
    recover: RecoverConfig = RecoverConfig()
    variants: dict[str, dict[str, Any]] = Field(
        {}, description="name → data settings over those above: the conditions of a dose study"
    )
    measure: tuple[Literal["recall", "influence", "outputs", "membership"], ...] = ("recall",)
    outputs: OutputsConfig = OutputsConfig()
    shadow: ShadowConfig = ShadowConfig()

    @model_validator(mode="after")
    def _measurable(self) -> Self:
        if not self.measure:
            raise ValueError("measure needs at least one of recall, influence, outputs, membership")
        if "membership" in self.measure and "outputs" not in self.measure:
            raise ValueError("measure: membership is judged on outputs; add outputs")
        return self

    @property
    def recipe(self) -> Recipe:
        return Recipe(model=self.model, train=self.train, unlearn=self.unlearn)

    def of(self, variant: str) -> StudyConfig:
        """These settings with those of a variant over them; themselves for "". Raises InputError for unknown names."""
        if not variant:
            return self
        if variant not in self.variants:
            raise InputError(f"no variant is called {variant!r}; known: {', '.join(self.variants) or 'none'}")
        return build([self.model_dump(mode="json", exclude={"variants"}), self.variants[variant]])


class TextStudyConfig(Replicated):
    """Everything that the run folder of a language study was made with."""

    study: str = "text-target"
    modality: Literal["text"] = "text"
    seeds: int = Field(2, ge=1, description="how many replicates: seed, seed + 1, …")
    stages: tuple[str, ...] = ("base", "before", "R0", "R1", "GA_GDN")
    unit: Literal["target", "joint"] = Field(
        "target", description="what one unlearning run forgets: one target, or all"
    )
    data: TextDataConfig = TextDataConfig()
    model: LMConfig = LMConfig()
    train: TuneConfig = TuneConfig()
    unlearn: TextUnlearnConfig = TextUnlearnConfig()
    ask: AskConfig = AskConfig()
    measure: tuple[Literal["answers", "membership", "returns", "utility"], ...] = Field(
        ("answers",),
        description="membership: also whether the targets look trained on, beside pairs that never were; returns: also "
        "whether they come back, relearned or with weights rounded; utility: also what the model is still good for",
    )
    relearn_steps: int = Field(10, ge=1, description="gradient steps of relearning that are tried at most")
    utility: UtilityConfig = UtilityConfig()

    @property
    def recipe(self) -> TextRecipe:
        return TextRecipe(model=self.model, train=self.train, unlearn=self.unlearn, ask=self.ask)


AnyStudyConfig = StudyConfig | TextStudyConfig
Study = TypeVar("Study", bound=Settings)


class AnalyseConfig(Settings):
    """What `vestige data analyse` looks at: a data set, through which encoder, and what labels its topics."""

    data: DataConfig = DataConfig()
    seed: int = Field(0, ge=0)
    encoder: str = Field("pixels", description="an encoder of images or of text, with its weights after a colon")
    limit: int | None = Field(None, ge=1, description="at most so many samples; whole groups first")
    clusters: int | None = Field(None, ge=2, description="of K-means; none: as many as there are classes")
    draws: int = Field(200, ge=40, description="of every null")
    label_url: str | None = Field(None, description="an OpenAI-compatible endpoint that labels topics; none: keywords")
    label_model: str = Field("", description="the model that is asked there")
    label_timeout: float = Field(60.0, gt=0, description="seconds per answer")


def build(layers: Iterable[Mapping[str, Any]]) -> StudyConfig:
    """The configuration of an image study that these layers add up to; later ones win, variants replace earlier ones.

    Raises InputError for unknown keys (with the nearest known one), for values out of range, and for variants that
    change anything but data settings or are alike.
    """
    config = _validated(_stacked(layers), StudyConfig)
    _check_variants(config)
    return config


def build_text(layers: Iterable[Mapping[str, Any]]) -> TextStudyConfig:
    """The configuration of a language study that these layers add up to. Raises InputError as `build` does."""
    return _validated(_stacked(layers), TextStudyConfig)


def build_difficulty(layers: Iterable[Mapping[str, Any]]) -> DifficultyConfig:
    """The configuration of a difficulty study that these layers add up to. Raises InputError as `build` does."""
    return _validated(_stacked(layers), DifficultyConfig)


def build_any(layer: Mapping[str, Any]) -> AnyStudyConfig:
    """The configuration that a run folder was made with, of the modality that it names."""
    return build_text([layer]) if layer.get("modality") == "text" else build([layer])


def _stacked(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        if _other_kind(merged.get("model"), layer.get("model")):
            merged["model"] = {}
        merged = merge(merged, layer) | {key: layer[key] for key in ("variants",) if key in layer}
    return merged


def _validated(settings: Mapping[str, Any], about: type[Study]) -> Study:
    try:
        return about.model_validate(settings)
    except ValidationError as error:
        raise InputError(_explain(error, about)) from None


def _check_variants(config: StudyConfig) -> None:
    same: dict[str, str] = {}
    for name, over in config.variants.items():
        if not name or " · " in name:
            raise InputError(f"a variant needs a name without ' · ', got {name!r}")
        if set(over) != {"data"} or not isinstance(over["data"], dict) or "source" in over["data"]:
            raise InputError(f"variant {name!r} must change data settings, not data.source and nothing else: {over}")
        try:
            data = config.of(name).data
        except InputError as error:
            raise InputError(f"variant {name!r}: {error}") from None
        twin = same.setdefault(fingerprint(data), name)
        if twin != name:
            raise InputError(f"the variants {twin!r} and {name!r} have the same settings; remove one")


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. Raises InputError if it is missing, not YAML, or not a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping of settings, found a {type(content).__name__}")
    return content


def read_set(items: Iterable[str]) -> dict[str, Any]:
    """The settings in `a.b=c` flags; values are read as YAML, so 3, 0.1, true and [1, 2] mean what they say."""
    layer: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise InputError(f"--set takes KEY=VALUE such as train.steps=2000, got {item!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--set {key}: {text!r} is not a value that YAML can read: {error}") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        layer = merge(layer, value)
    return layer


def to_yaml(config: Settings) -> str:
    """The whole configuration as YAML that `--config` reads back."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _other_kind(old: Any, new: Any) -> bool:
    """Whether the later layer names a network of another kind: its fields are not those of the earlier."""
    return isinstance(old, Mapping) and isinstance(new, Mapping) and "kind" in new and kind_of(new) != kind_of(old)


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, info in model.model_fields.items():
        found.append(prefix + name)
        for record in _records(info.annotation):
            found += _keys(record, f"{prefix}{name}.")
    return list(dict.fromkeys(found))


def _records(annotation: Any) -> list[type[BaseModel]]:
    """The settings records that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [record for part in get_args(annotation) for record in _records(part)]


def _explain(error: ValidationError, about: type[Settings]) -> str:
    lines = []
    for problem in error.errors():
        # pydantic names the kind of the network between "model" and its field
        place = [part for i, part in enumerate(problem["loc"]) if not (i == 1 and problem["loc"][0] == "model")]
        key = ".".join(str(part) for part in place)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {key!r}{_hint(key, about)}")
        else:
            lines.append(f"{key}: {problem['msg']}, found {problem['input']!r}")
    return "the configuration cannot be used:\n  " + "\n  ".join(lines)


def _hint(key: str, about: type[Settings]) -> str:
    known = _keys(about)
    last = key.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or [
        name for name in known if difflib.get_close_matches(last, [name.rpartition(".")[2]], cutoff=0.7)
    ]
    return f"; did you mean {near[0]!r}?" if near else f"; known at the top: {', '.join(about.model_fields)}"
