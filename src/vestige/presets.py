"""Settings per kind of network: how it is trained, and the methods' settings that `vestige tune` found for it.

They stand in presets.yaml: kind → train (the recipe), data (how many images the settings were found for) and
methods → settings with what found them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vestige.types import InputError

FILE = Path(__file__).with_name("presets.yaml")
SETTINGS = {
    "finetune": "finetune",
    "relabel": "relabel",
    "GA": "ascent",
    "NegGrad+": "neggrad",
    "SCRUB": "scrub",
    "BadTeacher": "bad_teacher",
    "SalUn": "salun",
    "L1-sparse": "sparse",
    "CF-k": "cf_k",
    "EU-k": "eu_k",
    "SSD": "ssd",
}
"""Method → where its settings stand under `unlearn`. Methods without settings are left out."""


def training(kind: str) -> dict[str, Any]:
    """The configuration layer that a kind of network brings: its training, images a class, and tuned methods.

    Settings found on many images do harm on few: the size belongs to them (docs/log.md). Empty for the MLP, whose
    recipe and published settings are the default.
    """
    entry = read(FILE).get(kind, {})
    if "train" not in entry:
        return {}
    preset = "tuned" if "methods" in entry else "published"
    return {"train": entry["train"], "data": entry.get("data", {}), "unlearn": {"preset": preset}}


def tuned(kind: str) -> dict[str, Any]:
    """The configuration layer with the tuned settings of every method that was tuned for this kind.

    Raises InputError where there are none.
    """
    return {"unlearn": {SETTINGS[name]: entry["settings"] for name, entry in _methods(kind).items()}}


def unlike(model: Mapping[str, Any]) -> str:
    """The network that tuned settings were found for, where it is not of this size (its settings); "" where it is.

    Raises InputError where nothing was tuned for this kind.
    """
    found = [entry["found"]["model"] for entry in _methods(str(model["kind"])).values()]
    other = {f"model.{key}={value}" for theirs in found for key, value in theirs.items() if model[key] != value}
    return ", ".join(sorted(other))


@cache
def read(path: Path) -> Mapping[str, Any]:
    """The presets in a file; none where there is no file. Raises InputError if it holds anything else."""
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the presets {path}: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise InputError(f"{path} must map kinds of networks to presets, as {FILE} does")
    return content


def add(path: Path, kind: str, method: str, entry: Mapping[str, Any]) -> None:
    """Put what was found for one method into a file of presets, over what stands there for it."""
    from vestige.store import write_text

    read.cache_clear()
    content = {name: dict(part) for name, part in read(path).items()}
    content.setdefault(kind, {})
    content[kind]["methods"] = {**content[kind].get("methods", {}), method: dict(entry)}
    head = "".join(line for line in _lines(path) if line.startswith("#"))
    write_text(path, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))
    read.cache_clear()


def _methods(kind: str) -> Mapping[str, Any]:
    methods: Mapping[str, Any] = read(FILE).get(kind, {}).get("methods", {})
    if not methods:
        raise InputError(f"no settings were tuned for model.kind {kind}; set unlearn.preset=published, or tune them")
    return methods


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
