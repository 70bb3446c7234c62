"""What to expect before anything is changed: what the scope can achieve, and which records will be hard to forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vestige.difficulty.predict import Predictor

WEAK = 0.7
"""An AUC below which a predictor is called weak."""


def outcome(scope: str, kept: int | None, removed: int, unasked: int = 0, policy: str = "keep") -> str:
    """What the scope will and will not achieve, in words.

    kept: None where nobody could look for similar records. unasked: those kept whose owners had no say yet.
    """
    if kept is None:
        return (
            "Similar records were not looked for: there is no training data. What they taught stays in the model, and "
            "the audit cannot tell it from what the records themselves left."
        )
    if not kept:
        return (
            "No similar record stays in training, so the best outcome is a model that never saw anything of the kind."
        )
    stay = f"{kept} similar record{'s stay' if kept > 1 else ' stays'} in training"
    more = "there are more than similar.k"
    said = {"keep": "their owners keep them", "ask": f"their owners keep them, or {more}", "remove": more}
    what = "the scope is exact" if scope == "exact" else said[policy]
    if unasked:
        what = f"{unasked} of them until their owners are asked"
    return (
        f"{stay} ({what}). Even a perfect method leaves what they teach: expect “still carried by similar records” "
        f"where they are near-copies. {removed} record{'s go' if removed > 1 else ' goes'}."
    )


def difficulty(
    ids: Sequence[str], chances: np.ndarray, others: np.ndarray, predictor: Predictor, method: str
) -> dict[str, Any]:
    """How hard each record is expected to be to forget, likeliest first, and what that is worth.

    chances: of the records to be among the hardest quarter, (N,). others: those of other training records of the same
    model, (M,). Returns {"records": [{"id", "chance", "harder_than": share of the others}…], "others": M, "reads": how
    to read it, in words}.
    """
    order = np.argsort(-chances, kind="stable").tolist()
    records = [
        {"id": ids[at], "chance": round(float(chances[at]), 6), "harder_than": float((others < chances[at]).mean())}
        for at in order
    ]
    algorithms, data = ", ".join(predictor.trained_on.algorithms), " and ".join(predictor.trained_on.data)
    reads = (
        f"The chance to be among the hardest quarter to forget by an approximate method ({algorithms}), beside "
        f"{len(others)} other records of the training data; told from the model before, by what was learned on {data}. "
        f"{_worth(predictor)} It ranks records, and decides nothing."
    )
    if method == "retrain":
        reads += " Retraining, which was chosen, is not among these methods: it forgets the hard ones too."
    return {"records": records, "others": len(others), "reads": reads}


def _worth(predictor: Predictor) -> str:
    """How good such predictions were, in a sentence: on other data where that was judged, else on other samples."""
    for way, where in (("data", "a data set"), ("sample", "samples")):
        auc = predictor.judged.get(way)
        if auc is not None and auc.value is not None:
            found = f"{auc.value:.2f}"
            if auc.low is not None and auc.high is not None:
                found += f" [{auc.low:.2f}, {auc.high:.2f}]"
            weak = " That is weak." if auc.value < WEAK else ""
            return f"On {where} that it was not learned on, its AUC was {found}; 0.5 is guessing.{weak}"
    return "How good it is was not judged."
