"""Reads a few values of a large JSON file without parsing the rest.

`store.to_json` puts every top-level key on a line of its own, indented by one space; no string holds a raw line break.
So the values of single keys can be cut out as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

KEY = re.compile(rb'\n ("(?:[^"\\]|\\.)*"): ')
END = re.compile(rb"\n *}")


def parts(content: bytes) -> dict[str, bytes]:
    """The top-level values of a JSON object as `store.to_json` writes it, by key, unparsed.

    Any other JSON object is parsed whole. Raises ValueError for what is no JSON object.
    """
    marks = list(KEY.finditer(content)) if content.startswith(b'{\n "') and content.endswith(b"\n}\n") else []
    if not marks:
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError(f"a JSON object is needed, found a {type(found).__name__}")
        return {key: json.dumps(value, indent=1).encode() for key, value in found.items()}
    ends = [*(mark.start() - 1 for mark in marks[1:]), len(content) - 3]
    return {_key(mark[1]): content[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}


def _key(raw: bytes) -> str:
    return str(json.loads(raw)) if b"\\" in raw else raw[1:-1].decode()


def value(found: Mapping[str, bytes], key: str, default: Any = None) -> Any:
    """The parsed value of one key."""
    return json.loads(found[key].decode()) if key in found else default


def records(array: bytes, *needles: bytes) -> Iterator[dict[str, Any]]:
    """Those flat records of an unparsed array, a value per line, that hold all `needles`, parsed one by one."""
    place = array.find(needles[0])
    while place >= 0:
        start, ended = array.rfind(b"{\n", 0, place), END.search(array, place)
        if start < 0 or ended is None:
            return
        record = array[start : ended.end()]
        if all(needle in record for needle in needles):
            yield json.loads(record.decode())
        place = array.find(needles[0], ended.end())
