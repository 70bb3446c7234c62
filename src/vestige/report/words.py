"""The sentences of a report, composed from its numbers: no claim beyond what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vestige.config import CNNConfig, MLPConfig, ModelConfig, StudyConfig, TrainConfig
from vestige.report.record import Recalls
from vestige.stages import parse


def describe(name: str) -> str:
    """What a stage does, in a few plain words."""
    fixed = {
        "before": "trained on everything",
        "R0": "retrained without the targets",
        "R1": "retrained without the targets and their similar images",
        "relabel": "trained on, with wrong labels for the targets",
        "finetune": "trained on, without the targets",
        "GA": "gradient ascent on the targets",
        "NegGrad+": "trained on, with ascent on the targets",
        "SCRUB": "led away from its own answers on the targets",
        "BadTeacher": "taught an untrained network’s answers on the targets",
        "SalUn": "as relabel, in the weights that matter most to the targets",
        "L1-sparse": "as finetune, with an L1 penalty",
        "CF-k": "as finetune, in the last layers only",
        "EU-k": "the last layers retrained without the targets",
        "SSD": "weights that matter to the targets dampened",
        "SISA": "the shards with targets retrained without them",
    }
    if name in fixed:
        return fixed[name]
    stage = parse(name)
    if not stage.is_widened:
        return f"the targets forgotten by {name}"
    start = "retrained without the targets" if stage.method == "retrain" else f"{stage.method}: the targets"
    joined = "and" if stage.weight is None else f"and with a weight of {stage.weight:g} for"
    if stage.by == "influence":
        return f"{start} {joined} the {stage.k} images that each rests on most"
    if stage.k is not None:
        return f"{start} {joined} the {stage.k} images most similar to each"
    if stage.residual is not None:
        return f"{start} {joined} as few similar images as should leave a residual of {stage.residual:g}"
    return f"{start} {joined} every image with an SSIM of at least {stage.tau:g}"


def briefly(name: str) -> str:
    """What a stage forgets, in a few words for a column's head."""
    stage = parse(name)
    if not stage.is_widened:
        return "the target unlearned"
    if stage.weight is not None:
        return in_short(name)
    if stage.by == "influence":
        return f"nor the {stage.k} it rests on"
    if stage.residual is not None:
        return f"nor similar ones, to {stage.residual:g}"
    return f"nor its {stage.k} most similar" if stage.k is not None else f"nor what has SSIM ≥ {stage.tau:g}"


def in_short(name: str) -> str:
    """What a stage does, in two or three words for a narrow column."""
    fixed = {"before": "unlearning", "R0": "retrained", "R1": "no copies left", "relabel": "wrong labels"}
    stage = parse(name)
    if name in fixed or not stage.is_widened:
        return fixed.get(name, "")
    weight = "" if stage.weight is None else f" × {stage.weight:g}"
    if stage.by == "influence":
        return f"+ {stage.k} it rests on{weight}"
    if stage.residual is not None:
        return f"+ similar, to {stage.residual:g}{weight}"
    return f"+ {stage.k} similar{weight}" if stage.k is not None else f"SSIM ≥ {stage.tau:g}{weight}"


def widest_first(name: str) -> tuple[bool, bool, int, float]:
    """Sorts widened stages: retraining last, what forgets after what only weighs less, then by how much they widen."""
    stage = parse(name)
    return stage.method == "retrain", stage.weight is None, stage.k or 0, -(stage.tau or 0.0)


def number(value: float | None, digits: int = 2) -> str:
    """A number for reading, with a true minus sign; "–" where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) != 0 else text.lstrip("-")


def signed(value: float, digits: int = 2) -> str:
    """A difference for reading: with its sign, also where it is positive."""
    return f"+{number(value, digits)}" if float(f"{value:.{digits}f}") > 0 else number(value, digits)


def cell(value: object) -> str:
    """A value of a figure's table: numbers to three places, "yes" or "no", "–" for what was not computed."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 3) if isinstance(value, float) else str(value)


def column(name: str) -> str:
    """The head of a column in a figure's table."""
    known = {"ncc": "NCC", "ssim": "SSIM", "low": "Low", "high": "High", "n": "n", "bar": "95 % of never seen",
             "back": "Comes back", "at": "At"}  # fmt: skip
    return known.get(name, name if name[:1].isupper() or "-" in name else name.capitalize())


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval for reading, "" where there is none."""
    return "" if low is None or high is None else f"[{number(low, digits)}, {number(high, digits)}]"


def plural(count: int, word: str) -> str:
    """ "1 image", "3 images"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def headline(recalls: Recalls, verdicts: Sequence[Mapping[str, Any]], config: StudyConfig) -> str:
    """The finding in one sentence. It turns on the claims whose bars stand in `studies`.

    Where before or R0 is missing, or where the targets did not come back even before unlearning, the
    sentence says that nothing can be told.
    """
    holds = {verdict["name"]: verdict["holds"] for verdict in verdicts}
    if "similar-samples-keep-it" not in holds:
        return said(verdicts)
    before, after = (recalls.targets.get(("with", stage)) for stage in ("before", "R0"))
    if before is None or after is None:
        return (
            "This run cannot say whether forgotten images still come back: the stages before and R0, "
            "with similar images in training, were not both finished."
        )
    images = "the image" if after.n == 1 else f"the {after.n} images"
    values = f"NCC {number(after.mean)}, before {number(before.mean)}"
    if not _mostly_back(recalls, "before"):
        return (
            f"This run cannot show forgetting: even before unlearning the model gives back {images} to forget "
            f"no better than images it never saw (NCC {number(before.mean)}{_never(recalls, 'before')})."
        )
    if not holds.get("similar-samples-keep-it"):
        most = _mostly_back(recalls, "R0")
        verb = "gives back less of" if most else "no longer gives back"
        copies = _copies(config)
        although = f", although {copies}" if copies else ""
        return (
            f"Retrained from scratch without {_them(after.n)}, the model {verb} {images} it was asked to "
            f"forget ({values}{_never(recalls, 'R0')}){although}."
        )
    start = (
        f"Retrained from scratch without {_them(after.n)}, the model still gives back {_how_many(recalls, images)} "
        f"it was asked to forget ({values}{'' if _widest(recalls, config) else _never(recalls, 'R0')})"
    )
    return f"{start}{_reason(recalls, holds, config)}{_mending(recalls, verdicts, config)}."


def deck(verdicts: Sequence[Mapping[str, Any]], targets: int, seeds: int, noun: str) -> str:
    """How much evidence stands behind the headline. seeds: how many were finished. noun: what a target is."""
    judged = [verdict for verdict in verdicts if verdict["holds"] is not None]
    size = f"{plural(targets, noun)} to forget, {plural(seeds, 'seed')}."
    if seeds > 1:
        size = f"{plural(targets, noun)} to forget in each of {seeds} seeds."
    if not verdicts:
        return size
    if not judged:
        return f"{size} None of the {len(verdicts)} claims could be tested."
    held = [verdict for verdict in judged if verdict["holds"]]
    clear = sum(bool(verdict["clear"]) for verdict in held)
    tested = "" if len(judged) == len(verdicts) else f" ({len(verdicts) - len(judged)} could not be tested)"
    whole = f", {clear} of them with the whole 95 % interval" if held else ""
    return f"{size} {len(held)} of {len(judged)} claims hold on average{tested}{whole}."


def limits(recalls: Recalls, config: StudyConfig, classes: int) -> tuple[str, ...]:
    """What the report does not show, as plain sentences."""
    size = config.data.per_class * classes
    over = (
        f"One seed: the intervals are over {plural(config.data.targets, 'target')} only, and say nothing "
        "about another draw of targets or another training run."
        if config.seeds == 1
        else f"{config.seeds} seeds: the intervals are over the seeds' means, each of "
        f"{plural(config.data.targets, 'target')}."
    )
    made = "in the ways shown" if config.variants else config.data.made
    found = []
    if "recall" in config.measure:
        found.append("Not recovered is not proof of absence. One attack was tried; others may recover more.")
    if "outputs" in config.measure:
        found.append(
            "A metric near that of R0 is no certificate: where similar images are in training, the model before can "
            "be near R0 in every column too. Read each beside before, R0 and R1."
        )
    found.append(
        "R0 and R1 answer different questions. R0, retrained without the targets, is the right outcome by "
        "the standard definition of unlearning. R1, retrained without their similar images too, shows what "
        "is left when nothing of the image is in training. That R0 still gives an image back is not a "
        "failure to delete it, but it is what a person who asked for deletion would see."
    )
    if "recall" in config.measure and classes:
        found.append(
            f"NCC is that of the best of {size} reconstructed candidates, so chance alone lifts it well above 0. "
            "Read it only beside the never-seen images."
        )
    below = [
        stage
        for (training, stage), point in recalls.targets.items()
        if training == "with" and point.mean < recalls.null.get((training, stage), -1.0)
    ]
    if below:
        found.append(
            f"In {', '.join(below)} the targets come back less well than never-seen images. That is not "
            "forgetting better: a value that stands out is itself a difference that someone could use."
        )
    found += [
        f"Only one kind of model was trained: {network(config.model)}, {training(config.train)}. "
        "Other architectures, sizes and training may behave otherwise.",
        f"The training set is small: {size} images, {config.data.per_class} a class. Larger sets may be harder "
        "to reconstruct from.",
        "The similar images are natural near-duplicates, found in the data."
        if config.data.transform == "family"
        else f"The similar images are made from the targets ({made}). Natural near-copies may differ.",
        over,
        f"Test accuracy is over {config.data.test} images a seed; read its differences beside its interval.",
    ]
    return tuple(found)


def network(model: ModelConfig) -> str:
    """A kind of network and its size, in words."""
    if isinstance(model, MLPConfig):
        return f"ReLU layers of {_and(model.hidden)} units"
    if isinstance(model, CNNConfig):
        return f"a CNN with convolutions of {_and(model.channels)} channels"
    return f"ResNet-18 of width {model.width}"


def training(train: TrainConfig) -> str:
    """How long a model was trained, and on what at once, in words."""
    words = f"{train.steps} " + (f"passes in batches of {train.batch}" if train.batch else "full-batch steps")
    if train.sisa:
        words += f", in {plural(train.sisa.shards, 'shard')} of {plural(train.sisa.slices, 'slice')}"
    return words


def said(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """The outcomes of a study's own claims, as sentences with their numbers."""
    judged = [verdict for verdict in verdicts if verdict["holds"] is not None]
    if not judged:
        return "This run cannot say anything yet: none of its claims could be tested."
    return " ".join(f"{verdict['sentence']} ({verdict['quantity']}: {number(verdict['mean'])})." for verdict in judged)


def _mostly_back(recalls: Recalls, stage: str) -> bool:
    count, total = recalls.back.get(("with", stage), (0, 0))
    return 2 * count > total


def _how_many(recalls: Recalls, images: str) -> str:
    """All of the images, or how many of them come back from R0."""
    count, total = recalls.back.get(("with", "R0"), (0, 0))
    return images if count == total else f"{count} of {images}"


def _and(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _never(recalls: Recalls, stage: str) -> str:
    null = recalls.null.get(("with", stage))
    return "" if null is None else f"; never-seen images of the class reach {number(null)}"


def _copies(config: StudyConfig) -> str:
    count = config.data.similar
    if count == 0:
        return ""
    whose = "it" if config.data.targets * config.seeds == 1 else "each"
    return f"{count} near-{'copy' if count == 1 else 'copies'} of {whose} stayed in training"


def _reason(recalls: Recalls, holds: Mapping[str, Any], config: StudyConfig) -> str:
    copies, judged = _copies(config), holds.get("they-are-the-reason")
    if not copies:
        return ", with no near-copies in training"
    if judged:
        return f", because {copies}"
    gone = recalls.targets.get(("with", "R1"))
    if judged is None or gone is None:
        return f", while {copies}"
    return f", while {copies}; retraining without those too does not clearly change it ({number(gone.mean)})"


def _widest(recalls: Recalls, config: StudyConfig) -> str:
    """The widest stage that was run, by retraining where there is one: it is what widening can do at best."""
    widened = [name for name in config.stages if parse(name).is_widened_by_ssim]
    done = [name for name in widened if ("with", name) in recalls.targets]
    return max(done, key=widest_first, default="")


def _mending(recalls: Recalls, verdicts: Sequence[Mapping[str, Any]], config: StudyConfig) -> str:
    stage = _widest(recalls, config)
    if not stage:
        return ""
    value = number(recalls.targets["with", stage].mean)
    numbers = f"({value}{_never(recalls, stage)})"
    judged = [v["holds"] for v in verdicts if v["name"] == "five-mend-it" and v["quantity"].endswith(stage)]
    k = parse(stage).k
    same = "its" if recalls.targets["with", stage].n == 1 else "their"
    if k is not None:
        doing = f"forgetting {same} {k} most similar images as well"
    else:
        doing = f"forgetting every similar image that {stage} finds as well"
    if not judged or judged[0] is None:
        never = _never(recalls, stage).removeprefix("; ")
        return f"; {doing} leaves NCC {value}" + (f" ({never})" if never else "")
    if not judged[0]:
        return f"; {doing} does not clearly mend it {numbers}"
    return f"; {doing} {'removes only part of it' if _mostly_back(recalls, stage) else 'mends it'} {numbers}"
