"""The picture of the house holds: imports follow the arrows, the README's tree is the tree, its commands exist."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from vestige.cli import app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "vestige"


def arrows():
    """Room → rank, as drawn in docs/design.md: `types → config → …`, rooms that stand side by side by `|` or `,`."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("types → "))
    ranks = {}
    for rank, step in enumerate(line.split("→")):
        for place, room in enumerate(re.split(r"[|,]", step)):
            ranks[room.strip()] = (rank, place if "," in step else 0)
    return ranks


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path):
    """The rooms that a file imports, wherever in the file; type checking alone does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.module == "vestige":
            names = [f"vestige.{alias.name}" for alias in node.names]
        else:
            names = [node.module or ""]
        for name in names:
            if name.startswith("vestige."):
                yield name.split(".")[1]


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path):
    ranks, room = arrows(), room_of(path)
    if path == PACKAGE / "__init__.py":
        assert not list(imported(path))
        return
    assert room in ranks, f"{room} is not in the picture in docs/design.md"
    for other in imported(path):
        if other in ("__version__", room):
            continue
        assert other in ranks, f"{other} is not in the picture in docs/design.md"
        assert ranks[other] < ranks[room], f"{path.name} imports {other}, which lies after {room}"


def test_the_readme_shows_the_tree():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split("<!-- tree -->")[1]
    shown = set(re.findall(r"[\w.]+\.(?:py|j2|css|js)\b", block))
    there = {path.name for path in PACKAGE.rglob("*") if path.suffix in (".py", ".j2", ".css", ".js")}
    there -= {"__init__.py", "__main__.py"}
    assert shown - {"__init__.py"} == there


def test_every_method_and_metric_has_a_card():
    from vestige.analysis import MEASURES
    from vestige.difficulty.factors import FACTORS
    from vestige.unlearn import LANGUAGE_METHODS, METHODS
    from vestige.verify import METRICS

    cards = set(re.findall(r"^### `([^`]+)`", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.M))
    assert set(METHODS) | set(LANGUAGE_METHODS) | set(METRICS) | set(MEASURES) | set(FACTORS) <= cards


def test_every_command_of_the_docs_is_one():
    root = typer.main.get_command(app)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    shown = [
        line for page in pages for line in page.read_text(encoding="utf-8").split("\n") if line.startswith("vestige ")
    ]
    assert len(shown) > 50
    for line in shown:
        command, words = root, shlex.split(line, comments=True)[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        command = getattr(command, "commands", {}).get("run", command)  # an audit needs no verb
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options | {"--help"}, line
