"""Folders of small runs for the tests of `vestige view`: of images, of texts, and what is no whole run."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

from test_report import STAGES, make_folder
from texts import config_of, make_text_folder
from vestige import store

EVIL = "<script>document.title='owned'</script>"


def make_runs(root: Path) -> Path:
    """An image study whole and one in part, two of texts (one with markup in every text), and what broke."""
    make_folder(root / "images", STAGES, target="never/target", seeds=1, data={"source": "mnist"})
    make_folder(root / "older" / "part", ("before", "R0"), target="never/target", seeds=1, data={"source": "mnist"})
    make_text_folder(root / "texts", config_of(seeds=1))
    make_text_folder(root / f"evil {EVIL.replace('/', '')}", config_of("text-similar"), mark=EVIL)
    make_text_folder(root / "waiting", config_of())
    (root / "waiting" / "result.json").unlink()
    make_text_folder(root / "broken", config_of())
    (root / "broken" / "result.json").write_text('{"rows": [')
    for number, name in enumerate(("images", "older/part", "texts", f"evil {EVIL.replace('/', '')}")):
        facts = root / name / "run.json"
        record = json.loads(facts.read_text()) if facts.exists() else {"failed": [], "rte": []}
        store.write_json(facts, {**record, "finished": f"2026-01-0{number + 1}T12:00:00+0000"})
    settle(root)
    return root


def settle(root: Path) -> None:
    """Make every step look as if it had ended long ago: a run whose steps are fresh counts as running."""
    long_ago = time.time() - 10 * 3600
    for folder in root.rglob("*"):
        if folder.is_dir():
            os.utime(folder, (long_ago, long_ago))


def make_analysis(root: Path) -> Path:
    """The folder of an analysis of texts."""
    from analyses import record

    root.mkdir()
    store.write_json(root / "vestige.json", {"schema_version": 1, "config": {"data": {"source": "facts"}, "seed": 0}})
    store.write_json(root / "result.json", record("text"))
    return root


def copy(root: Path, name: str, other: str) -> Path:
    shutil.copytree(root / name, root / other)
    return root / other
