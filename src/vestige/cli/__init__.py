"""The command line: thin verbs over the rooms.

Standard output holds the result only; progress and errors go to standard error. Exit status: 0 fine,
1 internal error, 2 usage, configuration or input, 3 a package or asset is missing, 4 partial or cannot
tell, 100 a gate does not hold, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from vestige.cli.auditing import audit_app
from vestige.cli.difficulty import difficulty, join, predict
from vestige.cli.looking import doctor, report
from vestige.cli.paraphrasing import data_paraphrase
from vestige.cli.search import data_analyse, data_duplicates, similar
from vestige.cli.steps import data_build, influence, train, unlearn, verify
from vestige.cli.studies import quickstart, study
from vestige.cli.tuning import tune
from vestige.cli.utility import utility
from vestige.cli.viewing import view

__all__ = ["main"]

VERBS: tuple[Callable[..., None], ...] = (
    quickstart,
    study,
    similar,
    train,
    unlearn,
    tune,
    verify,
    influence,
    utility,
    report,
    view,
    doctor,
)
DATA_VERBS: dict[str, Callable[..., None]] = {
    "build": data_build,
    "analyse": data_analyse,
    "duplicates": data_duplicates,
    "paraphrase": data_paraphrase,
}

app = typer.Typer(
    name="vestige",
    help="Find, measure and remove what similar samples leave behind when a model is asked to forget.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    no_args_is_help=True, help="Build similarity-entailed data sets, analyse them; find near-duplicates; paraphrase."
)
app.add_typer(data_app, name="data")
difficulty_app = typer.Typer(invoke_without_command=True, callback=difficulty)
difficulty_app.command("predict")(predict)
difficulty_app.command("join")(join)
app.add_typer(difficulty_app, name="difficulty")
app.add_typer(audit_app, name="audit")
for verb in VERBS:
    app.command()(verb)
for name, data_verb in DATA_VERBS.items():
    data_app.command(name)(data_verb)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from vestige import __version__

        print(f"vestige {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; the only place where exceptions become exit statuses."""
    import traceback

    from vestige.executor import note_interrupts
    from vestige.types import VestigeError

    note_interrupts()
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
