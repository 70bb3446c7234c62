"""What the store keeps of one study, at hand by seed and by run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige.dataset import split_of
from vestige.store import Entry, Store, read_json
from vestige.types import Run, Split

BAR = 95
"""Percentile of the null above which an image counts as coming back."""


@dataclass(frozen=True)
class Shelf:
    """The store's entries of one study, by seed and by run. runs holds finished runs only."""

    data: Mapping[int, Entry]
    runs: Mapping[Run, Entry]

    def split(self, seed: int) -> Split:
        return split_of(self.data[seed].facts["split"])

    def null(self, run: Run, target: str) -> list[str]:
        """The never-seen samples of the target's class."""
        facts = self.data[run.seed].facts
        labels = dict(zip(facts["ids"], self.data[run.seed].arrays["y"].tolist(), strict=True))
        return [name for name in facts["split"]["never_seen"] if labels[name] == labels[target]]

    def of(self, run: Run, ids: Iterable[str], name: str) -> np.ndarray:
        """The evidence called `name` of this run for these ids, in this order."""
        where = {sample: position for position, sample in enumerate(self.runs[run].facts["ids"])}
        return self.runs[run].arrays[name][[where[sample] for sample in ids]]

    def bar(self, run: Run, target: str) -> float:
        """The NCC that few never-seen images of the target's class reach in this model."""
        return float(np.percentile(self.of(run, self.null(run, target), "ncc"), BAR))


def open_shelf(store: Store, provenance: Mapping[str, Any]) -> Shelf:
    """The entries that a result names in its provenance; a run without scores is left out."""
    data = {int(seed): store.load("data", name) for seed, name in provenance["data"].items() if store.has("data", name)}
    models = set(provenance["models"].items())
    runs: dict[Run, Entry] = {}
    for file in sorted((store.root / "scores").glob("[!.]*/result.json")):
        facts = read_json(file)
        run = Run(facts["seed"], facts["training"], facts["stage"])
        if (run.label, facts["model"]) in models:
            runs[run] = store.load("scores", file.parent.name)
    return Shelf(data, runs)
