"""Snapping candidates to the row space: `span.solve` beside dense double precision, on the same candidates.

    python benchmarks/snap.py [--seeds 100 101] [--markdown FILE]

The model before unlearning and the candidates of a first round, as in `reconstruction.py`. One thread, its own time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from influence_page import table
from reconstruction import model_of
from vestige import provenance
from vestige.config import RecoverConfig
from vestige.executor import one_thread
from vestige.image import span
from vestige.image.recover import reconstruct
from vestige.random import stream


def dense(rows: Tensor, weight: Tensor, sides: Tensor) -> Tensor:
    """The plain reference of `span.solve`: every matrix whole, in double precision."""
    gram = (rows * weight[:, None]) @ rows.T
    gram.diagonal(dim1=1, dim2=2).add_(span.DAMPING)
    return torch.cholesky_solve(sides.mT, torch.linalg.cholesky(gram)).mT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101])
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    options = parser.parse_args()
    one_thread()
    rows = []
    for seed in options.seeds:
        model, _ = model_of(seed)
        config = RecoverConfig(rounds=0, steps=500)
        made = reconstruct(model, config=config, per_class=10, generator=stream(seed, "recover"))
        space, x = span.RowSpace.of(model), made.candidates.flatten(1)
        for sharpness in span.SHARPNESS:
            seconds, found = [], []
            for solve in (span.solve, dense):
                start = time.process_time()
                with patch.object(span, "solve", solve):
                    found.append(span.snap(space, x, len(x), sharpness))
                seconds.append(time.process_time() - start)
            (ours, surplus), (plain, wanted) = found
            same = bool(((surplus >= span.SURPLUS) == (wanted >= span.SURPLUS)).all())
            rows.append((
                seed, ", ".join(f"{one:g}" for one in sharpness), f"{seconds[1] / seconds[0]:.1f}",
                f"{seconds[0]:.2f}", f"{int((surplus >= span.SURPLUS).sum())} of {len(x)}", "yes" if same else "no",
                f"{float((ours - plain).abs().max()):.0e}",
            ))  # fmt: skip
    titles = ("seed", "ε, ε, q", "dense double, × ours", "ours, s", "taken for exact", "the same", "apart at most")
    host = provenance.host()
    page = (
        "# Snapping candidates to the row space\n\n"
        f"`python benchmarks/snap.py --seeds {' '.join(map(str, options.seeds))}`\n\n{table(titles, rows)}\n\n"
        "784-300-300-10, the quickstart's images *with* near-copies, the candidates of a first round; processor time, "
        f"one run each, one thread; {host['processor']}, torch {torch.__version__}.\n"
    )
    print(page)
    if options.markdown:
        options.markdown.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
