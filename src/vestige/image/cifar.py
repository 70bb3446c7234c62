"""CIFAR-10 from its two published versions. The python version is read without unpickling anything.

Its files are pickles, and unpickling runs whatever a file names. `parse` reads their opcodes instead and
builds only numbers, strings, lists, dicts and arrays of bytes; every other opcode or name is refused.
"""

from __future__ import annotations

import hashlib
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vestige.types import InputError

SHAPE, CLASSES, RECORDS = (3, 32, 32), 10, 10_000
PIXELS = 3 * 32 * 32

MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
"""MD5 of the python version's training batches, as torchvision lists them. None is published for the binary's."""

AGAIN = "get the archive again from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it anew"
Batch = tuple[np.ndarray, np.ndarray]


def read(files: tuple[Path, ...], one: Callable[[Path], Batch]) -> Batch:
    """All training batches: images (N, 3, 32, 32) uint8 and labels (N,) int64.

    one: `binary` or `python`. Raises InputError unless every batch is whole and all classes are alike in number.
    """
    batches = [one(file) for file in files]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    counts = np.bincount(labels, minlength=CLASSES)
    if len(set(counts.tolist())) != 1:
        raise InputError(
            f"{files[0].parent} is not CIFAR-10: its training batches hold {len(labels) // CLASSES} images of each "
            f"class, found {', '.join(map(str, counts))}; {AGAIN}"
        )
    return images, labels


def binary(path: Path) -> Batch:
    """One batch of the binary version: records of one label byte and 3,072 pixels, red, green, blue planes."""
    raw = path.read_bytes()
    wanted = RECORDS * (1 + PIXELS)
    if len(raw) != wanted:
        raise InputError(
            f"{path} is truncated or damaged: {wanted} bytes expected ({RECORDS} records), found {len(raw)}; {AGAIN}"
        )
    records = np.frombuffer(raw, np.uint8).reshape(RECORDS, 1 + PIXELS)
    return records[:, 1:].reshape(-1, *SHAPE), _labels(records[:, 0], path)


def python(path: Path) -> Batch:
    """One batch of the python version: a dict with `data` (10000, 3072) uint8 and `labels`."""
    raw = path.read_bytes()
    found, expected = hashlib.md5(raw, usedforsecurity=False).hexdigest(), MD5.get(path.name)
    if found != expected:
        raise InputError(f"{path} is not the published batch: MD5 {expected} expected, found {found}; {AGAIN}")
    batch = parse(raw, path)
    if not {b"data", b"labels"} <= batch.keys():
        raise InputError(f"{path} should hold a dict with data and labels; {AGAIN}")
    data, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(data, np.ndarray) or data.shape != (RECORDS, PIXELS):
        raise InputError(f"data in {path} should be {RECORDS}×{PIXELS} bytes, found {np.shape(data)}; {AGAIN}")
    if not isinstance(labels, list) or len(labels) != RECORDS or not all(type(label) is int for label in labels):
        raise InputError(f"labels in {path} should be {RECORDS} whole numbers; {AGAIN}")
    return data.reshape(-1, *SHAPE), _labels(np.array(labels), path)


def _labels(labels: np.ndarray, path: Path) -> np.ndarray:
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise InputError(
            f"labels in {path} must lie in 0…{CLASSES - 1}, found {labels.min()} to {labels.max()}; {AGAIN}"
        )
    return labels.astype(np.int64)


@dataclass(frozen=True)
class _Name:
    """A name in the file. It is never looked up: it can only be one of the three below, and stands for itself."""

    text: str


@dataclass
class _Draft:
    """An array or a type that the file is about to describe."""

    kind: _Name
    value: Any = None


_MARK = object()
_ARRAY, _NDARRAY, _DTYPE = (
    _Name(text) for text in ("numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype")
)
_NAMES = {name.text: name for name in (_ARRAY, _NDARRAY, _DTYPE)}
_CALLS = {_ARRAY: (_NDARRAY, (0,), b"b"), _DTYPE: (b"u1", 0, 1)}
"""The only calls that a file may make, with the only arguments they may have: an empty array, the type of a byte."""


def parse(raw: bytes, path: Path) -> dict[bytes, Any]:
    """The dict that a pickle of protocol 2, written by Python 2, holds, built without executing anything.

    Its values are dicts, lists, tuples, ints, bools, None, bytes and uint8 arrays. Raises InputError for every
    opcode, name or call beyond those that such data need, and for a file that ends early.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def to_mark() -> list[Any]:
        at = max(place for place, item in enumerate(stack) if item is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def last(count: int) -> list[Any]:
        items = stack[-count:]
        if len(items) < count:
            raise ValueError("the stack is empty")
        del stack[-count:]
        return items

    steps: Iterator[tuple[Any, Any, Any]] = pickletools.genops(raw)
    try:
        for opcode, argument, position in steps:
            match opcode.name:
                case "PROTO" if argument == 2:
                    pass
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
                case "BININT" | "BININT1" | "BININT2":
                    stack.append(argument)
                case "BINSTRING" | "SHORT_BINSTRING":
                    stack.append(argument.encode("latin-1"))
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "MARK":
                    stack.append(_MARK)
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "TUPLE":
                    stack.append(tuple(to_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    stack.append(tuple(last(int(opcode.name[-1]))))
                case "APPEND" | "APPENDS":
                    items = to_mark() if opcode.name == "APPENDS" else last(1)
                    _is(stack[-1], list).extend(items)
                case "SETITEM" | "SETITEMS":
                    items = to_mark() if opcode.name == "SETITEMS" else last(2)
                    _is(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
                case "GLOBAL":
                    stack.append(_NAMES[argument])
                case "REDUCE":
                    name, arguments = last(2)
                    if _CALLS[name] != arguments:
                        raise ValueError(f"a call with {arguments}")
                    stack.append(_Draft(name))
                case "BUILD":
                    (state,) = last(1)
                    _build(_is(stack[-1], _Draft), state)
                case "STOP":
                    (whole,) = last(1)
                    if stack or position + 1 != len(raw):
                        raise ValueError("something follows its end")
                    return {
                        _is(key, bytes): _is(value.value, np.ndarray) if isinstance(value, _Draft) else value
                        for key, value in _is(whole, dict).items()
                    }
                case _:
                    raise ValueError(f"opcode {opcode.name} at byte {position}")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        what = f"the name {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is not a batch of plain numbers and strings, and is not read: {what}") from None
    raise InputError(f"{path} ends early")


def _is(found: Any, kind: type) -> Any:
    if type(found) is not kind:
        raise ValueError(f"{type(found).__name__} where {kind.__name__} was expected")
    return found


def _build(draft: _Draft, state: Any) -> None:
    """Fill in what the file says of a type, which must be the plain byte, or of an array."""
    if draft.kind == _DTYPE:
        if state != (3, b"|", None, None, None, -1, -1, 0):
            raise ValueError(f"a number type with {state}")
        return
    version, shape, kind, by_columns, content = state
    if version != 1 or not (isinstance(kind, _Draft) and kind.kind == _DTYPE and type(by_columns) is bool):
        raise ValueError("an array that does not hold bytes")
    array = np.frombuffer(_is(content, bytes), np.uint8)
    draft.value = array.reshape(shape, order="F" if by_columns else "C")
