"""Choose the steps and the rate of relabelling: the average gap to R0, on seeds that no result uses.

    python benchmarks/relabel.py [--data mnist] [--seeds 100 101 102]

The gap is the mean of |Δ| in accuracy on the targets, the retained and the test samples, and in the
probability of the targets' true class, over both arms. It never looks at recall.
"""

from __future__ import annotations

import argparse
import itertools

import torch

from vestige import assets, dataset, image
from vestige.config import Recipe, Relabel, UnlearnConfig
from vestige.executor import one_thread
from vestige.random import stream
from vestige.studies import configure
from vestige.train import train
from vestige.unlearn import METHODS

STEPS, RATES = (10, 30, 100), (0.001, 0.003, 0.006, 0.013, 0.03, 0.1)


def numbers(model, parts):
    found = []
    with torch.no_grad():
        for samples in parts:
            found.append(float((image.logits(model, samples).argmax(1) == samples.y).float().mean()))
        found.append(float(torch.exp(-image.losses(model, parts[0])).mean()))
    return torch.tensor(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    options = parser.parse_args()
    one_thread()
    settings = configure("image-target", data=options.data)
    everything = image.load(assets.locate(options.data))
    gaps: dict[tuple[int, float], list[float]] = {}
    for seed, arm in itertools.product(options.seeds, ("without", "with")):
        samples, split = dataset.entail(settings.data, everything, modality=image, seed=seed)
        members = samples.take(split.training(arm))
        forget, retain = samples.take(split.target), members.without(split.target)
        parts = (forget, retain, samples.take(split.test))
        fresh = image.build(settings.model, members, generator=stream(seed, "train"))
        before = train(fresh, members, modality=image, config=settings.train)
        recipe = settings.recipe
        reference = METHODS["retrain"](before, forget, retain, modality=image, config=recipe, seed=seed)
        for steps, rate in itertools.product(STEPS, RATES):
            unlearn = UnlearnConfig(relabel=Relabel(steps=steps, lr=rate))
            recipe = Recipe(model=settings.model, train=settings.train, unlearn=unlearn)
            after = METHODS["relabel"](before, forget, retain, modality=image, config=recipe, seed=seed)
            gap = (numbers(after, parts) - numbers(reference, parts)).abs().mean()
            gaps.setdefault((steps, rate), []).append(float(gap))
    print(f"average gap to R0, {options.data}, seeds {options.seeds}, both arms (mean ± sd over {len(gaps[10, 0.1])})")
    for (steps, rate), values in sorted(gaps.items(), key=lambda item: sum(item[1])):
        spread = torch.tensor(values)
        print(f"steps {steps:4d}  lr {rate:<6g} gap {spread.mean():.3f} ± {spread.std():.3f}")


if __name__ == "__main__":
    main()
