"""Settings of a difficulty study: which samples, which algorithms, how often, against which references."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from vestige.config.base import Settings
from vestige.config.image import (
    Ascent,
    CNNConfig,
    Dampening,
    DataConfig,
    NegGrad,
    NetworkConfig,
    Recipe,
    Relabel,
    Scrub,
    Sisa,
    Steps,
    TrainConfig,
    UnlearnConfig,
)

Algorithm = Literal["EU", "FT", "SISA", "GA", "NegGrad+", "relabel", "SCRUB", "SSD"]


class DifficultyData(Settings):
    """What the models are trained on: an even draw of every class, and copies of some where doses are studied."""

    source: str = Field("mnist", description="a known name, a file or a folder, as everywhere")
    train: int = Field(1000, ge=4, description="training samples")
    test: int = Field(500, ge=1, description="samples for test accuracy, never trained on")
    transform: Literal["mask", "noise", "shift", "crop", "jpeg", "brightness", "blur"] = Field(
        "mask", description="how a constructed similar sample is made, with the strength of `data build`"
    )

    @property
    def made(self) -> DataConfig:
        """How similar samples are made."""
        return DataConfig(source=self.source, transform=self.transform)


class ReferenceConfig(Settings):
    """Models that were not trained on a sample: they say what its probability should be once it is forgotten."""

    models: int = Field(8, ge=2, description="references of every sample: models that were not trained on it")
    way: Literal["subset", "one"] = Field(
        "subset", description="subset: each is trained without one of the folds; one: without the sample alone"
    )
    folds: int = Field(5, ge=2, description="a subset model leaves out one of so many parts of the training set")


class DifficultyConfig(Settings):
    """Everything that the run folder of a difficulty study was made with."""

    study: Literal["difficulty"] = "difficulty"
    modality: Literal["image", "labelled"] = "image"
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the models live")
    seed: int = Field(0, ge=0, description="the first seed; also that of the data set and of the references")
    seeds: int = Field(3, ge=1, description="how many models before unlearning: seed, seed + 1, …")
    samples: int = Field(100, ge=1, description="samples to unlearn, one at a time, even over classes and memorisation")
    algorithms: tuple[Algorithm, ...] = ("EU", "FT", "SISA", "GA", "NegGrad+", "relabel", "SCRUB", "SSD")
    data: DifficultyData = DifficultyData()
    doses: tuple[int, ...] = Field((), description="numbers of constructed similar samples, beside 0: data sets more")
    dosed: int = Field(20, ge=1, description="samples that get them, the same ones in every dose")
    model: NetworkConfig = CNNConfig(channels=(8, 16, 32))
    train: TrainConfig = TrainConfig(
        steps=10, lr=0.05, weight_decay=5e-4, batch=50, momentum=0.9, schedule="cosine", sisa=None
    )
    sisa: Sisa = Field(Sisa(), description="shards and slices of the model that SISA forgets from")
    references: ReferenceConfig = ReferenceConfig()
    budget: float = Field(0.1, gt=0, le=1, description="sample passes of an algorithm, as a share of training's")
    unlearn: UnlearnConfig = UnlearnConfig(
        finetune=Steps(steps=1, lr=0.2),
        relabel=Relabel(steps=1, lr=3e-5),
        ascent=Ascent(steps=10, lr=5e-4),
        neggrad=NegGrad(steps=1, lr=0.03, alpha=0.95),
        scrub=Scrub(steps=1, lr=0.05, alpha=0.5, gamma=1.0, temperature=2.0, max_steps=1),
        ssd=Dampening(alpha=1.5, lam=1.0),
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.algorithms or len(set(self.algorithms)) < len(self.algorithms):
            raise ValueError(f"algorithms must be named once each, at least one; got {list(self.algorithms)}")
        if any(dose < 1 for dose in self.doses) or len(set(self.doses)) < len(self.doses):
            raise ValueError(f"doses must differ and be at least 1 (0 is always there); got {list(self.doses)}")
        if self.train.sisa is not None:
            raise ValueError("train.sisa must stay null: `sisa` says how SISA's own model is trained")
        return self

    @property
    def recipe(self) -> Recipe:
        """How the models are trained and unlearned."""
        return Recipe(model=self.model, train=self.train, unlearn=self.unlearn)

    @property
    def sharded(self) -> Recipe:
        """The same for SISA's model."""
        return self.recipe.model_copy(update={"train": self.train.model_copy(update={"sisa": self.sisa})})
