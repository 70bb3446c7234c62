"""The verbs about how hard samples are to unlearn: difficulty, difficulty predict, difficulty join."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestige.cli.options import Config, Device, Dry, Fresh, Json, Limit, Seed, Seeds, Sets, Workers
from vestige.cli.shared import report_failures
from vestige.terminal import show_difficulty, show_expected, show_record

if TYPE_CHECKING:
    from vestige.config import DifficultyConfig

LabelledData = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME|FILE|FOLDER",
        help="Images: as everywhere. Texts with labels: reviews, IMDb's folder, .csv, .jsonl.",
    ),
]  # fmt: skip
ModelKind = Annotated[
    str | None, typer.Option("--model", help="Of images: cnn, mlp, resnet18; of labelled texts: words.")
]


def difficulty(
    context: typer.Context,
    data: LabelledData = None,
    model: ModelKind = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Samples to unlearn, one at a time.")] = None,
    algorithms: Annotated[
        str | None,
        typer.Option(
            "--algorithms", metavar="A,B", help="Of EU: retrain, FT: finetune, SISA, GA, NegGrad+, relabel, SCRUB, SSD."
        ),
    ] = None,
    seeds: Seeds = None,
    seed: Seed = None,
    executor: Annotated[str, typer.Option("--executor", help="local: worker processes; ray.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", metavar="HOST:PORT", help="Of a Ray cluster \\[one started here].")
    ] = None,
    workers: Workers = None,
    device: Device = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run folder \\[runs/difficulty-DATA-MODEL].")] = None,
    config: Config = None,
    sets: Sets = None,
    limit: Limit = None,
    fresh: Fresh = False,
    dry_run: Dry = False,
    json: Json = False,
) -> None:
    """Measure how hard each sample is to unlearn, what goes with that, and whether it can be told before.

    Then: vestige difficulty predict FOLDER.
    """
    if context.invoked_subcommand is not None:
        return
    from vestige.difficulty.laboratory import open_laboratory
    from vestige.difficulty.study import conduct, configure, failures
    from vestige.executor import check_address
    from vestige.report.difficulty import write_page

    kind = _executor(executor, ray_address)
    settings = configure(
        config, sets, data=data, model=model, samples=samples, algorithms=_names(algorithms), seed=seed, seeds=seeds,
        device=device,
    )  # fmt: skip
    folder = out or Path("runs") / f"difficulty-{Path(settings.data.source).stem}-{settings.model.kind}"
    if dry_run:
        _show_plan(settings, folder, json)
        return
    if kind == "ray":
        check_address(ray_address)
    laboratory = open_laboratory(settings, folder, fresh=fresh)
    record = conduct(laboratory, executor=kind, ray_address=ray_address, workers=workers, limit=limit)
    page = write_page(folder)
    if json:
        from vestige.store import to_json

        sys.stdout.write(to_json(record))
    else:
        show_difficulty(record)
        print(f"\nReport: {page}")
    report_failures(failures(laboratory))


def predict(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The run folder of a finished difficulty study.")],
    ids: Annotated[str | None, typer.Option("--ids", metavar="A,B", help="Which samples, as mnist/12,mnist/7.")] = None,
    ids_file: Annotated[Path | None, typer.Option("--ids-file", help="Their ids, one a line.")] = None,
    data: LabelledData = None,
    model: ModelKind = None,
    json: Json = False,
) -> None:
    """Tell before any unlearning which samples will be hard, beside how well that was told in the study.

    With --data or --model: for another data set or kind of network, of which one model is trained.
    """
    from vestige.difficulty.expect import expected
    from vestige.executor import one_thread, say
    from vestige.find import read_ids

    one_thread()
    record = expected(folder, read_ids(ids, ids_file), data=data, model=model, say=say)
    if json:
        show_record(record, json)
    else:
        show_expected(record)


def join(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN …", help="Run folders of finished difficulty studies, or result.json."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder of what is found.")] = Path("runs/difficulty-joined"),
    json: Json = False,
) -> None:
    """Judge studies of several data sets or models together.

    Which factors hold over all of them, and whether difficulty is told on a data set never seen.
    """
    from vestige.difficulty.join import join as joined
    from vestige.report.difficulty import write_page

    record = joined(sources, out)
    page = write_page(out)
    if json:
        show_record(record, json)
    else:
        show_difficulty(record)
        print(f"\nReport: {page}")


def _executor(name: str, address: str | None) -> Any:
    from vestige.types import InputError

    if name not in ("local", "ray"):
        raise InputError(f"--executor is local or ray, got {name!r}")
    if name == "local" and address is not None:
        raise InputError("--ray-address belongs to --executor ray")
    return name


def _names(text: str | None) -> list[str] | None:
    """The algorithms in a list "A,B". Raises InputError for one that there is not."""
    from typing import get_args

    from vestige.config.difficulty import Algorithm
    from vestige.types import InputError

    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    known = get_args(Algorithm)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"--algorithms: there is no {unknown[0]!r}; known: {', '.join(known)}")
    return names


def _show_plan(settings: DifficultyConfig, out: Path, json: bool) -> None:
    from vestige import assets
    from vestige.config import to_yaml

    asset = assets.locate(settings.data.source)
    seeds, algorithms = settings.seeds, len(settings.algorithms)
    copied = dict.fromkeys(settings.doses, settings.dosed * algorithms * seeds)
    runs = {0: settings.samples * algorithms * seeds} | copied
    if json:
        plan = {"config": settings.model_dump(mode="json"), "out": str(out), "runs": sum(runs.values())}
        show_record(plan, json)
        return
    print(to_yaml(settings), end="")
    print(f"# data: {asset.files[0]}\n# would write to {out}: {sum(runs.values())} runs")
    for dose, count in runs.items():
        print(f"#   {count} with {dose} constructed similar samples")
