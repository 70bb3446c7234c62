"""Settings of an audit: what a deletion request asks for, of which data and which model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from vestige.config.base import Settings
from vestige.config.image import ModelConfig, TrainConfig, UnlearnConfig
from vestige.config.text import LMConfig, TextUnlearnConfig, TuneConfig


class Pair(Settings):
    """A record of text given by itself instead of by its id."""

    question: str
    answer: str = ""


class AuditData(Settings):
    """The data that the model was trained on; or, of a language model without it, what stands in for it."""

    source: str | None = Field(None, description="a known name, a file or a folder, as of --data; none: not there")
    per_class: int | None = Field(
        None,
        ge=1,
        description="of images: only the first so many of each class were trained on; the rest is never seen",
    )
    first: int | None = Field(None, ge=1, description="of text: only the first so many pairs were trained on")
    controls: str | None = Field(None, description="data that the model was never trained on, of the same kind")
    retain: str | None = Field(
        None, description="of text, without source: pairs that the model answers, and should go on answering"
    )
    question: str = Field("", description="of text: the column of questions; empty: one that is known")
    answer: str = Field("", description="of text: the column of answers; empty: one that is known")
    id: str = Field("", description="of text: the column of ids; empty: `id` where there is one")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        missing = [name for name in ("controls", "retain") if getattr(self, name) is None]
        if self.source is None and missing:
            raise ValueError(
                "name source, what the model was trained on; a language model is audited without it beside controls "
                "(pairs that it never saw) and retain (pairs that it answers, and should go on answering), of which "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        if self.source is None and (self.first or self.per_class):
            raise ValueError("first and per_class say how much of source was trained on, and there is no source")
        if self.source is not None and self.retain is not None:
            raise ValueError("retain stands in for training data that is not there; leave it out, or source")
        return self


class AuditModel(Settings):
    """The model that must forget, and what can train another one like it."""

    train: str | None = Field(None, description="your own: module:function, train(samples, seed) → nn.Module")
    network: ModelConfig | None = Field(None, description="an image classifier that vestige knows")
    recipe: TrainConfig | None = Field(None, description="how the known network is trained; none: it cannot be")
    language: LMConfig | None = Field(None, description="a causal language model; with `tune`, what tuning starts from")
    tune: TuneConfig | None = Field(None, description="how the language model was fine-tuned; none: it cannot be again")
    weights: str | None = Field(None, description="the model before: safetensors; of language a folder, hub name, GGUF")
    after: str | None = Field(
        None, description="with method `given`, the model to judge: weights, or module:function that returns it"
    )
    allow_pickle: bool = Field(False, description="read pickled weights by torch's reader of plain tensors")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        named = [name for name in ("train", "network", "language") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(
                f"name one of train (your own), network (known images) or language; found {', '.join(named) or 'none'}"
            )
        if self.recipe and not self.network:
            raise ValueError("recipe says how a known network is trained; give it with network")
        if self.tune and not self.language:
            raise ValueError("tune says how a language model is trained; give it with language")
        if self.network and not (self.recipe or self.weights):
            raise ValueError("a network needs its weights, a recipe to train it by, or both")
        return self


class Widening(Settings):
    """What counts as a similar record."""

    by: str | None = Field(
        None, description="aligned, ssim, embedding (images); embedding, lexical (text); none: the first"
    )
    k: int = Field(
        20, ge=1, description="nearest records of each record to forget that may go with it; more are named and stay"
    )
    tau: float | None = Field(
        None, ge=-1, le=1, description="least similarity; none: more than any of 2,000 random pairs of the data have"
    )


class AuditRequest(Settings):
    """A deletion request, from what must go to the gate that it must pass."""

    data: AuditData
    model: AuditModel
    records: tuple[str | Pair, ...] = Field((), description="what must be forgotten: ids, or of text the pairs")
    records_file: str | None = Field(None, description="or the records themselves, as a data set of their own")
    scope: Literal["exact", "similar"] = Field("exact", description="similar: also what repeats the records")
    policy: Literal["keep", "ask", "remove"] = Field("ask", description="of similar records of other owners")
    same_owner: tuple[str, ...] = Field((), description="similar records whose owner made this request: they go too")
    decisions: dict[str, Literal["keep", "remove"]] = Field({}, description="answers where the policy is to ask")
    similar: Widening = Widening()
    method: str = Field(
        "auto", description="auto, a name in METHODS, or given: somebody else's `model.after` is judged"
    )
    unlearn: UnlearnConfig | TextUnlearnConfig | None = Field(None, description="settings of the method")
    utility: float = Field(0.02, ge=0, le=1, description="how much accuracy (of text: recall) may be lost")
    gate: str = Field(
        "forgotten == records and utility_drop <= utility", description="what must hold for exit status 0"
    )
    references: int = Field(
        12, ge=4, description="models trained for comparison without the records, and so many without similar ones too"
    )
    predictor: str | None = Field(
        None, description="of images: a predictor.json of `vestige difficulty join`; none: the one in vestige"
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.records and not self.records_file:
            raise ValueError("nothing is to be forgotten: name records by their ids, or a records_file")
        if (self.method == "given") != (self.model.after is not None):
            raise ValueError("method: given and model.after belong together: the model that somebody else made")
        return self
