"""How long `vestige view` takes to open a folder of many runs: the index, the page, and the page in a real Chromium.

python benchmarks/view.py            # 2,000 runs whose result.json is as long as that of the quickstart
python benchmarks/view.py --runs 5000 --page docs/results/view.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vestige import store, studies
from vestige.stages import parse
from vestige.verify import METRICS
from vestige.view import Site, serve
from vestige.view.index import Index
from vestige.view.server import HOST, bind

GROUPS = ("target", "similar", "near", "other", "never_seen_same_class", "member", "model")
REPEATS = 5
OPENED = {
    "opened, first": (("index, first", "Chromium: load"), ("index, first", "page", "Chromium: load")),
    "opened again": (("Chromium: load",), ("index again", "page", "Chromium: load")),
}
"""A page that is there, after `vestige view` and on a reload → what adds up by the clock (Chromium waits for index and
page), and of computing."""


def result(study: str, seeds: int, seed: int) -> dict[str, Any]:
    """A result.json with the keys, the rows and the claims of a real one; its numbers are drawn."""
    rng = np.random.default_rng(seed)
    settings = studies.configure(study, seeds=seeds, seed=seed)
    rows = [
        {"variant": "", "training": training, "stage": stage, "group": group, "metric": metric, "mean": mean,
         "low": mean - 0.1, "high": mean + 0.1, "n": 3 * seeds, "seeds": seeds}
        for training in settings.training
        for stage in settings.stages
        if training == "with" or not parse(stage).needs_similar
        for group in GROUPS
        for metric in ("ncc", "ssim", "outside", "auc", "residual", "span_auc", "similar_share", "test_accuracy")
        for mean in [float(rng.uniform(0.2, 0.9))]
    ]  # fmt: skip
    record: dict[str, Any] = {
        "schema_version": 1, "study": study, "comparable": bool(seed % 5), "rows": rows, "gaps": [], "missing": [],
        "doses": {}, "equivalents": [], "influence": [], "metrics": METRICS,
        "verdicts": [studies.judge(claim, {}) | {"holds": bool(rng.integers(2)), "mean": 0.1, "n": 3}
                     for claim in studies.STUDIES[study].claims],
        "provenance": {"version": "0.1.0", "commit": None, "command": f"vestige study {study}", "fingerprint": "0",
                       "data": {}, "models": {}, "filler": ["0" * 64] * 40},
    }  # fmt: skip
    return record


def make(root: Path, count: int) -> int:
    """So many run folders, a hundred to a folder; returns the bytes of all results."""
    total = 0
    names = ("quickstart", "image-target", "image-similar", "image-enhanced")
    for number in range(count):
        study = names[number % len(names)]
        settings = studies.configure(study, seeds=1 + number % 5, seed=number)
        folder = root / f"batch-{number // 100}" / f"{study}-{number}"
        store.open_folder(folder, settings, "0.1.0", "feed")
        store.write_json(folder / "result.json", result(study, 1 + number % 5, number))
        day = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(1.79e9 + 4000 * number))
        store.write_json(folder / "run.json", {"seconds": 60.0, "finished": day, "failed": [], "rte": [], "host": {}})
        total += (folder / "result.json").stat().st_size
    return total


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds: by the clock, and of this process's computing."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def in_chromium(root: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds until the page has loaded and its script has run, to sort and to search: by the browser's clock, and
    of the computing of its own process for the page.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from browsing import Browser

    at, ready = bind(), threading.Event()
    address = f"http://{HOST}:{at.getsockname()[1]}/"
    threading.Thread(target=serve, args=(Site(root), at, ready.set), daemon=True).start()
    ready.wait(30)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        browser.call("Performance.enable")
        found: dict[str, list[tuple[float, float]]] = {"load": [], "sort": [], "search": []}

        def computed() -> float:
            metrics = browser.call("Performance.getMetrics")["metrics"]
            return next(1000 * one["value"] for one in metrics if one["name"] == "ThreadTime")

        def clock(name: str, action: str) -> None:
            start = computed()
            ms = browser.ask(
                f"(() => {{ const t = performance.now(); {action}; document.body.offsetHeight; "
                "return performance.now() - t; })()"
            )
            found[name].append((ms, computed() - start))

        for _ in range(REPEATS):
            start = computed()
            browser.open(address)
            ms = browser.ask("performance.getEntriesByType('navigation')[0].loadEventEnd")
            found["load"].append((ms, computed() - start))
            clock("sort", "document.querySelectorAll('thead button')[5].click()")
            clock("search", "const q = document.querySelector('[type=search]'); q.value = 'image-sim'; "
                            "q.dispatchEvent(new Event('input'))")  # fmt: skip
            browser.open("about:blank")
        browser.close()
    return {f"Chromium: {name}": middle(values) for name, values in found.items()}


def middle(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The median of both."""
    wall, cpu = zip(*values, strict=True)
    return round(statistics.median(wall), 1), round(statistics.median(cpu), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--page", type=Path, help="write the table there too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = make(root, arguments.runs)
        site, results = Site(root), list(root.glob("*/*/result.json"))
        found = {
            "index, first": middle([timed(Index(root).runs) for _ in range(REPEATS)]),
            "page": middle([timed(lambda: site.answer("index.html")) for _ in range(1 + REPEATS)][1:]),
            "index again": middle([timed(site.index.runs) for _ in range(REPEATS)]),
            "every result.json parsed whole": timed(lambda: [json.loads(path.read_bytes()) for path in results]),
        }
        page = site.answer("index.html")
        found |= in_chromium(root)
    for name, (waits, computes) in OPENED.items():
        found[name] = sum(found[part][0] for part in waits), sum(found[part][1] for part in computes)
    text = told(arguments.runs, size, len(page.body) if page else 0, found)
    print(text)
    if arguments.page:
        arguments.page.write_text(text, encoding="utf-8")


def told(runs: int, size: int, page: int, found: Mapping[str, tuple[float, float]]) -> str:
    """What was measured, as a page."""
    lines = [f"| {name} | {wall:,.0f} | {cpu:,.0f} |" for name, (wall, cpu) in found.items()]
    return "\n".join([
        f"# {runs:,} runs as pages",
        "",
        f"`python benchmarks/view.py --runs {runs}`: result.json of {size / runs / 1e3:.0f} KB on average, a page of "
        f"{page / 1e3:,.0f} KB; medians of {REPEATS}. The machine had {os.cpu_count()} cores and a load of "
        f"{os.getloadavg()[0]:.1f}: above that many, the clock tells how long others kept it busy.",
        "",
        "| | ms by the clock | ms of computing |",
        "|---|---|---|",
        *lines,
        "",
        "Chromium: of the computing, that of the page's own thread; by the clock its load waits for the index, read "
        "again, and the page. *Opened*: all of it, just after `vestige view` started, and on a reload.",
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
