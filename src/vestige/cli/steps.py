"""The verbs that do a study step by step, in one run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vestige.cli.options import Config, Device, Dry, Fresh, ImageData, Json, Limit, Out, Seed, Sets, Training, Workers
from vestige.cli.shared import arm_of, report_failures, show_plan
from vestige.terminal import show_record, show_results

if TYPE_CHECKING:
    from vestige.experiment import Laboratory
    from vestige.language import TextLaboratory
    from vestige.types import Run


def data_build(
    out: Out = Path("runs/steps"),
    data: ImageData = None,
    seed: Seed = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Build a similarity-entailed data set of images: both training arms, a manifest and a data card."""
    laboratory = _step(out, config, sets, data=data, seed=seed, device=device, fresh=fresh, dry_run=dry_run, json=json)
    if laboratory is None:
        return
    from vestige.executor import say

    first = laboratory.config.seed
    samples, split = laboratory.data(first, say)
    name = laboratory.data_name(first)
    show_record(
        {
            "folder": str(laboratory.store.folder("data", name)),
            "fingerprint": name,
            "samples": len(samples),
            "training_size": len(split.training("with")),
            "target": list(split.target),
            "similar": len(split.all_similar()),
            "held_out": len(split.all_held_out()),
            "never_seen": len(split.never_seen),
            "test": len(split.test),
        },
        json,
    )


def train(
    training: Training = "with",
    out: Out = Path("runs/steps"),
    data: ImageData = None,
    seed: Seed = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Train the model before unlearning, on one arm of the data set."""
    laboratory = _step(out, config, sets, data=data, seed=seed, device=device, fresh=fresh, dry_run=dry_run, json=json)
    if laboratory is not None:
        _model(laboratory, training, "before", json)


def unlearn(
    method: Annotated[str, typer.Option("--method", help="retrain, relabel; or a stage: R0, R1, RF-1+5.")] = "retrain",
    k: Annotated[int | None, typer.Option("--k", min=0, help="Forget the k most similar samples (SSIM) too.")] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="Forget all samples with SSIM ≥ tau too.")] = None,
    residual: Annotated[
        float | None,
        typer.Option("--residual", help="Forget as few similar samples as should leave this (0: as R1, 1: as R0)."),
    ] = None,
    weight: Annotated[
        float | None, typer.Option("--weight", help="Keep these samples in training at this weight instead (0 to 1).")
    ] = None,
    training: Training = "with",
    out: Out = Path("runs/steps"),
    data: ImageData = None,
    seed: Seed = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Make a model forget the targets, and with --k, --tau or --residual their most similar samples as well."""
    from vestige.experiment import check
    from vestige.types import InputError

    widened = [
        f"{kind}{value:g}"
        for kind, value in (("-1+", k), ("-tau", tau), ("-auto", residual), ("@", weight))
        if value is not None
    ]
    if len(widened) > 1 + (weight is not None):
        raise InputError("give --k, --tau or --residual, not several")
    stage = method + "".join(widened)
    check(stage)
    laboratory = _step(out, config, sets, data=data, seed=seed, device=device, fresh=fresh, dry_run=dry_run, json=json)
    if laboratory is not None:
        _model(laboratory, training, stage, json)


def verify(
    training: Annotated[str | None, typer.Option("--training", help="Only this arm.")] = None,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Only these stages, as R0, relabel, RF-1+5.")
    ] = None,
    out: Out = Path("runs/steps"),
    data: ImageData = None,
    seed: Seed = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    limit: Limit = None,
    workers: Workers = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Reconstruct from the models of a run folder and print the recall of every group beside its null.

    Without --stage: every model that stands there. With it, models that are missing are made first.
    """
    laboratory = _step(
        out, config, sets, data=data, seed=seed, device=device, fresh=fresh, dry_run=dry_run, json=json, recall=True
    )
    if laboratory is None:
        return
    from vestige import collect, studies
    from vestige.types import InputError

    runs = tuple(_runs(laboratory, training, stage))[:limit]
    if not runs:
        raise InputError(f"{out} holds no model to verify; run vestige train or unlearn first, or name a --stage")
    failures = studies.carry_out(laboratory, runs, workers=workers)
    measures, _ = collect.take(laboratory, runs)
    rows = collect.rows(measures, laboratory.config.stages)
    if json:
        complete = limit is None and not failures
        show_record({"comparable": complete, "rows": rows, "missing": collect.missing(measures)}, json)
    else:
        show_results(rows, collect.times(laboratory, runs))
    report_failures([(run.label, why) for run, why in failures])


def influence(
    training: Annotated[str | None, typer.Option("--training", help="Only this arm.")] = None,
    stage: Annotated[list[str] | None, typer.Option("--stage", help="Only these stages, as R0.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--ids", metavar="ID", help="These samples instead of the targets; repeat it.")
    ] = None,
    residual: Annotated[
        float | None,
        typer.Option("--residual", min=0, max=1, help="Say how few similar samples to forget for it (0: R1, 1: R0)."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="exact (MLP only, its default), representer (last layer; else), or gradient."),
    ] = None,
    as_trained: Annotated[
        bool, typer.Option("--as-trained", help="Representers of the last layer as it is, not refitted.")
    ] = False,
    out: Out = Path("runs/steps"),
    data: ImageData = None,
    seed: Seed = None,
    config: Config = None,
    sets: Sets = None,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Say which training samples carry the targets' margins in the models of a run folder.

    Without --stage: every model that stands there. With it, models that are missing are made first.
    """
    given = config or sets or data is not None or seed is not None or dry_run
    language = None if given else _language(out)
    if language is not None:
        _influence_of_language(language, training, stage, ids, by, residual is not None or as_trained, json)
        return
    laboratory = _step(out, config, sets, data=data, seed=seed, fresh=False, dry_run=dry_run, json=json)
    if laboratory is None:
        return
    from vestige.executor import one_thread, say
    from vestige.influence import way
    from vestige.terminal import show_influence
    from vestige.types import InputError

    how = way(by, laboratory.config.model, laboratory.config.train.sisa is not None, residual)
    if as_trained and how != "representer":
        raise InputError(f"--as-trained is used by --by representer; here it is {how}")
    runs = _runs(laboratory, training, stage)
    if not runs:
        raise InputError(f"{out} holds no model to look into; run vestige train or unlearn first, or name a --stage")
    one_thread()
    found = [
        record for run in runs for record in laboratory.look_into(run, ids, say, residual, by=how, refit=not as_trained)
    ]
    if json:
        show_record({"shares": found}, json)
    else:
        show_influence(found)


def _language(out: Path) -> TextLaboratory | None:
    """The laboratory in the run folder of a language study; None for other folders."""
    from vestige import store
    from vestige.config import TextStudyConfig

    if not (out / store.MARKER).is_file():
        return None
    settings = store.open_existing(out)[1]
    if not isinstance(settings, TextStudyConfig):
        return None
    from vestige.language import open_laboratory

    return open_laboratory(settings, out)


def _influence_of_language(
    laboratory: TextLaboratory,
    training: str | None,
    stage: list[str] | None,
    ids: list[str] | None,
    by: str | None,
    other: bool,
    json: bool,
) -> None:
    """other: whether something was asked for that only networks of images are told of."""
    from vestige.executor import one_thread, say
    from vestige.terminal import show_influence
    from vestige.types import InputError

    if other or by not in (None, "gradient", "representer"):
        raise InputError(
            "of a language model influence tells --by gradient or --by representer (its head, refitted); leave out "
            "--residual and --as-trained"
        )
    stages, arms = stage or ["before"], [arm_of(training)] if training else laboratory.config.training
    runs = [run for run in laboratory.plan() if run.stage in stages and run.training in arms]
    if not runs:
        raise InputError(
            f"the study in {laboratory.store.root} has no run of {', '.join(stages)}; its stages: "
            f"{', '.join(laboratory.config.stages)}"
        )
    one_thread()
    how: Literal["gradient", "representer"] = "representer" if by == "representer" else "gradient"
    found = [record for run in runs for record in laboratory.look_into(run, ids, say, by=how)]
    if json:
        show_record({"shares": found}, json)
    else:
        show_influence(found)


def _step(
    out: Path,
    config: Path | None,
    sets: list[str] | None,
    *,
    fresh: bool,
    dry_run: bool,
    json: bool,
    recall: bool = False,
    **flags: Any,
) -> Laboratory | None:
    """The laboratory in a run folder: by its own configuration when none is given. None after a dry run.

    recall: whether reconstruction will be asked for, where the study measures recall.
    """
    from vestige import store, studies

    if (out / store.MARKER).is_file() and not (config or sets or fresh or any(v is not None for v in flags.values())):
        settings = store.open_images(out)[1]
    else:
        settings = studies.configure("image-target", None, config, sets, **flags)
    if dry_run:
        show_plan(settings, out, json, recall=recall)
        return None
    return studies.open_laboratory(settings, out, fresh=fresh, recall=recall)


def _model(laboratory: Laboratory, training: str, stage: str, json: bool) -> None:
    from vestige.executor import one_thread, say
    from vestige.experiment import check, check_method
    from vestige.types import Run
    from vestige.verify import DIVERGED, has_diverged, of_accuracy

    one_thread()
    check_method(laboratory.config, check(stage))
    run = Run(laboratory.config.seed, arm_of(training), stage)
    laboratory.data(run.seed, say)
    laboratory.check_room([run])
    laboratory.model(run, say)
    name = laboratory.model_name(run)
    facts = laboratory.store.load("models", name).facts
    show_record(
        {
            "folder": str(laboratory.store.folder("models", name)),
            "fingerprint": name,
            "training": training,
            "stage": stage,
            "trained_on": len(facts["trained_on"]),
            "removed": facts["removed"],
            **{one.metric: one.value for one in of_accuracy(facts)},
        },
        json,
    )
    if has_diverged(facts):
        say(f"{stage}: {DIVERGED}; lower its rate or its steps, as with --set train.lr=…")


def _runs(laboratory: Laboratory, training: str | None, stages: list[str] | None) -> list[Run]:
    from vestige.experiment import check, check_method
    from vestige.types import Run

    for stage in stages or ():
        check_method(laboratory.config, check(stage))
    arms = (arm_of(training),) if training else laboratory.config.training
    if stages:
        return [Run(laboratory.config.seed, arm, stage) for stage in stages for arm in arms]
    return [
        Run(facts["seed"], facts["training"], facts["stage"], facts["variant"])
        for facts in laboratory.store.facts("models")
        if facts["training"] in arms
    ]
