"""What every page says of its run: its rows with their metrics, what is missing or failed, how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vestige.config import AnyStudyConfig
from vestige.report import words

FAILED_SHOWN = 5
"""Failed runs that the banner names; run.json has them all."""

DATA_SETS_SHOWN = 20
"""Beyond so many data sets their names are left to result.json."""


def failures(run_facts: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """(training, stage) → why a run of it failed. A run is called "seed 0 · with · R0", and after that its target."""
    named = [(item["run"].split(" · "), item["why"]) for item in run_facts.get("failed", ())]
    return {(parts[1], parts[2]): why for parts, why in named if len(parts) > 2}


def tidy(record: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The rows with what their metrics mean."""
    return tuple({**row, **_metric(record, row["metric"])} for row in rows)


def _metric(record: Mapping[str, Any], name: str) -> dict[str, str]:
    known = record.get("metrics", {}).get(name, {})
    return {key: known.get(key, "") for key in ("what", "unit", "better")}


def missing(records: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """What was not computed, one row for all seeds that say the same of it."""
    seeds: dict[tuple[str, ...], list[int]] = {}
    keys = ("variant", "training", "stage", "group", "metric", "why")
    for record in records:
        seeds.setdefault(tuple(record[key] for key in keys), []).append(record["seed"])
    return tuple(
        {**dict(zip(keys, key, strict=True)), "seeds": ", ".join(map(str, dict.fromkeys(found)))}
        for key, found in seeds.items()
    )


def banners(record: Mapping[str, Any], failed: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What must be known before anything is read: that runs are missing, or failed."""
    found = []
    if not record["comparable"]:
        found.append("Not comparable: only part of the plan was run. The same command again finishes the rest.")
    if failed:
        said = [f"{item['run']} ({item['why'].strip().splitlines()[-1]})" for item in failed[:FAILED_SHOWN]]
        more = [f"{len(failed) - FAILED_SHOWN} more"] if len(failed) > FAILED_SHOWN else []
        found.append(f"{words.plural(len(failed), 'run')} failed: {'; '.join(said + more)}.")
    return tuple(found)


def _data_sets(made: Mapping[str, Any]) -> str:
    """The names of a few data sets, which are hashes; how many there are where they are many."""
    found = {**made.get("data", {}), **made.get("variants", {})}
    if len(found) > DATA_SETS_SHOWN:
        return f"{len(found)}; their names stand in result.json under provenance"
    return ", ".join(f"{name} (seed {key})" for key, name in found.items())


def provenance(
    made: Mapping[str, Any], run_facts: Mapping[str, Any], config: AnyStudyConfig
) -> tuple[tuple[str, str], ...]:
    """How it was made, by name."""
    host = run_facts.get("host", {})
    seeds = {", ".join(map(str, values)) for values in made.get("seeds", {}).values()}
    workers = words.plural(run_facts.get("workers", 1), "worker")
    seconds = run_facts.get("seconds")
    libraries = made.get("libraries", {})
    rows = [
        ("vestige", made.get("version")),
        ("Commit", made.get("commit") or "not known: not run from a checkout"),
        ("Configuration", made.get("fingerprint")),
        ("Data", config.data.source),
        ("SHA-256 of the data", made.get("source_sha256")),
        ("Data sets", _data_sets(made)),
        ("Seeds", "; ".join(sorted(seeds)) + " (data, training, unlearning, evaluation alike)"
         if len(seeds) == 1 else str(made.get("seeds"))),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())),
        ("Device", f"{made.get('device')}, {words.plural(made.get('threads') or 0, 'thread')} a run"),
        ("Finished", run_facts.get("finished")),
        ("Time", None if seconds is None else f"{seconds} s, {workers}"),
        ("Machine", ", ".join(str(host[key]) for key in ("processor", "platform") if key in host)),
        ("Python", host.get("python")),
    ]  # fmt: skip
    return tuple((name, str(value)) for name, value in rows if value)
