"""The verbs that carry out a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vestige.cli.options import Config, Data, Device, Dry, Fresh, Json, Limit, Out, Reuse, Seed, Seeds, Sets, Workers
from vestige.cli.shared import report_failures, show_plan
from vestige.terminal import show_results, show_verdict

if TYPE_CHECKING:
    from vestige.config import StudyConfig


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
        show_plan(settings, out, json)
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
    report_failures(studies.failures(laboratory))
