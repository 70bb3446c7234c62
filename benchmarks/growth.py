"""How the cost of a reconstruction grows with the number of images and with the width, beside that of training.

    python benchmarks/growth.py [--threads 2] [--steps 100] [--repeats 3] [--markdown FILE]

Seconds of one reconstruction by stationarity and of one training, both with the default settings (1,500 and 1,000
steps), from the seconds of the first few: all steps cost the same. What taking images out of the row space adds
where the images are few stands in recovery.md. Median of the repeats, least and most as whiskers.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vestige import image, provenance, report
from vestige.config import MLPConfig, RecoverConfig, TrainConfig
from vestige.executor import one_thread
from vestige.image.recover import reconstruct
from vestige.random import stream
from vestige.report import figures
from vestige.report.record import Figure, Line, LineChart, Point
from vestige.train import train
from vestige.types import Samples

CSS = Path(report.__file__).parent / "figures.css"
SIZES, WIDTHS, AT = (50, 100, 200, 500, 1000), (200, 400, 800, 1600), (500, 800)


def cost(n: int, width: int, steps: int) -> tuple[float, float]:
    """Seconds of a whole reconstruction and of a whole training at this size; random pixels cost what digits cost."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(n // 10)
    samples = Samples(tuple(map(str, range(n))), torch.rand(n, 1, 28, 28, generator=draw), labels, 10)
    model = image.build(MLPConfig(hidden=(width, width)), samples, generator=stream(0, "train"))
    recover, learn = RecoverConfig(rounds=0), TrainConfig()
    few, short = (config.model_copy(update={"steps": steps}) for config in (recover, learn))
    learnt = clock(lambda: train(model, samples, modality=image, config=short))
    made = clock(lambda: reconstruct(model, config=few, per_class=n // 10, generator=stream(0, "recover")))
    return made * recover.steps / steps, learnt * learn.steps / steps


def clock(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def point(seconds: list[float]) -> Point:
    return Point("", float(np.median(seconds)), min(seconds), max(seconds), len(seconds), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--markdown", type=Path, help="also write the table here, and the figure beside it")
    options = parser.parse_args()
    one_thread()
    torch.set_num_threads(options.threads)
    cost(50, 200, 3)
    asked = dict.fromkeys([*((n, AT[1]) for n in SIZES), *((AT[0], width) for width in WIDTHS)])
    found = {size: [cost(*size, options.steps) for _ in range(options.repeats)] for size in asked}
    lines = ["| images | width | reconstruction, s | training, s |", "|---|---|---|---|"]
    for (n, width), pairs in found.items():
        points = [point(list(part)) for part in zip(*pairs, strict=True)]
        cells = [f"{one.mean:.1f} [{one.low:.1f}, {one.high:.1f}]" for one in points]
        lines.append(f"| {n} | {width} | " + " | ".join(cells) + " |")
    text = (
        f"# What a reconstruction costs\n\n`python benchmarks/growth.py --threads {options.threads} --steps "
        f"{options.steps} --repeats {options.repeats}`\n\n![Seconds over images, and over width](growth.svg)\n\n"
        + "\n".join(lines)
        + f"\n\nMedian of {options.repeats} [least, most], {options.steps} of 1,500 and 1,000 steps timed; "
        f"784-width-width-10, "
        f"{options.threads} thread(s); at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB; "
        f"{provenance.host()['processor']}, torch {provenance.version('torch')}.\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
        charts = (
            chart("images, at width 800", [(n, found[n, AT[1]]) for n in SIZES]),
            chart("width, at 500 images", [(width, found[AT[0], width]) for width in WIDTHS]),
        )
        figure = Figure("growth", "What a reconstruction costs", "", charts)
        options.markdown.with_suffix(".svg").write_text(
            figures.to_file(figure, CSS.read_text(encoding="utf-8")), encoding="utf-8"
        )


def chart(x: str, rows: list[tuple[int, list[tuple[float, float]]]]) -> LineChart:
    made, learnt = (
        Line(name, tuple((float(size), point([pair[which] for pair in pairs])) for size, pairs in rows))
        for which, name in enumerate(("reconstruction", "training"))
    )
    return LineChart(
        "seconds", x, tuple((float(size), str(size)) for size, _ in rows), (made, learnt), valued=made.name
    )


if __name__ == "__main__":
    main()
