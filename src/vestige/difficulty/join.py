"""Finished difficulty studies judged together: factors over all their algorithms and data sets, and the predictor on a
data set that it was not learned from. What belongs to one data set alone is taken over from its study.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vestige import __version__, provenance
from vestige.difficulty import analyse, judge, predict, table
from vestige.difficulty.study import answered
from vestige.difficulty.table import Measured
from vestige.store import MARKER, SCHEMA_VERSION, digest, read_json, write_json
from vestige.types import InputError

OWN = ("inequality", "agreement", "natural", "constructed")
"""The analyses that belong to one data set."""


def join(sources: Sequence[Path], out: Path) -> dict[str, Any]:
    """Judge finished studies together, write `result.json` in the folder `out`, and `predictor.json` where one can be
    fitted; returns what the first one holds.

    sources: run folders, or result.json files of theirs. The record has the layout of one study (`record.Result`)
    without samples and runs; its analyses are those over all: holding, symptoms, predictor. "joined" holds what belongs
    to each study alone: [{"name", "ids", "runs": how many, "sha256": of its result.json, "command", "analyses": those
    of OWN}…]. Raises InputError for fewer than two studies, two of one name, what is no finished study, and a folder
    `out` that holds anything but an earlier result of joining.
    """
    if len(sources) < 2:
        raise InputError(f"joining takes at least two finished difficulty studies; got {len(sources)}")
    files = [source / "result.json" if source.is_dir() else source for source in sources]
    records = [_finished(file) for file in files]
    names = [str(record["name"]) for record in records]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two of these studies are of {twice[0]}: each must have data or a model of its own")
    _check_free(out)
    measured = [table.measured(record) for record in records]
    analyses = answered(
        {
            "holding": lambda: analyse.holding(measured),
            "symptoms": lambda: analyse.holding(measured, "after"),
            "predictor": lambda: judge.evaluate(measured),
        }
    )
    record = {
        "schema_version": SCHEMA_VERSION,
        "study": "difficulty",
        "name": ", ".join(names),
        "comparable": all(one["comparable"] for one in records),
        "algorithms": list(dict.fromkeys(name for one in records for name in one["algorithms"])),
        "seeds": sorted({seed for one in records for seed in one["seeds"]}),
        "ids": [name for one in records for name in one["ids"]],
        "pictures": {},
        "models": [{"data": one["name"], **model} for one in records for model in one["models"]],
        "missing": [{"data": one["name"], **run} for one in records for run in one["missing"]],
        "joined": [_part(one, file) for one, file in zip(records, files, strict=True)],
        "analyses": analyses,
        "provenance": {
            "version": __version__,
            "commit": provenance.commit(),
            "command": f"vestige difficulty join {' '.join(shlex.quote(str(one)) for one in sources)}",
            "libraries": {name: provenance.version(name) for name in provenance.LIBRARIES},
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "result.json", record)
    _keep_predictor(measured, analyses["predictor"], out / "predictor.json")
    return record


def _finished(file: Path) -> dict[str, Any]:
    record = read_json(file) if file.is_file() else {}
    if record.get("study") != "difficulty" or "joined" in record:
        raise InputError(f"{file} is not the result of one finished difficulty study; vestige difficulty makes them")
    return record


def _keep_predictor(measured: Sequence[Measured], judged: Mapping[str, Any], path: Path) -> None:
    """Keep the predictor that is fitted to all of it, with how good such a one was on what it was not fitted to."""
    if "missing" not in judged:
        found = {way: one["linear"]["auc"] for way, one in judged["by"].items() if "missing" not in one}
        predict.save(predict.fit(measured, {way: predict.Worth(**auc) for way, auc in found.items()}), path)


def _check_free(out: Path) -> None:
    """Raise InputError where something else than an earlier result of joining would be overwritten."""
    there = out / "result.json"
    if (out / MARKER).exists() or (there.exists() and "joined" not in read_json(there)):
        raise InputError(f"{out} holds another result; name a folder of its own with --out")


def _part(record: Mapping[str, Any], file: Path) -> dict[str, Any]:
    return {
        "name": record["name"],
        "ids": record["ids"],
        "runs": len(record["runs"]),
        "sha256": digest(file),
        "command": record["provenance"]["command"],
        "analyses": {name: record["analyses"][name] for name in OWN if name in record["analyses"]},
    }
