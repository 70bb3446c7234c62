"""From evidence to a verdict: a pure function of numbers. The rule is RULE, word for word in docs/methods.md too.

Every test gives one number per record and model, larger where the model shows more of the record. It is read beside
its null: the same number of models that were never trained on the record or, where none can be trained, of matched
records that this model never saw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vestige.types import InputError

Name = Literal["forgotten", "carried", "in_model", "over_unlearned", "cannot_tell"]
Null = Literal["references", "controls"]
"""What a model stands beside: other models, or matched records that it never saw."""
WORDS: dict[str, str] = {
    "forgotten": "forgotten",
    "carried": "still carried by similar records",
    "in_model": "still in the model itself",
    "over_unlearned": "over-unlearned",
    "cannot_tell": "cannot tell",
}
"""Verdict → what a report calls it."""
LEVEL = 0.99
"""Probability that one more model of the null lies in the intervals of all tests of a record, were they normal."""
FEWEST = 4
"""Numbers that an interval needs."""
NEAR_LOSS = 0.1
"""Accuracy on the record's retained neighbours that must be lost, beyond the interval, to count as damage."""
RISE = 0.25
"""Nats beyond the interval that a rise needs: below, it is no sign of anything hidden."""
RULE = """\
1. *cannot tell*, where the model's answer was not measured or is not finite, or its null has fewer than 4 numbers.
2. *over-unlearned*, where the answer lies below the intervals of both kinds of models; beside matched controls, below
   that of what the model before said of them, since one that was damaged says less of controls too.
3. *still in the model itself*, where a level test (one that says how much the model shows now) lies above the interval
   of models trained without the record but with its similar records. Where this is the answer, beside matched controls
   only, and with similar records kept or never looked for, it is *cannot tell*: still known, but it cannot be said
   whose doing it is. For a gate that is not forgotten.
4. *over-unlearned*, where the record's retained neighbours are answered worse than by all these models, below their
   intervals, and with an accuracy that is at least 0.1 below that of the model before; beside such models only.
5. *still in the model itself*, where the answer rises, after a few steps of training on other records, by more than it
   does in either kind of models, and by at least 0.25 nats more: what was only hidden comes back.
6. *still carried by similar records*, where a level test lies above the interval of models trained without the record
   and without its similar records.
7. *cannot tell*, where the audit itself hid the record in copies of the model before (in one by its last layer, in one
   by all weights, until they answered like models that never saw it), and there is one in which no test but the answer
   finds it by lines 3, 5 and 6; unless this audit itself retrained the model without it. Beside matched controls also,
   where no level test finds it in the model before.
8. *forgotten*, otherwise.
"""
"""In this order; the first that applies is the verdict. An interval is `Evidence.interval` of the null."""


@dataclass(frozen=True)
class Reading:
    """What one test says of one record.

    level: whether it says how much is shown now (else how much it rises). value, before: of the model that is judged,
    and of the model before. without: the null of R0, models trained without the record; free: of R1, without its
    similar records too; empty where R1 is R0. With matched controls both are one, and before_null is theirs in the
    model before. hid: of copies of the model before in which the audit hid the record itself, None where one could not
    be made. why: the reason where value is None.
    """

    test: str
    level: bool
    value: float | None
    before: float | None
    without: tuple[float, ...]
    free: tuple[float, ...] = ()
    before_null: tuple[float, ...] = ()
    why: str = ""
    hid: tuple[float | None, ...] = ()

    @property
    def null(self) -> tuple[float, ...]:
        """The null in which nothing of the record is left."""
        return self.free or self.without


@dataclass(frozen=True)
class Evidence:
    """All that is known of one record.

    null: models that never saw the record, or matched controls in this model. similar_kept: similar records that stay
    in training, None where nobody could look for them. retrained: this audit itself trained the model without the
    record. near, near_accuracy: how the record's retained neighbours are answered, as a reading and before and after.
    """

    record: str
    null: Null
    similar_kept: int | None
    retrained: bool
    readings: tuple[Reading, ...]
    near: Reading | None = None
    near_accuracy: tuple[float, float] | None = None

    def interval(self, null: Sequence[float]) -> tuple[float, float]:
        """The interval of a null among those of all tests of this record."""
        return interval(null, len(self.readings) + (self.near is not None))


@dataclass(frozen=True)
class Verdict:
    """A verdict with the reason, and how much is left of what the record had added.

    test: the reading that it rests on, "" for none; of *cannot tell*, the one by which the record is still known. left:
    0 as if never trained on, 1 as before, with the interval of what the null alone makes of it; None where before does
    not stand out from the null.
    """

    record: str
    name: Name
    reason: str
    test: str
    left: float | None
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        return WORDS[self.name]


def interval(values: Sequence[float], tests: int = 1) -> tuple[float, float]:
    """Where one more such value lies: mean ± t·s·√(1 + 1/n), each of `tests` with probability 1 − (1 − LEVEL) / tests.

    So all of them lie there with probability LEVEL at least (Bonferroni). Raises InputError below FEWEST values.
    Of (1, 2, 3, 4): 2.5 ± 5.841 · 1.291 · √1.25 = (−5.93, 10.93).
    """
    from scipy.stats import t

    n = len(values)
    if n < FEWEST:
        raise InputError(f"a prediction interval needs {FEWEST} values, got {n}")
    mean = sum(values) / n
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(t.ppf(1 - (1 - LEVEL) / (2 * tests), n - 1)) * max(spread, 1e-6) * math.sqrt(1 + 1 / n)
    return mean - half, mean + half


def decide(evidence: Evidence) -> Verdict:
    """The verdict on one record: the first line of RULE that applies."""
    usable = [one for one in evidence.readings if _usable(one)]
    left = _left(evidence, usable)
    between = evidence.interval

    def said(name: Name, reason: str, test: str = "") -> Verdict:
        return Verdict(evidence.record, name, reason, test, *left)

    answer = next((one for one in evidence.readings if one.test == "answer"), None)
    if answer is None or not _usable(answer):
        return said("cannot_tell", f"the model's answer could not be compared: {_why(answer)}")
    models = "models that never saw it" if evidence.null == "references" else "matched records it never saw"
    unharmed = (answer.before_null,) if answer.before_null else (answer.without, answer.null)
    floor = min(between(null)[0] for null in unharmed)
    if _number(answer) < floor:
        known = " in the model before" if answer.before_null else ""
        return said(
            "over_unlearned",
            f"the answer ({_number(answer):.2f}) lies below what {models} give{known} ({floor:.2f})",
            "answer",
        )
    levels, rises = ([one for one in usable if one.level is kind] for kind in (True, False))
    above = [one for one in levels if _number(one) > between(one.without)[1]]
    if answer in above and evidence.null == "controls" and evidence.similar_kept != 0:
        others = (
            "nobody could look for similar records in its training data"
            if evidence.similar_kept is None
            else f"{evidence.similar_kept} similar records stay in training"
        )
        return said(
            "cannot_tell",
            f"the model still shows more of it than of {models} ({_list(evidence, above)}), but {others}, and without "
            "a training function it cannot be said whether the record itself or they are the reason",
            answer.test,
        )
    if above:
        return said("in_model", f"{_list(evidence, above)} above what {models} reach", above[0].test)
    if damage := _damage(evidence):
        return said("over_unlearned", damage, "near")
    back = [one for one in rises if _number(one) > _most(evidence, (one.without, one.null)) + RISE]
    if back:
        return said(
            "in_model",
            f"it only hides: a few steps of training on other records bring it back ({_list(evidence, back)})",
            back[0].test,
        )
    carried = [one for one in levels if _number(one) > between(one.null)[1]]
    if carried:
        return said(
            "carried",
            f"{_list(evidence, carried)} like models never trained on it, but above models never trained on its "
            "similar records either",
            carried[0].test,
        )
    if evidence.null == "controls" and left[0] is None:
        return said(
            "cannot_tell",
            f"nothing of it was found, but the model before shows no more of it than of {models} either: there was "
            "nothing to find, or these tests do not see it",
        )
    able = _able(evidence, usable)
    if not able and not evidence.retrained:
        tried = any(value is not None for one in usable for value in one.hid)
        why = "neither did they where the audit hid it itself in a copy of the model before"
        return said(
            "cannot_tell",
            "nothing of it was found, but these tests would not have found it: "
            f"{why if tried else 'the audit could not hide it in a copy of the model before to try them'}",
        )
    how = "; hidden by the audit itself in copies of the model before, it was found"
    if evidence.retrained:
        how = "; this audit retrained the model without it"
        how += "" if able else ", and that is what this rests on: these tests would not have found it"
    return said("forgotten", f"in every test like {models}{how}")


def numbers(verdicts: Sequence[Verdict], utility: Mapping[str, Any], budget: float) -> dict[str, float | None]:
    """What a gate may name (`gate.NAMES`). utility: before, after and near_drop, each None where not measured.

    left is None too where it is not known of a record of which the verdict cannot be told: it could be any share.
    """
    shares = [one.left for one in verdicts if one.left is not None]
    unknown = any(one.name == "cannot_tell" and one.left is None for one in verdicts)
    before, after = utility.get("before"), utility.get("after")
    return {
        "records": len(verdicts),
        **{name: sum(one.name == name for one in verdicts) for name in WORDS},
        "still_known": sum(one.name == "cannot_tell" and one.test != "" for one in verdicts),
        "left": max(shares) if shares and not unknown else None,
        "utility_drop": None if before is None or after is None else before - after,
        "utility": budget,
        "near_drop": utility.get("near_drop"),
    }


def to_json(evidence: Evidence) -> dict[str, Any]:
    """The evidence as plain JSON."""
    record: dict[str, Any] = asdict(evidence)
    return record


def of_json(record: Mapping[str, Any]) -> Evidence:
    """The evidence that `to_json` wrote. Raises InputError for anything else."""

    def reading(one: Mapping[str, Any]) -> Reading:
        return Reading(**{**one, **{name: tuple(one[name]) for name in ("without", "free", "before_null", "hid")}})

    try:
        near, accuracy = record["near"], record["near_accuracy"]
        return Evidence(
            **{
                **record,
                "readings": tuple(reading(one) for one in record["readings"]),
                "near": reading(near) if near else None,
                "near_accuracy": tuple(accuracy) if accuracy else None,
            }
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"this is not the evidence of an audit: {error}") from None


def _usable(one: Reading) -> bool:
    values = (one.value, *one.without, *one.free)
    finite = all(value is not None and math.isfinite(value) for value in values)
    return finite and len(one.without) >= FEWEST and len(one.null) >= FEWEST


def _number(one: Reading) -> float:
    if one.value is None:
        raise InputError(f"the test {one.test} has no value")
    return one.value


def _why(answer: Reading | None) -> str:
    if answer is None:
        return "it was not measured"
    return answer.why or f"it is not finite, or it has fewer than {FEWEST} models or controls to stand beside"


def _list(evidence: Evidence, readings: Sequence[Reading]) -> str:
    ends = [", ".join(f"{end:.2f}" for end in evidence.interval(one.null)) for one in readings]
    return ", ".join(f"{one.test} {_number(one):.2f} [{end}]" for one, end in zip(readings, ends, strict=True))


def _most(evidence: Evidence, nulls: Sequence[Sequence[float]]) -> float:
    """The highest upper end of their intervals."""
    return max(evidence.interval(null)[1] for null in nulls)


def _able(evidence: Evidence, readings: Sequence[Reading]) -> bool:
    """Whether tests find the record in every copy of the model before in which the audit hid it itself."""

    def finds(one: Reading, value: float | None) -> bool:
        nulls = (one.before_null,) if one.before_null else (one.null,) if one.level else (one.without, one.null)
        if value is None or min(map(len, nulls)) < FEWEST:
            return False
        return value > _most(evidence, nulls) + (0 if one.level else RISE)

    copies = max((len(one.hid) for one in readings), default=0)
    others = [one for one in readings if one.test != "answer" and len(one.hid) == copies]
    return copies > 0 and all(any(finds(one, one.hid[at]) for one in others) for at in range(copies))


def _damage(evidence: Evidence) -> str:
    """Why the record's neighbours count as damaged, "" where they do not."""
    near, accuracy = evidence.near, evidence.near_accuracy
    if near is None or accuracy is None or not _usable(near):
        return ""
    before, after = accuracy
    floor = min(evidence.interval(null)[0] for null in (near.without, near.null))
    if _number(near) >= floor or before - after < NEAR_LOSS:
        return ""
    return f"its retained neighbours are answered worse: accuracy {before:.2f} before, {after:.2f} after"


def _left(evidence: Evidence, readings: Sequence[Reading]) -> tuple[float | None, float | None, float | None]:
    """The largest share left in any level test in which the model before stands out, with its interval."""
    found: list[tuple[float, float, float]] = []
    for one in readings:
        first = one.before_null or one.null
        if not one.level or one.before is None or len(first) < FEWEST:
            continue
        if not one.before > evidence.interval(first)[1]:
            continue
        low, high = evidence.interval(one.null)
        mean, unit = sum(one.null) / len(one.null), one.before - sum(first) / len(first)
        left, least, most = ((_number(one) - at) / unit for at in (mean, high, low))
        found.append((left, least, most))
    return max(found) if found else (None, None, None)
