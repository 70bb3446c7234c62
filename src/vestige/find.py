"""Search a data set by hand: similar records of given ones, or near-duplicates, as plain records for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vestige import __version__, assets, duplicates, experiment, influence, measures, similar, store, studies
from vestige.types import InputError, Run, Samples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vestige.config import StudyConfig

Record = dict[str, Any]
Contents = dict[str, dict[str, Any]]
"""Record id → what a page shows of it: label, and pixels (C, H, W) uint8, or question and answer."""
Say = Callable[[str], None]

QUANTILES = (0.05, 0.5, 0.95, 0.99)
BINS = 48
"""Of the histogram of random pairs."""
SHOWN, MEMBERS = 60, 24
"""Groups of duplicates that the page shows, and members of each."""


@dataclass(frozen=True)
class Learned:
    """Which model of a run folder: its training arm and stage."""

    folder: Path
    training: str = "with"
    stage: str = "before"


@dataclass(frozen=True)
class Question:
    """What is searched in which data set. k or tau is None. by: a measure of the modality, or all.

    source: the data set, None where `learned` names a model: then it is the data set of that run. seed: of the random
    pairs, and of the model; None: 0, or the run folder's first. columns: of text, as "question", "answer" and "id".
    """

    source: str | None
    by: str | None
    encoder: str | None
    k: int | None
    tau: float | None
    seed: int | None = None
    learned: Learned | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Set:
    """A data set with its modality and the measures that were asked for.

    model: of the measure `influence`, and about: which one that is.
    """

    samples: Samples
    source: str
    modality: str
    by: str
    names: tuple[str, ...]
    seed: int
    model: nn.Module | None = None
    about: Record | None = None


def read_ids(text: str | None, file: Path | None) -> tuple[str, ...]:
    """The ids of --ids a,b or of --ids-file, one a line. Raises InputError where both, neither or none is there."""
    if (text is None) == (file is None):
        raise InputError("give the targets with --ids a,b or with --ids-file FILE, one a line")
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--ids-file {file} cannot be read: {error}") from None
    else:
        lines = (text or "").split(",")
    return tuple(line.strip() for line in lines if line.strip())


def open_set(question: Question, say: Say) -> Set:
    """The data set, loaded and checked, with the columns of text said.

    Raises InputError or MissingError for data, columns, measure, encoder, run folder or model: see the messages.
    """
    if question.learned is not None:
        return _open_run(question, question.learned, say)
    if question.source is None:
        raise InputError("give the data set with --data, or with --run FOLDER a model and the data of its run")
    asset = assets.locate(question.source)
    by = question.by or measures.MEASURES[asset.modality][0]
    names = measures.named(asset.modality, by, question.encoder, learned=False)
    if asset.modality == "image":
        from vestige.image import load

        _no_columns(question, f"{question.source} holds images")
        samples = load(asset)
    else:
        from vestige import text

        say(text.columns(asset, **question.columns).words)
        samples = text.load(asset, **question.columns)
    found = Set(samples, question.source, asset.modality, by, names, question.seed or 0)
    return _checked(found, question)


def _open_run(question: Question, learned: Learned, say: Say) -> Set:
    """A model of a run folder, and the data set of that run."""
    if question.source is not None:
        raise InputError(
            f"--data {question.source} and --run {learned.folder} were both given; with --run the records of its own "
            "data set are searched: leave --data out"
        )
    by = question.by or measures.LEARNED
    names = measures.named("image", by, question.encoder, learned=True)
    _no_columns(question, f"{learned.folder} holds images")
    if not (learned.folder / store.MARKER).is_file():
        raise InputError(
            f"--run {learned.folder} is not a run folder: it has no {store.MARKER}; "
            f"make one with: vestige train --out {learned.folder}"
        )
    _, settings, _ = store.open_images(learned.folder)
    influence.check(settings.model, settings.train.sisa is not None)
    experiment.check(learned.stage)
    seed = settings.seed if question.seed is None else question.seed
    run = Run(seed, learned.training, learned.stage)
    if seed != settings.seed and run not in experiment.plan(settings, recall=False):
        raise InputError(
            f"the study in {learned.folder} has no run {run.label}; its first seed is {settings.seed}, of "
            f"{settings.seeds}, its stages are {', '.join(settings.stages)}; of the first seed any model can be made"
        )
    laboratory = studies.open_laboratory(settings, learned.folder, recall=False)
    name = laboratory.model_name(run)
    if not laboratory.store.has("models", name):
        raise InputError(
            f"{learned.folder} holds no model of {run.label}; make it with: {_made_by(run, settings, learned.folder)}"
        )
    samples, _ = laboratory.data(seed, say)
    about = {
        "folder": str(learned.folder),
        "fingerprint": name,
        "training": run.training,
        "stage": run.stage,
        "seed": seed,
        "what": f"the model in {learned.folder} (stage {run.stage}, {run.training} similar samples, seed {seed})",
    }
    found = Set(
        samples.to("cpu"), settings.data.source, settings.modality, by, names, seed, laboratory.model(run, say), about
    )
    return _checked(found, question)


def _made_by(run: Run, settings: StudyConfig, folder: Path) -> str:
    """The command that makes a model of a run folder."""
    if run.seed != settings.seed:
        return f"{studies.command(settings)} --out {folder}"
    verb = "train" if run.stage == "before" else f"unlearn --method {run.stage}"
    return f"vestige {verb} --training {run.training} --out {folder}"


def _no_columns(question: Question, found: str) -> None:
    if question.columns:
        raise InputError(f"--{next(iter(question.columns))} names a column of questions and answers, and {found}")


def _checked(found: Set, question: Question) -> Set:
    if len(found.samples) < 2:
        raise InputError("the data set holds one record only; there is nothing that it could be similar to")
    if "embedding" in found.names:
        measures.check_encoder(found.modality, question.encoder)
    return found


def similar_to(ids: Sequence[str], question: Question, *, command: str, say: Say) -> tuple[Record, Contents]:
    """The similar records of those with these ids: the record that --json prints, and what the page shows.

    Each value stands beside how many of 2,000 random pairs reach it. Raises InputError as `similar.check_targets`.
    """
    found = open_set(question, say)
    samples = found.samples
    rows = similar.check_targets(samples, ids, k=question.k, tau=question.tau, by=found.by)
    pairs = similar.null_pairs(samples, found.seed)
    # A threshold needs every pair; only the nearest may be looked for among the likeliest.
    ranked = len(rows) if question.tau is None else 0
    by_name = measures.build(
        samples, found.modality, found.names, encoder=question.encoder, model=found.model, targets=ranked, say=say
    )
    null = {name: measure.pairs(*pairs) for name, measure in by_name.items()}
    near = similar.neighbours(samples, rows, by_name, null, k=question.k, tau=question.tau)
    labels = _labels(samples)
    targets = [
        {
            "id": name,
            "label": labels[name],
            "neighbours": [
                {"id": one.id, "rank": one.rank, "label": labels[one.id], "similarity": _rounded(one.values),
                 "random_pairs_reaching": dict(one.beyond)}
                for one in lot
            ],
        }
        for name, lot in near.items()
    ]  # fmt: skip
    shown = dict.fromkeys([*near, *(one.id for lot in near.values() for one in lot)])
    record = {
        "kind": "similar",
        **_about(found, question, command),
        "k": question.k,
        "tau": question.tau,
        "how": _how(by_name),
        "null": _null(null, samples),
        "targets": targets,
    }
    return record, _contents(samples, shown, labels)


def duplicates_in(question: Question, *, command: str, say: Say) -> tuple[Record, Contents]:
    """The near-duplicates of a data set in groups: the record that --json prints, and what the page shows."""
    if question.tau is None or not -1 < question.tau <= 1:
        raise InputError(f"--tau {question.tau}: it must lie in (-1, 1]")
    if question.by == "all":
        raise InputError("duplicates are found by one measure; all joins rankings, which have no threshold")
    found = open_set(question, say)
    samples = found.samples
    pairs = similar.null_pairs(samples, found.seed)
    by_name = measures.build(samples, found.modality, found.names, encoder=question.encoder, targets=1, say=say)
    (measure,) = by_name.values()
    null = {found.by: measure.pairs(*pairs)}
    lots = duplicates.find(samples, measure, question.tau, say=say)
    ids, labels = samples.ids, _labels(samples)
    record = {
        "kind": "duplicates",
        **_about(found, question, command),
        "tau": question.tau,
        "compared": {"pairs": lots.compared, "complete": lots.complete, "crowded_records": lots.crowded},
        "null": _null(null, samples) | {"reaching_tau": int((null[found.by] >= question.tau).sum())},
        "exact": _counts(lots.exact),
        "near": _counts(lots.groups),
        "groups": [
            {"size": len(group), "least_similarity": round(least, 6), "ids": [ids[row] for row in group],
             "labels": sorted({labels[ids[row]] for row in group})}
            for group, least in zip(lots.groups, lots.least, strict=True)
        ],
    }  # fmt: skip
    shown = dict.fromkeys(ids[row] for group in lots.groups[:SHOWN] for row in group[:MEMBERS])
    return record, _contents(samples, shown, labels)


def _about(found: Set, question: Question, command: str) -> Record:
    encoder = question.encoder or measures.ENCODERS[found.modality]
    return {
        "data": found.source,
        "records": len(found.samples),
        "modality": found.modality,
        "by": found.by,
        "measures": list(found.names),
        "encoder": encoder if "embedding" in found.names else None,
        "model": found.about,
        "seed": found.seed,
        "version": __version__,
        "command": command,
    }


def _how(by_name: Mapping[str, measures.Measure]) -> str:
    ways = []
    for measure in by_name.values():
        if isinstance(measure, measures.Ssim) and measure.lowpass:
            from vestige.image.lowpass import CANDIDATES

            ways.append(f"the {CANDIDATES} likeliest of each target were compared")
        elif isinstance(measure, measures.Aligned) and len(measure.x) > measures.LIKELY:
            ways.append("every record was laid over each target in coarse steps, the likeliest in fine ones")
    return "; ".join([*ways, "a neighbour may be missed"]) if ways else "every record was compared"


def _null(null: Mapping[str, Tensor], samples: Samples) -> Record:
    import torch

    spread = {}
    for name, values in null.items():
        low, high = float(values.min()), float(values.max())
        counts = torch.histc(values, BINS, low, high)
        marks = values.double().quantile(torch.tensor(QUANTILES, dtype=torch.float64)).tolist()
        spread[name] = {
            "mean": round(float(values.double().mean()), 6),
            **{f"p{100 * share:02.0f}": round(mark, 6) for share, mark in zip(QUANTILES, marks, strict=True)},
            "histogram": {"low": round(low, 6), "high": round(high, 6), "counts": [int(count) for count in counts]},
        }
    what = "random pairs of different records" + (" of one class" if samples.classes else "")
    return {"what": what, "pairs": len(next(iter(null.values()))), "measures": spread}


def _counts(groups: Sequence[Sequence[int]]) -> Record:
    records = sum(map(len, groups))
    sizes = Counter(map(len, groups))
    return {
        "groups": len(groups),
        "records": records,
        "surplus": records - len(groups),
        "sizes": {str(size): sizes[size] for size in sorted(sizes)},
    }


def _labels(samples: Samples) -> dict[str, str]:
    """Record id → its class, or in text its family; "" where it has none."""
    if samples.classes:
        return dict(zip(samples.ids, map(str, samples.y.tolist()), strict=True))
    return dict(zip(samples.ids, samples.family or [""] * len(samples), strict=True))


def _contents(samples: Samples, ids: Mapping[str, None], labels: Mapping[str, str]) -> Contents:
    some = samples.take(ids)
    if samples.classes == 0:
        return {
            name: {"label": labels[name], "question": question, "answer": answer}
            for name, question, answer in zip(some.ids, some.x, some.y, strict=True)
        }
    x = some.x if not some.x.is_floating_point() else (some.x * 255).round().byte()
    return {name: {"label": labels[name], "pixels": picture.numpy()} for name, picture in zip(some.ids, x, strict=True)}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
