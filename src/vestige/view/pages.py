"""Pages as text: the table of all runs, a run, a sample, two runs. All that comes from data is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vestige import __version__, report
from vestige.report import words
from vestige.report.record import Listing, Section
from vestige.store import MARKER, read_json
from vestige.types import InputError
from vestige.view.compare import Comparison
from vestige.view.downloads import FORMATS
from vestige.view.index import NUMBERS, RECALL, Listed
from vestige.view.samples import Sample

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATUS = {
    "complete": "all of the plan was run",
    "partial": "some of the plan was not run, or failed",
    "running": "a step ended within the last ten minutes",
    "stopped": "no result yet, and no step ended within the last ten minutes",
    "unreadable": "the folder does not hold what vestige writes",
}
"""What each status means."""
MOST = 200
"""Rows of a table that are drawn at once; its script draws the rest when asked. Without scripts all are."""


def overview(runs: Sequence[Listed], folder: str, *, pairs: Sequence[tuple[str, str]] | None) -> str:
    """The table of all runs. pairs: the comparisons that exist, of a written copy; None where all can be asked for."""
    return _render(
        "overview.html.j2",
        runs=runs,
        folder=folder,
        studies=sorted({one.study for one in runs if one.study}),
        states=[status for status in STATUS if any(one.status == status for one in runs)],
        meaning=STATUS,
        pairs=None if pairs is None else " ".join(f"{a}-{b}" for a, b in pairs),
        stages=NUMBERS,
        metrics={modality: short for modality, (_, short) in RECALL.items()},
    )


def comparison(found: Comparison) -> str:
    """Two runs side by side."""
    return _render("compare.html.j2", found=found)


def plain(listed: Listed, why: str) -> report.Summary:
    """What can be said of a folder whose report cannot be drawn, and why: its settings, and its result's rows."""
    marker, record, facts = (_readable(listed.root / name) for name in (MARKER, "result.json", "run.json"))
    made = record.get("provenance")
    made = made if isinstance(made, dict) else {}
    found = record.get("rows")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    heads = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(row.get(key) for key in heads) for row in rows)
    known = {**{key: value for key, value in made.items() if isinstance(value, str | int)}, "path": listed.path,
             "finished": facts.get("finished")}  # fmt: skip
    config = marker.get("config")
    config = config if isinstance(config, dict) else {}
    state = STATUS[listed.status]
    return report.Summary(
        title=listed.name,
        kicker=" · ".join(part for part in (listed.study, listed.data) if part),
        headline=f"This run is {listed.status}: {state}.",
        deck="",
        banners=(why,) if why else (),
        sections=(Section("rows", "Its numbers", listing=Listing(words.plural(len(rows), "row"), heads, cells)),)
        if rows
        else (),
        tidy=(),
        gaps=(),
        missing=(),
        limits=(),
        configuration="\n".join(f"{key}: {value}" for key, value in config.items()),
        provenance=tuple((name, str(value)) for name, value in known.items() if value is not None),
        command=str(made.get("command") or "(not known)"),
        version=str(marker.get("version") or __version__),
    )


def framed(page: str, listed: Listed, samples: Sequence[Sample], *, shown: int | None, rows: bool) -> str:
    """A page of a run below what leads on from it: all runs, its samples, its table as a file.

    shown: the number of the sample that the page is about, None for the run's own page.
    """
    families: dict[str, list[tuple[int, Sample]]] = {}
    for position, sample in enumerate(samples):
        families.setdefault(sample.family, []).append((position, sample))
    trail = _environment().get_template("trail.html.j2").render(
        run=listed, families=families, samples=samples, shown=shown, formats=tuple(FORMATS) if rows else (),
        meaning=STATUS,
    )  # fmt: skip
    found = re.search("<style>(.*?)</style>", page, re.S)
    if found is None:
        raise ValueError("framed needs a page of this package: one with a style")
    style = found[1] + _file("trail.css")
    page = page.replace(report.style_hash(found[1]), report.style_hash(style), 1)
    return page.replace(found[1], style, 1).replace("<body>\n", f"<body>\n{trail}", 1)


def policy(page: str) -> str:
    """The content security policy of a page of this package, as it stands in its head."""
    found = re.search('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    if found is None:
        raise ValueError("policy needs a page of this package: one that states its own")
    return found[1]


def _readable(path: Path) -> Mapping[str, Any]:
    """A file's record; an empty one where it cannot be read."""
    try:
        return read_json(path)
    except InputError:
        return {}


def _render(name: str, **values: Any) -> str:
    from markupsafe import Markup

    style, script = report.css() + _file("trail.css") + _file("view.css"), _file("view.js")
    return (
        _environment()
        .get_template(name)
        .render(
            style=Markup(style), style_hash=report.style_hash(style), version=__version__,
            script=Markup(script), script_hash=report.style_hash(script), most=MOST, **values,
        )
    )  # fmt: skip


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["number"] = words.number
    made.filters["plural"] = words.plural
    return made


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
