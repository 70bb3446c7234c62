"""The verbs of a deletion request: audit, audit init, audit check, audit rollback."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vestige.audit import STEPS
from vestige.cli.options import Json
from vestige.terminal import show_audit, show_audit_plan, show_audit_step, show_record

AuditFolder = Annotated[
    Path, typer.Option("--out", help="The audit's folder: its requests one after the other, a log.")
]


class Requests(TyperGroup):
    """`vestige audit REQUEST` is `vestige audit run REQUEST`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


audit_app = typer.Typer(
    cls=Requests,
    no_args_is_help=True,
    help="From a deletion request to a report: vestige audit REQUEST.yaml (find, foresee, forget, verify, gate).",
)


@audit_app.command("run")
def run(
    request: Annotated[Path, typer.Argument(help="The request, YAML or JSON; see: vestige audit init.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done and what it costs; change nothing.")
    ] = False,
    until: Annotated[
        str, typer.Option("--until", metavar="STEP", help=f"Stop after one of {', '.join(STEPS)}.")
    ] = "report",
    out: AuditFolder = Path("runs/audit"),
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, help="Models for comparison trained at once; each process holds the data."),
    ] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Wait while another audit is at work in the folder.")] = False,
    json: Json = False,
) -> None:
    """Carry out a request; the same command again resumes. Exit status: 0 the gate holds, 100 not, 4 cannot tell."""
    from vestige.executor import one_thread
    from vestige.types import InputError

    if until not in STEPS:
        raise InputError(f"--until {until}: the steps are {', '.join(STEPS)}")
    one_thread()
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no part of the result
        record, place = _carried_out(request, out, plan=plan, until=until, workers=workers, wait=wait)
    if json:
        show_record(record, json)
    elif plan:
        show_audit_plan(record)
    elif until != "report":
        show_audit_step(record)
    else:
        show_audit(record, place)
    if not plan and until == "report" and record["gate"]["status"]:
        raise typer.Exit(record["gate"]["status"])


def _carried_out(
    request: Path, out: Path, *, plan: bool, until: str, workers: int, wait: bool
) -> tuple[dict[str, Any], Path]:
    """What there is to show, and the folder that it lies in."""
    from vestige.audit import conduct
    from vestige.audit.request import read
    from vestige.executor import say
    from vestige.report import audit as page

    written = read(request)
    if plan:
        return conduct.plan(written, out, say), out
    with conduct.opened(written, out, wait=wait) as one:
        place = one.audit.store.root
        found = page.write_found(place, one.audit.shown(say))
        say(f"side by side: {found}")
        if until in ("verify", "report"):
            conduct.side_by_side(one.audit, workers, say)
        if until != "report":
            return {"step": until, "folder": str(place), **conduct.until(one.audit, until, say)}, place
        record = conduct.conclude(one, say)
        page.write(place)
        return record, place


@audit_app.command("init")
def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("request.yaml"),
    modality: Annotated[str, typer.Option("--modality", metavar="image|text", help="Of the model.")] = "image",
) -> None:
    """Write a commented example that runs as it is."""
    from vestige.audit.request import write_example

    print(f"{write_example(file, modality)}\nnow: vestige audit {file} --plan")


@audit_app.command("check")
def check(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="The result.json of a request.")],
    json: Json = False,
) -> None:
    """Compute a report again from what is stored: hashes, evidence, verdicts, gate. Exit status 100 if it differs."""
    from vestige.audit.check import check as compare

    differences = compare(report)
    if json:
        show_record({"report": str(report), "differences": differences}, json)
    else:
        print("\n".join(differences) or "the report is what follows from the stored evidence; every hash agrees")
    if differences:
        raise typer.Exit(100)


@audit_app.command("rollback")
def rollback(
    folder: Annotated[Path, typer.Argument(help="The audit's folder.")] = Path("runs/audit"),
    to: Annotated[
        int | None, typer.Option("--to", min=0, help="The last request that shall count; 0: none \\[all but the last].")
    ] = None,
    json: Json = False,
) -> None:
    """Let the last request not count: the next one starts from the model before it. Nothing is removed from disk."""
    from vestige.audit import folder as audits
    from vestige.types import InputError

    if not audits.entries(folder):
        raise InputError(f"{folder} is not the folder of an audit: it has no {audits.LOG}")
    with audits.locked(folder, wait=False):
        undone = audits.roll_back(folder, to)
        left = [one.number for one in audits.active(folder)]
    show_record({"rolled_back": [one.number for one in undone], "counting": left}, json)
