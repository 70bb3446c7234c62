"""What the jobs of a difficulty study left behind → the rows of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vestige.difficulty import factors
from vestige.difficulty.jobs import LENGTHS, probability
from vestige.difficulty.journal import Part
from vestige.difficulty.plan import Job
from vestige.difficulty.record import Run, Sample
from vestige.difficulty.score import score

Array = np.ndarray


@dataclass(frozen=True)
class Known:
    """What references say of one sample: means over those not trained on it, and over those trained on it."""

    p_ref: float
    error: float | None
    n: int
    margin_ref: float
    p_in: float | None

    @property
    def memorisation(self) -> float | None:
        return None if self.p_in is None else self.p_in - self.p_ref


def known(jobs: Sequence[Job], parts: Sequence[Part], train: Sequence[str]) -> dict[str, Known]:
    """id → what these reference models say of it; samples without a reference of their own are not there."""
    if not jobs:
        return {}
    margins = np.stack([part.arrays["margins"] for part in parts]).astype(np.float64)
    p = probability(margins)
    out = np.zeros(p.shape, bool)
    where = {name: column for column, name in enumerate(train)}
    for row, job in enumerate(jobs):
        out[row, [where[name] for name in job["without"]]] = True
    subset = any(len(job["without"]) > 1 for job in jobs)
    found = {}
    for name, column in where.items():
        these = out[:, column]
        n = int(these.sum())
        if n == 0:
            continue
        inside = p[~these, column]
        found[name] = Known(
            p_ref=float(p[these, column].mean()),
            error=float(p[these, column].std(ddof=1) / np.sqrt(n)) if n > 1 else None,
            n=n,
            margin_ref=float(margins[these, column].mean()),
            p_in=float(inside.mean()) if subset and len(inside) else None,
        )
    return found


def sample_row(
    job: Job, before: Part, data: Part, name: str, ref: Known, found: Mapping[str, float], dosed: bool
) -> Sample:
    """One sample before it is unlearned. job: that of the model before; found: its factors."""
    row = data.facts["train"].index(name)
    margin = float(before.arrays["margins"][row])
    labels = dict(zip(data.facts["ids"], data.arrays["y"].tolist(), strict=True))
    return {
        "dose": job["data"].get("dose", 0),
        "seed": job["seed"],
        "learner": learner_in(job),
        "id": name,
        "label": labels[name],
        "dosed": dosed,
        "p_before": float(probability(margin)),
        "p_ref": ref.p_ref,
        "p_ref_error": ref.error,
        "p_ref_n": ref.n,
        "p_in": ref.p_in,
        "margin_before": margin,
        "margin_ref": ref.margin_ref,
        "memorisation": ref.memorisation,
        "factors": {key: number(value) for key, value in found.items()},
    }


def run_row(job: Job, part: Part, before: Part, data: Part, ref: Known) -> Run:
    """What one run did, with its score and its symptoms."""
    row = data.facts["train"].index(job["id"])
    margin, was = float(part.arrays["margins"][row]), float(before.arrays["margins"][row])
    p_after, p_before = float(probability(margin)), float(probability(was))
    facts = part.facts
    scored = score(p_before, p_after, ref.p_ref, test=facts["test"], retained=facts["retained"])
    return {
        "dose": job["before"]["data"].get("dose", 0),
        "seed": job["before"]["seed"],
        "algorithm": job["algorithm"],
        "learner": learner_in(job["before"]),
        "id": job["id"],
        "p_after": p_after,
        "margin_after": margin,
        "test": facts["test"],
        "retained": facts["retained"],
        "E": float(scored.erasure),
        "U": float(scored.utility),
        "H": float(scored.h),
        "erasable": bool(scored.erasable),
        "length": facts["length"],
        "steps_taken": facts["steps"],
        "symptoms": _symptoms(part, before, row, ref),
    }


def learner_in(job: Job) -> str:
    """Whether a model is one, or shards that vote."""
    return "one" if job["train"]["sisa"] is None else "shards"


def number(value: float | None) -> float | None:
    """The value, None where it does not exist."""
    return None if value is None or not np.isfinite(value) else float(value)


def _symptoms(part: Part, before: Part, row: int, ref: Known) -> dict[str, float | None]:
    from vestige.difficulty.score import erasure, utility

    p, facts = part.arrays["p"], part.facts
    was, now = (probability(each.arrays["margins"]) for each in (before, part))
    others = np.arange(len(was)) != row
    nearest = int(np.abs(np.log(LENGTHS) - np.log(max(facts["length"], 1e-12))).argmin())
    marks = [(p[int(step)], test, retained) for step, test, retained in facts["marks"]]
    marks.append((now[row], facts["test"], facts["retained"]))
    erased = [float(erasure(after, p[0], ref.p_ref)) for after, _, _ in marks]
    useful = [float(utility(test, retained)) for _, test, retained in marks]
    first, last = (each.arrays["margins"][[row]].astype(np.float64) for each in (before, part))
    found: dict[str, float | None] = {
        "expansion": factors.expansion(was[others], now[others], before.arrays["random"][nearest][:, others]),
        "membership_resistance": float(factors.membership_resistance(first, last, [ref.margin_ref])[0]),
        "tolerance": factors.tolerance(erased, useful),
    }
    if facts["steps"] is not None:
        found["steps"] = factors.steps_to(p, ref.p_ref)
        found["shift"] = factors.shift_at(part.arrays["lengths"], p, ref.p_ref)
    return {name: number(value) for name, value in found.items()}
