"""Choose the rates of the algorithms in difficulty studies: the mean score H, on seed 100 and its own samples.

    python benchmarks/difficulty_settings.py [--data mnist] [--samples 20] [--workers 2] [--out runs/settings]

Of every algorithm, with the passes that the budget allows, each rate below; H and its parts are means over those
samples that have something to erase. No reported result uses this seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vestige.difficulty import conduct, configure, open_laboratory
from vestige.difficulty.laboratory import Laboratory
from vestige.difficulty.plan import SETTINGS, Plan
from vestige.difficulty.study import Study
from vestige.executor import say

RATES = {
    "FT": ("lr", (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)),
    "relabel": ("lr", (0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)),
    "GA": ("lr", (0.00005, 0.0001, 0.0002, 0.0005, 0.002, 0.005, 0.02)),
    "NegGrad+": ("lr", (0.001, 0.002, 0.003, 0.01, 0.02, 0.03, 0.1)),
    "SCRUB": ("lr", (0.03, 0.05, 0.1, 0.3)),
    "SSD": ("alpha", (1.5, 3.0, 5.0, 10.0, 30.0, 100.0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--model", default=None)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/difficulty-settings"))
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    flags = {"data": options.data, "model": options.model, "samples": options.samples, "seed": 100, "seeds": 1}
    fewer = ["algorithms=[FT,relabel,GA,NegGrad+,SCRUB,SSD]", "references.models=4", *options.set]
    laboratory = open_laboratory(configure(sets=fewer, **flags), options.out)
    conduct(laboratory, workers=options.workers, limit=0)
    print("| algorithm | setting | H | E | U | n |\n|---|---|---|---|---|---|")
    with laboratory.crew("local", options.workers) as crew:
        for algorithm, (key, values) in RATES.items():
            for value in values:
                change = [f"algorithms=[{algorithm}]", f"unlearn.{SETTINGS[algorithm]}.{key}={value}"]
                config = configure(sets=[*fewer, *change], **flags)
                place = Laboratory(Plan(config, laboratory.plan.source), laboratory.store)
                rows = [row for row in Study(place, crew, say).carry_out(None)["runs"] if row["erasable"]]
                h, e, u = (np.mean([row[part] for row in rows]) if rows else np.nan for part in "HEU")
                print(f"| {algorithm} | {key} {value:g} | {h:.3f} | {e:.3f} | {u:.3f} | {len(rows)} |", flush=True)


if __name__ == "__main__":
    main()
