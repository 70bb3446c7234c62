"""Carrying a study out: what is not done yet, in worker processes; what failed; what came of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from vestige import collect, executor, experiment, provenance, store
from vestige.config import AnyStudyConfig
from vestige.store import Store
from vestige.studies.record import Lot, key, result
from vestige.types import InputError, Run, ShadowRun


class Place(Protocol):
    """Where runs take place: what `conduct` needs of a laboratory."""

    @property
    def config(self) -> AnyStudyConfig:
        """The study's settings."""

    @property
    def store(self) -> Store:
        """Where the finished steps are kept."""

    def plan(self) -> tuple[Run, ...]:
        """The runs of the study, in order."""

    def data_name(self, seed: int, variant: str = "") -> str:
        """The name under which a data set is kept."""

    def data(self, seed: int, say: executor.Say, variant: str = "") -> Any:
        """A data set, built if it is not there."""

    def check_room(self, runs: Iterable[Run]) -> None:
        """Raise InputError where the data sets cannot serve these runs."""

    def is_done(self, run: Run) -> bool:
        """Whether everything that is measured of a run is there."""

    def most_workers(self) -> int:
        """How many runs there is room for at once."""

    def takes_all(self, run: Run) -> bool:
        """Whether a run is shared out over all devices, so that none goes beside it."""

    def measure(self, run: Run, say: executor.Say) -> None:
        """Measure everything of one run, where it is not there."""

    def shadow_runs(self, runs: Iterable[Run]) -> tuple[ShadowRun, ...]:
        """The shadow models by which these runs are judged."""

    def is_shadow_done(self, run: ShadowRun) -> bool:
        """Whether what is asked of a shadow model is there."""

    def shadow(self, run: ShadowRun, say: executor.Say) -> None:
        """Train and ask one shadow model."""

    def adopt(self, other: Store, runs: Iterable[Run]) -> int:
        """Take over what another run folder holds of these runs; how many steps."""


def adopt(laboratory: Place, other: store.Store, *, say: Callable[[str], None] = executor.say) -> None:
    """Take over the finished steps of another run folder that this study needs too."""
    count = laboratory.adopt(other, laboratory.plan())
    say(f"{count} finished steps taken over from {other.root}")


def conduct(
    laboratory: Place,
    *,
    workers: int | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = executor.say,
    sum_up: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Carry out a study, resuming what is there, and write its result.json and run.json.

    limit: only the first runs of the plan; the result then says that it is not comparable. sum_up: what makes the
    record of result.json from the laboratory and its runs, by default `result`. Returns that record.
    """
    start = time.time()
    planned = laboratory.plan()
    runs = planned[:limit]
    count = _workers(workers, laboratory)
    failures = carry_out(laboratory, runs, workers=count, say=say)
    make: Callable[..., dict[str, Any]] = sum_up or result
    record = make(laboratory, runs, complete=len(runs) == len(planned) and not failures)
    root = laboratory.store.root
    store.write_json(root / "result.json", record)
    store.write_json(
        root / "run.json",
        {
            "arguments": sys.argv[1:],
            "seconds": round(time.time() - start, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "workers": count,
            "devices": executor.devices(laboratory.config.device),
            "failed": [{"run": run.label, "why": why} for run, why in failures],
            "rte": collect.times(laboratory, runs) if isinstance(laboratory, experiment.Laboratory) else [],
            "host": provenance.host(),
        },
    )
    return record


def carry_out(
    laboratory: Place,
    runs: tuple[Run, ...],
    *,
    workers: int | None = None,
    say: Callable[[str], None] = executor.say,
) -> list[executor.Failure[Run] | executor.Failure[ShadowRun]]:
    """Do what is not done yet of these runs, and of the shadow models that they are judged by.

    Every data set is built, and so checked, before any training. A shadow model that fails is tried once more.
    Returns what failed, with why.
    """
    todo = tuple(run for run in runs if not laboratory.is_done(run))
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} runs are done already")
    lots = [
        lot
        for lot in dict.fromkeys((run.seed, run.variant) for run in todo)
        if not laboratory.store.has("data", laboratory.data_name(*lot))
    ]
    done, start = 0, time.time()

    def data_done(lot: Lot) -> None:
        say(f"data set of {_name(lot)} is built")

    def run_done(run: Run) -> None:
        nonlocal done
        done += 1
        left = (time.time() - start) / done * (len(todo) - done)
        say(f"[{done}/{len(todo)}] {run.label}" + (f", about {left:.0f} s left" if left >= 1 else ""))

    count, device = _workers(workers, laboratory), laboratory.config.device
    failed_data = executor.run_local(
        partial(_build, laboratory), lots, workers=min(count, len(lots) or 1), on_done=data_done, device=device
    )
    if failed_data:
        raise RuntimeError(failed_data[0][1])
    laboratory.check_room(runs)
    start = time.time()
    shared = [run for run in todo if laboratory.takes_all(run)]
    alone = [run for run in todo if not laboratory.takes_all(run)]
    measure = partial(executor.run_local, partial(_measure, laboratory), on_done=run_done, device=device)
    failed = [*measure(shared, workers=1), *measure(alone, workers=count)]
    return [*failed, *_shadows(laboratory, laboratory.shadow_runs(runs), count, say)]


def _shadows(
    laboratory: Place, runs: tuple[ShadowRun, ...], workers: int, say: Callable[[str], None]
) -> list[executor.Failure[ShadowRun]]:
    """The shadow models that are not done yet; those that failed twice are returned."""
    todo = tuple(run for run in runs if not laboratory.is_shadow_done(run))
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} shadow models are done already")
    done = 0

    def run_done(run: ShadowRun) -> None:
        nonlocal done
        done += 1
        say(f"[{done}/{len(todo)}] {run.label}")

    carry = partial(
        executor.run_local, partial(_shadow, laboratory), workers=workers, on_done=run_done,
        device=laboratory.config.device,
    )  # fmt: skip
    failed = carry(todo)
    for run, why in failed:
        say(f"{run.label} failed and is tried once more: {why}")
    return carry([run for run, _ in failed])


def failures(laboratory: Place) -> list[tuple[str, str]]:
    """The runs that failed in the last invocation, with why."""
    return [(entry["run"], entry["why"]) for entry in store.read_json(laboratory.store.root / "run.json")["failed"]]


def _build(laboratory: Place, lot: Lot) -> None:
    seed, variant = lot
    laboratory.data(seed, lambda message: executor.say(f"  {_name(lot)}: {message}"), variant)


def _name(lot: Lot) -> str:
    return f"seed {key(lot)}"


def _measure(laboratory: Place, run: Run) -> None:
    laboratory.measure(run, lambda message: executor.say(f"  {run.label}: {message}"))


def _shadow(laboratory: Place, run: ShadowRun) -> None:
    laboratory.shadow(run, lambda message: None)


def _workers(asked: int | None, laboratory: Place) -> int:
    if asked is not None and asked < 1:
        raise InputError(f"--workers must be at least 1, got {asked}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked or min(cores, laboratory.most_workers())
