"""What a finished image study leaves: the record of its result.json."""

from __future__ import annotations

from typing import Any

from vestige import collect, dose, experiment, provenance, store, verify
from vestige.studies.claims import judge
from vestige.studies.grids import STUDIES, command
from vestige.types import Run

Lot = tuple[int, str]
"""A seed and a variant: what a data set is built for."""


def result(laboratory: experiment.Laboratory, runs: tuple[Run, ...], *, complete: bool) -> dict[str, Any]:
    """The record of result.json: the tidy table, the verdicts, and what made them."""
    settings = laboratory.config
    measures, recalls = collect.take(laboratory, runs)
    carriers = collect.carriers(laboratory, runs)
    carried = collect.carried(carriers, "similar")
    lots = tuple(dict.fromkeys((run.seed, run.variant) for run in runs))
    return {
        "schema_version": store.SCHEMA_VERSION,
        "study": settings.study,
        "comparable": complete,
        "rows": collect.rows(measures, settings.stages, tuple(settings.variants)),
        "gaps": collect.gaps(measures) if "outputs" in settings.measure else [],
        "missing": collect.missing(measures),
        "doses": dose.doses(settings),
        "equivalents": dose.equivalents(settings, recalls) if "recall" in settings.measure else [],
        "influence": carriers,
        "metrics": verify.METRICS,
        "verdicts": [judge(claim, recalls, measures, carried) for claim in STUDIES[settings.study].claims],
        "provenance": {
            **provenance.reproducible(settings, laboratory.source, command(settings)),
            "data": {key(lot): laboratory.data_name(*lot) for lot in lots if not lot[1]},
            "variants": {key(lot): laboratory.data_name(*lot) for lot in lots if lot[1]},
            "models": {run.label: laboratory.model_name(run) for run in runs},
        },
    }


def key(lot: Lot) -> str:
    seed, variant = lot
    return f"{seed}, {variant}" if variant else str(seed)
