"""How hard samples will be to unlearn, told before any unlearning by what a finished study learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.difficulty import factors, jobs, table
from vestige.difficulty import predict as predictors
from vestige.difficulty.plan import Plan, name_of
from vestige.store import MARKER, Store, read_json
from vestige.types import InputError

if TYPE_CHECKING:
    from torch import nn

    from vestige.config import DifficultyConfig
    from vestige.difficulty.plan import Job
    from vestige.executor import Say
    from vestige.modality import Modality
    from vestige.types import Samples

COMPARED = 200
"""Training samples that those asked about are compared with, where the study's own model is not used."""


def expected(
    root: Path, ids: Sequence[str], *, data: str | None = None, model: str | None = None, say: Say
) -> dict[str, Any]:
    """The chance of each of these samples to be among the hardest quartile, beside how good the predictor is.

    root: the folder of a finished study. ids: training samples of its models, or where `data` or `model` name another
    data set or kind of network, of a model that is trained for this, with the study's first seed. Returns {"study",
    "about", "predictor", "judged": {"by", "auc": record} or {"missing": why}, "rows": [{"id", "chance", "rank": 1 the
    likeliest, "measured": its mean difficulty where the study has it, else None}, … likeliest first]}. Nothing is
    written. Raises InputError for a folder without a finished study, ids that no model was trained on, and factors that
    these data do not have.
    """
    record, config, source = _opened(root)
    if not ids:
        raise InputError("no sample was named; give --ids A,B or --ids-file FILE")
    measured = table.measured(record)
    predictor = predictors.fit([measured])
    if data is None and model is None:
        chances = _by_own(Plan(config, source), Store(root), measured, predictor, ids)
        about, known = record["name"], dict(zip(measured.ids, measured.overall.tolist(), strict=True))
    else:
        about, chances = _by_another(config, data, model, predictor, ids, say)
        known = {}
    order = np.argsort(-chances, kind="stable").tolist()
    return {
        "study": record["name"],
        "about": about,
        "predictor": predictor.model_dump(mode="json"),
        "judged": _judged(record, "sample" if data is None and model is None else "data"),
        "rows": [
            {"id": ids[place], "chance": float(chances[place]), "rank": rank, "measured": _plain(known.get(ids[place]))}
            for rank, place in enumerate(order, 1)
        ],
    }


def _opened(root: Path) -> tuple[dict[str, Any], DifficultyConfig, str]:
    from vestige.config import build_difficulty

    if not (root / "result.json").is_file() or not (root / MARKER).is_file():
        raise InputError(f"{root} holds no finished difficulty study; run vestige difficulty --out {root}")
    record, marker = read_json(root / "result.json"), read_json(root / MARKER)
    if record.get("study") != "difficulty":
        raise InputError(f"{root} holds another kind of result, and this takes a difficulty study")
    return record, build_difficulty([marker["config"]]), str(marker["source"])


def _by_own(
    plan: Plan, store: Store, measured: table.Measured, predictor: predictors.Predictor, ids: Sequence[str]
) -> np.ndarray:
    """Mean chance over the study's models, each sample's factors beside those of the study's samples."""
    data = plan.data()
    found = []
    for number, seed in enumerate(measured.seeds):
        before = plan.before(data, "one", seed)
        names = [name_of(data), name_of(before)]
        for kind, name in zip(("data", "models"), names, strict=True):
            if not store.has(kind, name):
                raise InputError(f"{store.root / kind / name} is not there; run the study's command again")
        entries = [store.load(kind, name) for kind, name in zip(("data", "models"), names, strict=True)]
        its = _factors(before, entries[0].facts, entries[0].arrays, entries[1].arrays, ids)
        population = {name: column[number] for name, column in measured.before.items()}
        found.append(predictors.predict(predictor, its, population))
    return np.asarray(np.mean(found, 0))


def _by_another(
    config: DifficultyConfig,
    data: str | None,
    model: str | None,
    predictor: predictors.Predictor,
    ids: Sequence[str],
    say: Say,
) -> tuple[str, np.ndarray]:
    """The name of other data or another model, and the chances by one model that is trained for this."""
    from vestige import assets
    from vestige.difficulty import data as sets
    from vestige.difficulty.study import configure
    from vestige.modality import modality

    other = configure(data=data or config.data.source, model=model, seed=config.seed)
    plan = Plan(other, assets.locate(other.data.source).digest())
    spec = plan.data()
    part = jobs.make_data(spec)
    _check_ids(ids, part.facts["train"])
    say(f"training one {other.model.kind} on {len(part.facts['train'])} samples of {other.data.source}")
    before = plan.before(spec, "one", other.seed)
    made = jobs.carry_out(before, {name_of(spec): part})
    train, _ = sets.from_entry(part.facts, part.arrays, before["device"])
    room = modality(before["data"]["modality"])
    chances, _ = beside(predictor, jobs.restore(before, made.arrays), train, ids, room=room)
    return f"{Path(other.data.source).stem} {other.model.kind}", chances


def beside(
    predictor: predictors.Predictor, model: nn.Module, train: Samples, ids: Sequence[str], *, room: Modality
) -> tuple[np.ndarray, np.ndarray]:
    """The chances of these training samples of a model, (N,), and of others that they are compared with, (M,).

    train: what it was trained on, as `factors.before` takes it. The others are an even draw, about COMPARED of them.
    Raises InputError where there are none, and as `factors.before` and `predict.predict` do.
    """
    from vestige.difficulty import data as sets

    step = max(1, len(train) // COMPARED)
    asked_for = set(ids)
    others = [name for name in train.ids[::step] if name not in asked_for]
    if not others:
        raise InputError(f"there is no other training sample to compare {len(ids)} of {len(train)} with")
    compared = [*ids, *others]
    its = factors.before(model, train, compared, modality=room, similarity=sets.alike(train, compared))
    asked = {name: column[: len(ids)] for name, column in its.items()}
    population = {name: column[len(ids) :] for name, column in its.items()}
    return predictors.predict(predictor, asked, population), predictors.predict(predictor, population, population)


def _factors(
    before: Job, facts: Mapping[str, Any], arrays: Mapping[str, Any], model: Mapping[str, Any], ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """The factors of these samples by this model; no reference is asked."""
    from vestige.difficulty import data as sets
    from vestige.modality import modality

    _check_ids(ids, facts["train"])
    train, _ = sets.from_entry(facts, arrays, before["device"])
    room = modality(before["data"]["modality"])
    found = jobs.restore(before, model)
    return factors.before(found, train, ids, modality=room, similarity=sets.alike(train, ids))


def _check_ids(ids: Sequence[str], train: Sequence[str]) -> None:
    unknown = [name for name in ids if name not in set(train)]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is not among the {len(train)} samples that the model was trained on, which are called as "
            f"{train[0]!r} ({len(unknown)} of {len(ids)} ids are unknown)"
        )


def _judged(record: Mapping[str, Any], way: str) -> dict[str, Any]:
    """How good such predictions were in the study, on what the predictor was not fitted to."""
    found = record["analyses"].get("predictor", {"missing": "the study did not judge it"})
    result = found if "missing" in found else found["by"].get(way, {"missing": "the study did not judge it"})
    return {"missing": result["missing"]} if "missing" in result else {"by": way, "auc": result["linear"]["auc"]}


def _plain(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
