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
CLOSED = {b"[\n": b"]", b"{\n": b"}"}
"""How a value over several lines begins → what it ends with, on a line of its own."""
END = re.compile(rb"\n *}")


def parts(content: bytes) -> dict[str, bytes]:
    """The top-level values of a JSON object as `store.to_json` writes it, by key, unparsed.

    Any other JSON object is parsed whole. Raises ValueError for what is no JSON object.
    """
    found: dict[str, bytes] = {}
    mark = KEY.match(content, 1) if content.startswith(b"{") and content.endswith(b"\n}\n") else None
    while mark:
        end = _end(content, mark.end())
        found[_key(mark[1])] = content[mark.end() : end]
        if end == len(content) - len(b"\n}\n"):
            return found
        mark = KEY.match(content, end + 1)
    whole = json.loads(content)
    if not isinstance(whole, dict):
        raise ValueError(f"a JSON object is needed, found a {type(whole).__name__}")
    return {key: json.dumps(value, indent=1).encode() for key, value in whole.items()}


def _end(content: bytes, start: int) -> int:
    """Where the top-level value that begins here ends. One character is looked for at a time: that is the fastest."""
    close = CLOSED.get(content[start : start + 2])
    if close is None:
        end = content.find(b"\n", start)
        return end - content.endswith(b",", start, end)
    end = content.find(close, start)
    while end >= 0 and content[end - 2 : end] != b"\n ":
        end = content.find(close, end + 1)
    return end + 1 if end >= 0 else len(content)


def _key(raw: bytes) -> str:
    return str(json.loads(raw)) if b"\\" in raw else raw[1:-1].decode()


def value(found: Mapping[str, bytes], key: str, default: Any = None) -> Any:
    """The parsed value of one key."""
    return json.loads(found[key].decode()) if key in found else default


def records(array: bytes, *needles: bytes) -> Iterator[dict[str, Any]]:
    """Those flat records of an unparsed array, a value per line, that hold all `needles`, parsed one by one."""
    closed = END.search(array)
    if closed is None:
        return
    place = array.find(needles[0])
    while place >= 0:
        start, end = array.rfind(b"{\n", 0, place), array.find(closed[0], place) + len(closed[0])
        if start < 0 or end < place:
            return
        if all(array.find(needle, start, end) >= 0 for needle in needles[1:]):
            yield json.loads(array[start:end].decode())
        place = array.find(needles[0], end)
