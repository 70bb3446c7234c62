"""The data sets of a difficulty study: an even draw of every class, and the same with copies of some samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.config import DifficultyConfig
from vestige.random import stream
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from vestige.modality import Modality


def check(config: DifficultyConfig, samples: Samples) -> None:
    """Raise InputError if these samples cannot fill the data set that is asked for, or the study does not fit it."""
    if config.samples > config.data.train:
        raise InputError(
            f"{config.samples} samples to unlearn were asked for, and the models are trained on {config.data.train}; "
            "lower samples or raise data.train"
        )
    if config.data.train < samples.classes:
        raise InputError(f"data.train {config.data.train} is less than one of each of {samples.classes} classes")
    if config.doses and config.dosed > config.samples:
        raise InputError(
            f"{config.dosed} samples with copies are to be among {config.samples} samples to unlearn; lower dosed"
        )
    counts = Counter(samples.y.tolist())
    for label in range(samples.classes):
        train, test = (even(size, samples.classes)[label] for size in (config.data.train, config.data.test))
        if counts[label] < train + test:
            raise InputError(
                f"class {label} has {counts[label]} sample{'s' if counts[label] != 1 else ''}, {train + test} are "
                f"needed: {train} to train, {test} to test; lower data.train or data.test, or leave the class out"
            )
    # Every dosed sample brings its copies in place of others of its class.
    most, share = max(config.doses, default=0), -(-config.dosed // samples.classes)
    room = min(even(config.data.train, samples.classes)) - share
    if share * most > room:
        raise InputError(
            f"{share} samples of a class with {most} copies each do not fit beside them into "
            f"{room + share} training samples of it; lower doses or dosed, or raise data.train"
        )


def draw(
    config: DifficultyConfig,
    everything: Samples,
    *,
    modality: Modality,
    dose: int = 0,
    dosed: Sequence[str] = (),
) -> tuple[Samples, tuple[str, ...], tuple[str, ...]]:
    """The samples of one data set, the ids that are trained on, and those for testing.

    dose: how many constructed similar samples each of `dosed` gets, in place of others of its class; the first of a
    larger dose are those of a smaller. Deterministic for config.seed. Raises InputError (see `check`).
    """
    import torch

    check(config, everything)
    order = stream(config.seed, "difficulty data")
    trains, tests = (even(size, everything.classes) for size in (config.data.train, config.data.test))
    train: list[str] = []
    test: list[str] = []
    for label in range(everything.classes):
        places = (everything.y == label).nonzero().flatten()
        ids = [everything.ids[place] for place in places[torch.randperm(len(places), generator=order)].tolist()]
        train += ids[: trains[label]]
        test += ids[trains[label] : trains[label] + tests[label]]
    base = modality.unit(everything.take([*train, *test]))
    if not dose:
        return base, tuple(train), tuple(test)
    targets = base.take(dosed)
    most = max(dose, *config.doses)
    families = modality.make_similar(
        targets, most, config=config.data.made, generator=stream(config.seed, "difficulty similar")
    )
    copies = _join([family.at(slice(0, dose)) for family in families])
    gone = Counter({label: dose * count for label, count in Counter(targets.y.tolist()).items()})
    label_of = dict(zip(base.ids, base.y.tolist(), strict=True))
    kept = []
    for name in reversed(train):
        if name not in dosed and gone[label_of[name]] > 0:
            gone[label_of[name]] -= 1
        else:
            kept.append(name)
    train = [*reversed(kept), *copies.ids]
    both = _join([base, copies])
    return both.take([*train, *test]), tuple(train), tuple(test)


def to_entry(
    samples: Samples, train: Sequence[str], test: Sequence[str], dosed: Sequence[str], everything: Samples
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts and arrays that a data set is kept as. everything: its source, for the words of texts."""
    facts: dict[str, Any] = {
        "kind": "difficulty data",
        "classes": samples.classes,
        "ids": list(samples.ids),
        "train": list(train),
        "test": list(test),
        "dosed": list(dosed),
    }
    if isinstance(everything.x, np.ndarray):  # of str; pictures are tensors
        texts = dict(zip(everything.ids, everything.x.tolist(), strict=True))
        facts["texts"] = {name: texts[name] for name in samples.ids if name in texts}
    return facts, {"x": samples.x.numpy(), "y": samples.y.numpy()}


def from_entry(
    facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], device: str = "cpu"
) -> tuple[Samples, Samples]:
    """What is trained on, and what is for testing."""
    import torch

    # A copy: what Ray shares may not be written to, and torch knows no such tensors.
    x, y = (torch.tensor(arrays[name], device=device) for name in ("x", "y"))
    samples = Samples(tuple(facts["ids"]), x, y, facts["classes"])
    return samples.take(facts["train"]), samples.take(facts["test"])


def alike(train: Samples, ids: Sequence[str]) -> np.ndarray | None:
    """How alike these samples are to each that is trained on, (N, n), by the words of texts; None for images."""
    if train.x.is_floating_point():
        return None
    from vestige.text.labelled import bags

    found: np.ndarray = (bags(train.take(ids)) @ bags(train).T).numpy()
    return found


def even(total: int, classes: int) -> list[int]:
    """`total` over the classes as evenly as it goes, the first ones having one more."""
    return [total // classes + (label < total % classes) for label in range(classes)]


def _join(parts: Sequence[Samples]) -> Samples:
    import torch

    ids = tuple(name for part in parts for name in part.ids)
    return Samples(ids, torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]), parts[0].classes)
