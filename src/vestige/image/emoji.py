"""Google's emoji as a colour set with natural near-duplicates: the skin variations of one emoji are a family."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from vestige.types import InputError

SIDE = 32
SMALLEST_CLASS = 25
SPLIT = "People & Body"
"""All families lie in this category, and targets must differ in class: here the subcategory is the class."""

Found = tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]


def read(table: Path, *pictures: Path) -> Found:
    """All emoji of the package emoji-datasource-google: images (N, 3, 32, 32) uint8, labels, ids and families.

    Laid over black, so that flat background is exactly 0 and masking with 0 suits it, then resized from 64×64 by
    averaging areas of 2×2. A class is a category, in People & Body a subcategory; classes of fewer than 25
    emoji are left out, and so is an image that equals an earlier one in every pixel. Raises InputError where the
    table names a picture that is not there or is not an image, or is not such a table.
    """
    where = {file.name: file for file in pictures}
    entries = _entries(table)
    sizes = Counter(kind for kind, _ in entries)
    classes = sorted(kind for kind, size in sizes.items() if size >= SMALLEST_CLASS)
    if len(classes) < 2:
        raise InputError(f"{table} names {len(classes)} classes of at least {SMALLEST_CLASS} emoji; two are needed")
    images: list[np.ndarray] = []
    labels, ids, families, seen = [], [], [], set()
    for kind, members in entries:
        if kind not in classes:
            continue
        for name in members:
            if name not in where:
                raise InputError(
                    f"{table} names {name}, which is not in {pictures[0].parent}; install the package anew"
                )
            image = _picture(where[name])
            if image.tobytes() in seen:
                continue
            seen.add(image.tobytes())
            images.append(image)
            labels.append(classes.index(kind))
            ids.append(f"emoji/{Path(name).stem}")
            families.append(Path(members[0]).stem if len(members) > 1 else "")
    return np.stack(images), np.array(labels, np.int64), tuple(ids), tuple(families)


def _entries(table: Path) -> list[tuple[str, list[str]]]:
    """Each emoji's class and the file names of it and its skin variations, in the table's order."""

    def entry(record: dict[str, Any]) -> tuple[str, list[str]]:
        kind = record["subcategory"] if record["category"] == SPLIT else record["category"]
        members = [record["image"], *(other["image"] for other in record.get("skin_variations", {}).values())]
        if not all(isinstance(text, str) for text in (kind, *members)):
            raise TypeError("a name that is no text")
        return kind, members

    try:
        return [entry(record) for record in json.loads(table.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{table} is not the table of emoji-datasource-google: {error!r}") from None


def _picture(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise InputError(f"{path} is not an image that can be read: {error}") from None
    if picture.size != (2 * SIDE, 2 * SIDE):
        raise InputError(f"{path} is {picture.width}×{picture.height}; 64×64 expected")
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    black.alpha_composite(picture)
    small = black.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.ascontiguousarray(np.moveaxis(np.asarray(small), 2, 0))
