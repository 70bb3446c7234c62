"""Labelled texts: a strict reader of IMDb's folder and table, and of any table with a text and a label column."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vestige.assets import Asset, text_ending
from vestige.text.files import READERS, short
from vestige.types import InputError, Samples

TEXT_COLUMNS = ("text", "review", "sentence", "content")
LABEL_COLUMNS = ("label", "sentiment", "class")
"""Column names that are known without being told, the first that is there is read."""

LONGEST = 256
"""Words of a text that are read; what comes after them is cut off. IMDb's reviews have 230 on average."""

BUCKETS = 8192
"""Of `bags`."""

FILL = 0
"""The id that fills a row after a text's last word."""


class Labelled(NamedTuple):
    """One text and the name of its label. family: "" where the data know none."""

    id: str
    text: str
    label: str
    family: str = ""


def load(asset: Asset, *, text: str = "", label: str = "") -> Samples:
    """All texts of a labelled set.

    text, label: the columns to read; "" for those that are known (TEXT_COLUMNS, LABEL_COLUMNS). Returns Samples with
    x a numpy array of str (N,) (see `unit`) and y (N,) int64 in 0…C−1, by the order of `names`; families where the
    data know them; ids from the column `id` (folders: "label/file"), else "file/row" counted from 0. Raises InputError
    with file and line for anything malformed: a missing column, an empty text or label, other than UTF-8, one class
    only, a class with one sample, the same words under two labels; MissingError where a package is needed.
    """
    found = read(asset, text=text, label=label)
    order = {name: place for place, name in enumerate(names(found))}
    family = tuple(one.family for one in found)
    return Samples(
        tuple(one.id for one in found),
        np.array([one.text for one in found], dtype=object),
        torch.tensor([order[one.label] for one in found]),
        len(order),
        family if any(family) else (),
    )


def read(asset: Asset, *, text: str = "", label: str = "") -> list[Labelled]:
    """The records that `load` collects, checked as it says."""
    asset.expect("labelled")
    root = _root(asset.files)
    found: list[Labelled] = []
    taken: dict[str, str] = {}
    for file in asset.files:
        ending = text_ending(file)
        reader = READERS[ending]
        columns = reader.names(file)
        text_column = _column(columns, text, TEXT_COLUMNS, "text", file)
        label_column = _column(columns, label, LABEL_COLUMNS, "label", file)
        stem = file.relative_to(root).as_posix().removesuffix(ending)
        wanted = [text_column, label_column, *(name for name in ("id", "family") if name in columns)]
        for row, (place, values) in enumerate(reader.rows(file, wanted)):
            one = _record(values, text_column, label_column, f"{stem}/{row}", f"{file} {place}")
            if one.id in taken:
                raise InputError(f"{file} {place}: the id {one.id!r} is taken already, at {taken[one.id]}")
            taken[one.id] = f"{file} {place}"
            found.append(one)
    _check(found, taken, asset)
    return found


def names(found: list[Labelled]) -> list[str]:
    """The labels in the order of their classes: numbers by size, other names by the alphabet."""
    labels = {one.label for one in found}
    whole = all(re.fullmatch(r"-?\d+", label) for label in labels)
    return sorted(labels, key=lambda label: (int(label) if whole else 0, label))


def unit(samples: Samples) -> Samples:
    """The same samples with x as the ids of their words in order, (N, L) int64; L: the longest, at most LONGEST.

    An id is a hash in 1…2³¹−1 of the word's letters (NFKC, case put aside), FILL (0) after a text's last word; so
    that an id depends on the word alone, not on the other texts. Samples that are so already stay as they are.
    """
    if isinstance(samples.x, Tensor):
        return samples
    rows = [[_id(word) for word in _words(text)[:LONGEST]] for text in samples.x]
    x = torch.zeros((len(rows), max(map(len, rows), default=1)), dtype=torch.int64)
    for place, row in enumerate(rows):
        x[place, : len(row)] = torch.tensor(row)
    return replace(samples, x=x)


def pairs(x: Tensor) -> Tensor:
    """The ids of pairs of neighbouring words, in 1…2³¹−1, FILL where there is none. x: (N, L). Returns (N, L−1)."""
    made = (x[:, :-1] * 1_000_003 + x[:, 1:] * 8_191) % (2**31 - 1) + 1
    return torch.where(x[:, 1:] == FILL, FILL, made)


def bags(samples: Samples) -> Tensor:
    """The counts of each text's words and pairs of words, hashed, as rows of unit length: (N, BUCKETS) float32.

    samples: in `unit`'s form. The product of two rows is a cosine in [0, 1]: 1 for the same words in the same order, 0
    where none is shared, but for two words in one of the BUCKETS. It depends on the two texts alone.
    """
    found = torch.cat([samples.x, pairs(samples.x)], 1)
    counts = torch.zeros((len(found), BUCKETS))
    counts.scatter_add_(1, found % BUCKETS, (found != FILL).float())
    lengths: Tensor = counts.norm(dim=1, keepdim=True)
    return counts / lengths.clamp_min(1e-12)


def _words(text: str) -> list[str]:
    """The words of a text, at least one; IMDb's marks of a new line put aside. "don't" is one word."""
    plain = unicodedata.normalize("NFKC", re.sub(r"<br\s*/?>", " ", text)).casefold().replace("’", "'")
    return re.findall(r"\w+(?:'\w+)*", plain) or plain.split() or [" "]


def _id(word: str) -> int:
    return zlib.crc32(word.encode()) % (2**31 - 1) + 1


def _root(files: tuple[Path, ...]) -> Path:
    import os

    return Path(os.path.commonpath([file.parent for file in files]))


def _column(columns: list[str], asked: str, known: tuple[str, ...], role: str, file: Path) -> str:
    if asked and asked not in columns:
        raise InputError(f"{file} has no column {asked!r}; its columns: {', '.join(columns)}")
    found = asked or next((name for name in known if name in columns), "")
    if not found:
        raise InputError(
            f"{file} has no {role} column that is known ({', '.join(known)}); name it, or rename it; "
            f"its columns: {', '.join(columns)}"
        )
    return found


def _record(values: Mapping[str, Any], text_column: str, label_column: str, position: str, place: str) -> Labelled:
    for name in (text_column, label_column):
        if name not in values:
            raise InputError(f"{place}: there is no column {name!r}; its columns: {', '.join(values)}")
    text, label = values[text_column], values[label_column]
    if not isinstance(text, str):
        raise InputError(f"{place}: {text_column} must be text, found {short(text)}")
    if not text.strip():
        raise InputError(f"{place}: {text_column} is empty")
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise InputError(f"{place}: {label_column} must be a text or a whole number, found {short(label)}")
    if not str(label).strip():
        raise InputError(f"{place}: {label_column} is empty")
    name = values.get("id", position)
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
        raise InputError(f"{place}: id must be a text or a whole number, found {short(name)}")
    one = Labelled(str(name), text, str(label).strip(), str(values.get("family") or ""))
    try:
        "".join(one).encode()
    except UnicodeEncodeError:
        raise InputError(f"{place}: it holds half a character (a lone surrogate)") from None
    return one


def _check(found: list[Labelled], places: Mapping[str, str], asset: Asset) -> None:
    """Raise InputError where labels are not what a classifier can learn."""
    counts = Counter(one.label for one in found)
    if len(counts) < 2:
        raise InputError(
            f"{asset.name} holds {len(found)} texts of {'one label' if counts else 'no label'}; two or more are needed"
        )
    single = next((label for label, count in counts.items() if count == 1), None)
    if single is not None:
        raise InputError(
            f"{asset.name}: the class {single!r} has one sample; two or more are needed of each "
            f"({len(counts)} classes, {len(found)} texts): is another column the label?"
        )
    seen: dict[tuple[str, ...], Labelled] = {}
    for one in found:
        other = seen.setdefault(tuple(_words(one.text)), one)
        if other.label != one.label:
            raise InputError(
                f"{places[one.id]}: the same words as at {places[other.id]}, labelled {one.label!r} here and "
                f"{other.label!r} there; keep one of them"
            )
