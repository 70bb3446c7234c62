"""The chapter's five questions, answered at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vestige.difficulty import analyse, judge
from vestige.difficulty.table import Doses, Measured
from vestige.types import InputError


def answers(measured: Sequence[Measured], doses: Sequence[Doses] = ()) -> dict[str, Any]:
    """Question → its answer over these data sets, or {"missing": why}.

    {"inequality", "agreement": [one per data set], "holding": of factors before, "symptoms": of those after,
    "prediction": from factors of one model, "prediction_references": also from memorisation, "natural": [one a data
    set], "constructed": [one per data set with doses]}: what `analyse` and `judge` return. Raises InputError for no
    data set.
    """
    if not measured:
        raise InputError("there is nothing to answer from: no data set was measured")
    found: dict[str, Any] = {
        "inequality": [analyse.inequality(one) for one in measured],
        "agreement": [analyse.agreement(one) for one in measured],
        "holding": analyse.holding(measured),
        "symptoms": analyse.holding(measured, "after"),
        "natural": [analyse.natural(one) for one in measured if "similar_mass" in one.before],
        "constructed": [analyse.constructed(one) for one in doses],
    }
    for name, references in (("prediction", False), ("prediction_references", True)):
        try:
            found[name] = judge.evaluate(measured, references=references)
        except InputError as error:
            found[name] = {"missing": str(error)}
    return found
