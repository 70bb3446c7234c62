"""What a language study's result holds, at hand by target and by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from vestige.config import TextStudyConfig
from vestige.report import table
from vestige.report.record import Point
from vestige.report.text.variants import variant
from vestige.verify import mean_interval

KM = "rougeL_recall"
"""The metric that the paper calls KM; it leaves open which ROUGE it is."""
PAPER = ("GDR", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "TV")
"""The paper's eight methods, in its order."""


class Unit(NamedTuple):
    """What is forgotten at once: a target of a seed."""

    seed: int
    target: str


@dataclass(frozen=True)
class TextMaterial:
    """All that a section of a language study's page is made of.

    rows, records, answers, verdicts, missing: as in result.json. failed: (training, stage) → why a run of it failed.
    """

    config: TextStudyConfig
    rows: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]
    answers: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    missing: Sequence[Mapping[str, Any]]
    failed: Mapping[tuple[str, str], str]

    @cached_property
    def found(self) -> table.Index:
        return table.index(self.rows)

    @cached_property
    def places(self) -> Mapping[Unit, int]:
        """Every target → its number among those of its seed, from 1, in the order of the records."""
        numbers: dict[Unit, int] = {}
        counts: dict[int, int] = {}
        for record in self.records:
            unit = Unit(record["seed"], record["target"])
            if unit not in numbers:
                numbers[unit] = counts[unit.seed] = counts.get(unit.seed, 0) + 1
        return dict(sorted(numbers.items(), key=lambda item: (item[0].seed, item[1])))

    @cached_property
    def by_key(self) -> Mapping[tuple[Unit, str, str, str], Mapping[str, Any]]:
        """The records by (unit, training, stage, group)."""
        return {
            (Unit(record["seed"], record["target"]), record["training"], record["stage"], record["group"]): record
            for record in self.records
        }

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The planned stages that unlearn: references, the paper's methods in its order, each enhanced too, others."""
        there = {stage for _, stage in table.planned(self.config)}
        planned = [stage for stage in self.config.stages if stage in there and stage not in ("base", "before")]
        order = ("R0", "R1", *PAPER)
        method = {stage: variant(stage, self.config).method for stage in planned}
        return tuple(sorted(planned, key=lambda one: order.index(method[one]) if method[one] in order else len(order)))

    @property
    def stages(self) -> tuple[str, ...]:
        """All planned stages, in the order of the page."""
        return (*(stage for stage in ("base", "before") if stage in self.config.stages), *self.methods)

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(arm for arm in ("with", "without") if arm in self.config.training)

    @property
    def seeds(self) -> int:
        return len({unit.seed for unit in self.places})

    def of(self, unit: Unit, training: str, stage: str, group: str, metric: str = KM) -> float | None:
        """A record's value; None where there is none."""
        record = self.by_key.get((unit, training, stage, group))
        return None if record is None else record.get(metric)

    def change(self, training: str, stage: str, reference: str, group: str) -> dict[Unit, float]:
        """KM after a stage minus KM at the reference, of every target where both are known."""
        return self._minus((training, stage, group), (training, reference, group))

    def arms_apart(self, stage: str, group: str) -> dict[Unit, float]:
        """KM with similar samples in training minus KM without, of every target where both are known."""
        return self._minus(("with", stage, group), ("without", stage, group))

    def _minus(self, first: tuple[str, str, str], second: tuple[str, str, str]) -> dict[Unit, float]:
        pairs = {unit: (self.of(unit, *first), self.of(unit, *second)) for unit in self.places}
        return {unit: a - b for unit, (a, b) in pairs.items() if a is not None and b is not None}

    def mean(self, training: str, stage: str, group: str) -> float | None:
        """Mean KM over all targets; None where no target has one."""
        values = [self.of(unit, training, stage, group) for unit in self.places]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None


def point(series: str, values: Mapping[Unit, float]) -> Point | None:
    """The mean of targets' values, with its interval over the targets of all seeds. None where there are none."""
    if not values:
        return None
    mean, low, high = mean_interval(list(values.values()), bounds=(-1.0, 1.0))
    return Point(series, mean, low, high, len(values), len({unit.seed for unit in values}))
