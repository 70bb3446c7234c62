"""How the settings of the reconstruction were looked for, on seeds that no result uses.

    python benchmarks/settings.py            100 images, seeds 100 and 101 (two minutes)
    python benchmarks/settings.py --paper    500 images, seed 100 (a quarter of an hour)

For the *with* arm before unlearning, by stationarity alone: what the reconstruction leaves unexplained, by
which settings are chosen, and beside it what they recover, by which they are not.
"""

from __future__ import annotations

import argparse

from vestige import assets, dataset, image
from vestige.executor import one_thread
from vestige.image.recover import match, reconstruct
from vestige.random import stream
from vestige.studies import configure
from vestige.train import train
from vestige.verify import auc

SMALL = (
    "", "recover.margin=2", "recover.margin=5", "recover.margin=20", "recover.steps=3000", "recover.box=10",
    "recover.box=0.1", "model.hidden=[500,500]", "train.steps=2000",
)  # fmt: skip
PAPER = (
    "", "train.steps=2000", "recover.margin=30", "recover.margin=3", "recover.lr_x=0.04",
    "recover.margin=30 train.steps=2000",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true")
    paper = parser.parse_args().paper
    one_thread()
    everything = image.load(assets.locate("mnist"))
    print("| setting | seed | unexplained | mean NCC of members | members above 0.9 | AUC |\n|---|---|---|---|---|---|")
    for change in PAPER if paper else SMALL:
        for seed in (100,) if paper else (100, 101):
            settings = configure("image-target", "paper" if paper else "small", sets=change.split(), seed=seed)
            samples, split = dataset.entail(settings.data, everything, modality=image, seed=seed)
            members, never = samples.take(split.training("with")), samples.take(split.never_seen)
            model = image.build(settings.model, members, generator=stream(seed, "train"))
            model = train(model, members, modality=image, config=settings.train)
            made = reconstruct(
                model,
                config=settings.recover.model_copy(update={"rounds": 0}),
                per_class=settings.data.per_class,
                generator=stream(seed, "recover"),
            )
            ours, theirs = (match(made.candidates, part.x - model.mean)[0] for part in (members, never))
            numbers = f"{made.unexplained:.3f} | {ours.mean():.2f} | {int((ours > 0.9).sum())} of {len(ours)}"
            chance = auc(ours.numpy(), theirs.numpy())
            print(f"| {change or 'as it is'} | {seed} | {numbers} | {chance:.2f} |", flush=True)


if __name__ == "__main__":
    main()
