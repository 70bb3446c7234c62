"""Reports: a run folder → plain record → figures and the numbers drawn → one page. Needs no torch."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vestige.report import figures, svg, words
from vestige.report.record import Summary
from vestige.report.summary import Opened, read, sum_up, summarise
from vestige.store import write_text

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Opened", "Summary", "page", "read", "sum_up", "summarise", "write_figures", "write_report"]

HERE = Path(__file__).parent


def write_report(root: Path) -> Path:
    """Write `report.html` in a run folder: one file that needs no network. Returns its path.

    Raises InputError for a folder that vestige did not make, or whose files are not what was written.
    """
    path = root / "report.html"
    write_text(path, page(summarise(root)))
    return path


def write_figures(root: Path, folder: Path) -> tuple[Path, ...]:
    """Write every figure of a run folder's report into `folder`, each as an SVG file named after it."""
    css = _read("figures.css")
    drawn = {figure.name: figures.to_file(figure, css) for figure in summarise(root).figures if figure.charts}
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{name}.svg" for name in drawn)
    for path, content in zip(paths, drawn.values(), strict=True):
        write_text(path, content)
    return paths


def page(summary: Summary) -> str:
    """The page of a record. Everything that comes from data is escaped; the only style is the one hashed."""
    from markupsafe import Markup

    style = css()
    drawn = {}
    for count, figure in enumerate(summary.figures, 1):
        made = [figures.draw(chart) for chart in figure.charts]
        heads, records = figures.numbers(figure, made)
        drawn[figure.name] = {"count": count, "svgs": [Markup(one) for one, _ in made], "heads": heads,
                              "rows": [[record.get(head) for head in heads] for record in records]}  # fmt: skip
    return _template().render(
        page=summary,
        style=Markup(style),
        style_hash=style_hash(style),
        drawn=drawn,
        marks={"yes": "yes", "no": "no", "not computed": "none"},
        number=words.number,
        gauge=lambda share: Markup(svg.gauge(share)),
        interval=words.interval,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = words.cell
    environment.filters["column"] = words.column
    return environment.from_string(_read("page.html.j2"))


def css() -> str:
    """The style of every page: that of the figures, then that of the text."""
    return _read("figures.css") + _read("style.css")


def style_hash(style: str) -> str:
    """The source expression by which a content security policy admits exactly this style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
