"""Settings of image studies: data, networks, training, unlearning, reconstruction, what else is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from vestige.config.base import Settings
from vestige.config.labelled import WordsConfig

STRENGTHS: dict[str, tuple[str, ...]] = {
    "mask": ("block", "fraction"),
    "noise": ("sigma",),
    "shift": ("shift",),
    "crop": ("crop",),
    "jpeg": ("quality",),
    "brightness": ("brightness",),
    "blur": ("blur",),
    "family": (),
}
"""Transform → the settings that say how strong it is. A family's members are as they are."""


class DataConfig(Settings):
    """How a similarity-entailed data set is built (Xu and Zhang 2026, Table 3)."""

    source: str = Field("mnist", description="a known name, an IDX file, a .npz file or a folder of images")
    per_class: int = Field(10, ge=1, description="training samples per class")
    targets: int = Field(3, ge=1, description="samples to forget, each of another class")
    similar: int = Field(5, ge=0, description="constructed similar samples per target")
    held_out: int = Field(5, ge=0, description="similar samples per target that are never trained on")
    near: int = Field(5, ge=0, description="innocent neighbours per target, where collateral damage shows first")
    never_seen: int = Field(300, ge=1, description="unrelated samples never trained on: the null")
    test: int = Field(1000, ge=1, description="samples for test accuracy")
    transform: Literal["mask", "noise", "shift", "crop", "jpeg", "brightness", "blur", "family"] = Field(
        "mask", description="how a similar sample is made; family: found, where the data know near-duplicates"
    )
    block: int = Field(2, ge=1, description="b: side of a masked block, in pixels")
    fraction: float = Field(0.3, ge=0, lt=1, description="r: share of the blocks that is masked")
    sigma: float = Field(0.1, ge=0, description="standard deviation of the added noise, in pixel units of [0, 1]")
    shift: int = Field(2, ge=1, description="largest shift in each direction, in pixels")
    crop: float = Field(0.8, gt=0, le=1, description="share of each side that a crop keeps, then enlarged")
    quality: int = Field(30, ge=1, le=95, description="JPEG quality, drawn within 10 of this for each copy")
    brightness: float = Field(0.4, ge=0, le=1, description="largest relative change of brightness; half of it least")
    blur: float = Field(1.0, ge=0, description="standard deviation of the blur in pixels, within a quarter of it")

    @property
    def strength(self) -> dict[str, float]:
        """The settings that say how strong the transform is, by name."""
        return {name: getattr(self, name) for name in STRENGTHS[self.transform]}

    @property
    def made(self) -> str:
        """How a similar sample is made, in words."""
        return {
            "mask": f"{100 * self.fraction:.0f} % of {self.block}×{self.block} blocks masked",
            "noise": f"noise of standard deviation {self.sigma:g} added",
            "shift": f"shifted by up to {self.shift} pixels",
            "crop": f"cropped to {100 * self.crop:.0f} % of each side and enlarged",
            "jpeg": f"stored as JPEG of quality about {self.quality}",
            "brightness": f"made brighter or darker by up to {100 * self.brightness:.0f} %",
            "blur": f"blurred with a standard deviation of about {self.blur:g} pixels",
            "family": "natural near-duplicates found in the data",
        }[self.transform]


class MLPConfig(Settings):
    """The homogeneous network: ReLU, a bias in the first layer only (Haim et al. 2022)."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = Field((300, 300), description="width of each hidden layer")
    init_scale: float = Field(1e-4, gt=0, description="standard deviation of the first layer's start")

    @model_validator(mode="after")
    def _widths(self) -> Self:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden needs at least one width, each ≥ 1, got {self.hidden}")
        return self


class CNNConfig(Settings):
    """A small convolutional network."""

    kind: Literal["cnn"] = "cnn"
    channels: tuple[int, ...] = Field((16, 32, 64), description="of each convolution; each halves the image")

    @model_validator(mode="after")
    def _widths(self) -> Self:
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels needs at least one number, each ≥ 1, got {self.channels}")
        return self


class ResNetConfig(Settings):
    """ResNet-18 for small images (He et al. 2016), with group normalisation."""

    kind: Literal["resnet18"] = "resnet18"
    width: int = Field(64, ge=8, multiple_of=8, description="channels of the first stage; doubled in each later one")


def kind_of(model: Any) -> Any:
    return model.get("kind", "mlp") if isinstance(model, Mapping) else getattr(model, "kind", None)


ModelConfig = Annotated[
    Annotated[MLPConfig, Tag("mlp")] | Annotated[CNNConfig, Tag("cnn")] | Annotated[ResNetConfig, Tag("resnet18")],
    Discriminator(kind_of),
]
"""The network of an image study, chosen by `kind`; without one it is the MLP."""

NetworkConfig = Annotated[
    Annotated[MLPConfig, Tag("mlp")]
    | Annotated[CNNConfig, Tag("cnn")]
    | Annotated[ResNetConfig, Tag("resnet18")]
    | Annotated[WordsConfig, Tag("words")],
    Discriminator(kind_of),
]
"""Any classifier: the networks of images, and the one of labelled texts."""


class Sisa(Settings):
    """Training in shards and slices, so that forgetting retrains only a part (Bourtoule et al. 2021)."""

    shards: int = Field(5, ge=1, description="models that vote, each trained on a share of its own")
    slices: int = Field(3, ge=1, description="parts that each of them is shown one after the other")


class TrainConfig(Settings):
    """Gradient descent: by default in full batches without momentum (docs/methods.md, `retrain`)."""

    steps: int = Field(1000, ge=1, description="passes over the samples; in full batches one gradient step each")
    lr: float = Field(0.5, gt=0)
    weight_decay: float = Field(3e-3, ge=0)
    batch: int | None = Field(None, ge=1, description="samples per gradient step; none: all of them")
    momentum: float = Field(0.0, ge=0, lt=1)
    schedule: Literal["constant", "cosine"] = Field("constant", description="of the rate, over the passes; to 0")
    sisa: Sisa | None = Field(None, description="train in shards and slices; none: one ordinary model")


class Steps(Settings):
    """Gradient steps from the model before, in the batches and with the momentum of training, at a constant rate."""

    steps: int = Field(10, ge=1, description="passes over the retained; in full batches one gradient step each")
    lr: float = Field(0.01, gt=0)


class Relabel(Steps):
    lr: float = Field(0.013, gt=0)


class Ascent(Steps):
    steps: int = Field(5, ge=1)
    lr: float = Field(1e-3, gt=0)


class NegGrad(Steps):
    alpha: float = Field(0.95, ge=0, le=1, description="weight of the retained samples")


class Scrub(Steps):
    steps: int = Field(10, ge=1, description="epochs, each a pass over the retained")
    alpha: float = Field(0.5, ge=0, description="weight of staying near the model before on the retained")
    gamma: float = Field(1.0, ge=0, description="weight of the ordinary loss on the retained")
    temperature: float = Field(2.0, gt=0)
    max_steps: int = Field(3, ge=0, description="first epochs that begin with a pass that moves away on the forgotten")


class BadTeacher(Steps):
    steps: int = Field(30, ge=1)
    lr: float = Field(0.1, gt=0)


class SalUn(Relabel):
    share: float = Field(0.5, ge=0, lt=1, description="share of the weights that stay exactly as they were")


class Sparse(Steps):
    weight: float = Field(5e-4, ge=0, description="of the L1 norm at the start; falls linearly to 0")


class Layers(Steps):
    k: int = Field(1, ge=1, description="how many of the last layers may change")


class Dampening(Settings):
    alpha: float = Field(10.0, gt=0, description="a weight is dampened where its importance ratio exceeds this")
    lam: float = Field(1.0, gt=0, description="strength of the dampening")


class UnlearnConfig(Settings):
    """Settings of the methods that start from the model before, one record each (docs/methods.md)."""

    preset: Literal["published", "tuned"] = Field(
        "published", description="what settings that are not given are: the published starting values, or found here"
    )
    utility: float | None = Field(
        None, ge=0, le=1, description="most accuracy on retained samples that may be lost; steps end where it would be"
    )
    finetune: Steps = Steps()
    relabel: Relabel = Relabel()
    ascent: Ascent = Ascent()
    neggrad: NegGrad = NegGrad()
    scrub: Scrub = Scrub()
    bad_teacher: BadTeacher = BadTeacher()
    salun: SalUn = SalUn()
    sparse: Sparse = Sparse()
    cf_k: Layers = Layers()
    eu_k: Layers = Layers(steps=1000, lr=0.5)
    ssd: Dampening = Dampening()


class RecoverConfig(Settings):
    """Reconstruction of training samples from a model (Buzaglo et al. 2023)."""

    engine: Literal["closed", "autograd"] = Field("closed", description="closed form, or the slow reference")
    direction: Literal["soft", "runner_up"] = Field("soft", description="the margin whose gradient explains θ")
    optimiser: Literal["adam", "sgd"] = "adam"
    dtype: Literal["float32", "float64"] = "float32"
    steps: int = Field(1500, ge=1, description="iterations where no training image can be singled out")
    rounds: int = Field(4, ge=0, description="rounds of explaining, then taking images out of the row space")
    round_steps: int = Field(500, ge=1, description="iterations in each of these rounds")
    products: Literal["exact", "fast"] = Field("fast", description="fast: bfloat16 inside, where the CPU has it")
    lr_x: float = Field(0.02, gt=0)
    lr_u: float = Field(0.05, gt=0, description="step size of the multipliers before softplus")
    alpha: float = Field(20.0, gt=0, description="sharpness of the sigmoid that stands for ReLU's derivative")
    margin: float = Field(10.0, gt=0, description="margin expected of a training sample; sets the scale of λ")
    box: float = Field(1.0, ge=0, description="weight of the penalty for pixels outside [0, 1]")
    start: float = Field(0.1, gt=0, description="standard deviation of the cold start")


class OutputsConfig(Settings):
    """What a model is asked beside its answers: how fast it relearns, and what it says around the targets."""

    relearn_steps: int = Field(100, ge=1, description="most full-batch steps on the targets that are tried")
    relearn_lr: float = Field(0.01, gt=0)
    radius: float = Field(0.03, gt=0, le=1, description="how far each pixel may move, in pixel units of [0, 1]")
    draws: int = Field(100, ge=1, description="random neighbours of each target")


class ShadowConfig(Settings):
    """Shadow models, in pairs: one trained with the targets, one without them."""

    models: int = Field(16, ge=8, multiple_of=2, description="how many, per seed and training arm")
    gamma: float = Field(1.0, ge=1, description="RMIA: how many times likelier than a population sample")


class Recipe(Settings):
    """What a method needs to know: how this kind of model is built, trained and unlearned."""

    model: NetworkConfig = MLPConfig()
    train: TrainConfig = TrainConfig()
    unlearn: UnlearnConfig = UnlearnConfig()
