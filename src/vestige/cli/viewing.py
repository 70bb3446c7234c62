"""The verb that shows all runs of a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vestige.cli.options import Json
from vestige.terminal import show_record


def view(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the runs are.")] = Path("runs"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="On 127.0.0.1; 0: a free one.")] = 0,
    browser: Annotated[
        bool | None, typer.Option("--open/--no-browser", help="Open a browser \\[where there is a terminal].")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write the pages there instead of serving them.")
    ] = None,
    json: Json = False,
) -> None:
    """All runs of a folder as pages on this machine: a table, each run, each sample, two runs side by side."""
    from vestige import view as viewing
    from vestige.executor import say
    from vestige.view import server

    if export is not None:
        count = viewing.export(folder, export, say=say)
        show_record({"written": str(export / "index.html"), "files": count}, json)
        return
    server.check_installed()
    site = viewing.Site(folder)
    runs = len(site.index.runs())
    at = server.bind(port)
    address = f"http://{server.HOST}:{at.getsockname()[1]}/"

    def ready() -> None:
        import webbrowser

        show_record({"page": address, "runs": runs}, json)
        sys.stdout.flush()
        say("Ctrl-C ends it")
        if browser or (browser is None and sys.stdout.isatty()):
            webbrowser.open(address)

    viewing.serve(site, at, ready)
