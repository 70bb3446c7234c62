"""What to expect before anything is changed: how hard each record is to forget, what each method costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

NO_PREDICTOR = "no stored predictor was given (predictor: FILE)"


def difficulty(records: Sequence[str], predictor: Path | None) -> list[dict[str, Any]]:
    """The expected difficulty of each record in [0, 1], and why there is none.

    A predictor is fitted by a difficulty study. Without one nothing is said: a guess would look like knowledge.
    """
    why = NO_PREDICTOR if predictor is None else f"predictors as in {predictor} are not read yet"
    return [{"id": name, "difficulty": None, "why": f"not foreseen because {why}"} for name in records]


def outcome(scope: str, kept: int, removed: int) -> str:
    """What the chosen scope will and will not achieve, in words."""
    if not kept:
        return (
            "No similar record stays in training, so the best outcome is a model that never saw anything of the kind."
        )
    stay = f"{kept} similar record{'s stay' if kept > 1 else ' stays'} in training"
    what = "the scope is exact" if scope == "exact" else "their owners keep them"
    return (
        f"{stay} ({what}). Even a perfect method leaves what they teach: expect “still carried by similar records” "
        f"where they are near-copies. {removed} record{'s go' if removed > 1 else ' goes'}."
    )
