"""The verbs that carry out a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestige.cli.options import Config, Data, Device, Dry, Fresh, Json, Limit, Reuse, Seed, Seeds, Sets, Workers
from vestige.cli.shared import report_failures, show_plan
from vestige.terminal import show_results, show_text_results, show_verdict

if TYPE_CHECKING:
    from vestige.config import AnyStudyConfig


def quickstart(
    modality: Annotated[
        str, typer.Option("--modality", help="image, or text: minutes, on a real language model.")
    ] = "image",
    out: Annotated[Path | None, typer.Option("--out", help="The run folder \\[runs/quickstart].")] = None,
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
    from vestige import language
    from vestige.studies import configure
    from vestige.types import InputError

    if modality not in ("image", "text"):
        raise InputError(f"--modality is image or text, got {modality!r}")
    flags: dict[str, Any] = {"seed": seed, "data": data, "device": device}
    if modality == "text":
        out = out or Path("runs/quickstart-text")
        settings: AnyStudyConfig = language.configure("quickstart-text", file=config, sets=sets, **flags)
    else:
        out = out or Path("runs/quickstart")
        settings = configure("quickstart", file=config, sets=sets, **flags)
    _study(settings, out, limit=limit, workers=workers, fresh=fresh, dry_run=dry_run, json=json)


def study(
    name: Annotated[
        str,
        typer.Argument(
            help="quickstart, image-target, image-similar, image-enhanced, image-dose, image-methods; "
            "text-target, text-similar, text-heldout, text-methods, text-enhanced, text-enhanced-equal, "
            "text-enhanced-sweep."
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="small; paper: the paper's size; text: paper-3b; image-methods: sharded."),
    ] = None,
    data: Data = None,
    seeds: Seeds = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run folder \\[runs/NAME-PRESET-DATA[-MODEL]].")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME|FOLDER|GGUF", help="Of text studies: the language model.")
    ] = None,
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
    from vestige import language
    from vestige.studies import changed, configure
    from vestige.types import InputError

    flags: dict[str, Any] = {"seeds": seeds, "seed": seed, "data": data, "device": device}
    settings: AnyStudyConfig
    if name in language.STUDIES:
        settings = language.configure(name, preset, config, sets, model=model, **flags)
    elif model is not None:
        raise InputError(f"--model names a language model, and {name} is about images; choose --set model.kind=cnn")
    else:
        settings = configure(name, preset, config, sets, **flags)
    folder = out or Path("runs") / "-".join(
        (name, settings.preset, Path(settings.data.source).stem, *changed(settings))
    )  # fmt: skip
    _study(settings, folder, limit=limit, workers=workers, fresh=fresh, dry_run=dry_run, json=json, reuse=reuse)


def _study(
    settings: AnyStudyConfig,
    out: Path,
    *,
    limit: int | None,
    workers: int | None,
    fresh: bool,
    dry_run: bool,
    json: bool,
    reuse: list[Path] | None = None,
) -> None:
    from vestige import language, studies
    from vestige.config import TextStudyConfig
    from vestige.report import write_report
    from vestige.store import open_existing, read_json

    others = [open_existing(folder)[0] for folder in reuse or ()]
    if dry_run:
        show_plan(settings, out, json)
        return
    about_text = isinstance(settings, TextStudyConfig)
    laboratory: studies.Place
    if isinstance(settings, TextStudyConfig):
        laboratory = language.open_laboratory(settings, out, fresh=fresh)
    else:
        laboratory = studies.open_laboratory(settings, out, fresh=fresh)
    for other in others:
        studies.adopt(laboratory, other)
    sum_up = language.result if about_text else None
    record = studies.conduct(laboratory, workers=workers, limit=limit, sum_up=sum_up)
    page = write_report(out)
    if json:
        from vestige.store import to_json

        sys.stdout.write(to_json(record))
    elif about_text:
        show_text_results(record["rows"])
        print()
        for verdict in record["verdicts"]:
            show_verdict(verdict)
        print(f"\nReport: {page}")
    else:
        show_results(record["rows"], read_json(out / "run.json")["rte"])
        print()
        for verdict in record["verdicts"]:
            show_verdict(verdict)
        for equivalent in record["equivalents"]:
            print(f"    {equivalent['sentence']}")
        print(f"\nReport: {page}")
    report_failures(studies.failures(laboratory))
