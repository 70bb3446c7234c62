"""The verbs that look for what is similar: similar, data analyse, data duplicates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vestige.cli.options import (
    AnswerColumn,
    By,
    Config,
    Data,
    Dry,
    EncoderName,
    Fresh,
    IdColumn,
    Json,
    NeededData,
    QuestionColumn,
    Seed,
    Sets,
)
from vestige.cli.shared import arm_of, command_of, given
from vestige.terminal import show_duplicates, show_measures, show_record, show_similar


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

    from vestige import assets, measures, studies, survey
    from vestige.config import AnalyseConfig

    settings = studies.configure("image-target", preset, config, sets, data=data, seed=seed)
    kind = assets.locate(settings.data.source).modality
    chosen = AnalyseConfig(
        data=settings.data,
        seed=settings.seed,
        encoder=encoder or measures.ENCODERS[kind],
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
    command = command_of(
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


def data_duplicates(
    data: NeededData,
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
    columns = given(question=question, answer=answer, id=id)
    command = command_of(
        "vestige data duplicates", data=data, tau=f"{tau:g}", by=by, encoder=encoder, seed=seed, **columns
    )
    asked = Question(data, by, encoder, None, tau, seed, columns=columns)
    record, contents = duplicates_in(asked, command=command, say=say)
    _show_found(record, contents, out, "duplicates", json)


def similar(
    data: Data = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", help="Instead of --data: a model's run folder, and its data set."),
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
            "--by",
            help="Images: ssim, aligned, embedding, all; with --run influence, all. Text: embedding, lexical, all.",
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
    columns = given(question=question, answer=answer, id=id)
    model = given(training=arm_of(training) if training else None, stage=stage)
    if model and run is None:
        raise InputError(f"--{next(iter(model))} says which model of a run folder; give that with --run FOLDER")
    limit = {"k": k} if tau is None else {"tau": f"{tau:g}"}
    command = command_of(
        "vestige similar", data=data, run=run, **model, ids=ids, ids_file=ids_file, **limit, by=by, encoder=encoder,
        seed=seed, **columns,
    )  # fmt: skip
    learned = Learned(run, **model) if run else None
    asked = Question(data, by, encoder, k, tau, seed, learned, columns)
    record, contents = similar_to(read_ids(ids, ids_file), asked, command=command, say=say)
    _show_found(record, contents, out, "similar", json)


def _check_out(out: Path | None) -> None:
    from vestige.types import InputError

    if out is None:
        return
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"--out {out}: {there} is a file; name a folder")


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
