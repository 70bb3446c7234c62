"""Reports: a run folder → plain record → figures and the numbers drawn → one page. Needs no torch."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from vestige.report import figures, words
from vestige.report.record import Summary
from vestige.report.summary import summarise
from vestige.store import write_text

__all__ = ["Summary", "page", "summarise", "write_figures", "write_report"]

HERE = Path(__file__).parent


def write_report(root: Path) -> Path:
    """Write `report.html` in a run folder: one file that needs no network. Returns its path.

    Raises InputError for a folder that vestige did not make, or whose files are not what was written.
    """
    path = root / "report.html"
    write_text(path, page(summarise(root)))
    return path


def write_figures(root: Path, folder: Path) -> tuple[Path, Path]:
    """Write a run folder's figures as files of their own, `gallery.svg` and `recall.svg`, into `folder`."""
    summary = summarise(root)
    css = _read("figures.css")
    drawn = [svg for svg, _ in figures.gallery(summary.gallery.blocks)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "gallery.svg", folder / "recall.svg"
    write_text(paths[0], figures.standalone(figures.stack(drawn, summary.gallery), css))
    write_text(paths[1], figures.standalone(figures.recall_chart(summary.chart)[0], css))
    return paths


def page(summary: Summary) -> str:
    """The page of a record. Everything that comes from data is escaped; the only style is the one hashed."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = _read("figures.css") + _read("style.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    drawn = [Markup(svg) for svg, _ in figures.gallery(summary.gallery.blocks)]
    return environment.from_string(_read("page.html.j2")).render(
        page=summary,
        style=Markup(style),
        style_hash=style_hash(style),
        blocks=list(zip(summary.gallery.blocks, drawn, strict=True)),
        recall=Markup(figures.recall_chart(summary.chart)[0]),
        marks={"yes": "yes", "no": "no", "not computed": "none"},
        number=words.number,
        interval=words.interval,
    )


def style_hash(style: str) -> str:
    """The source expression by which a content security policy admits exactly this style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
