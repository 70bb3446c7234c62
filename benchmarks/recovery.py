"""How much comes back, from how many images, how fast, and what decides it.

    python benchmarks/recovery.py [--sizes 50 100 200 500] [--seeds 0 1 2] [--set KEY=VALUE …] [--markdown FILE]

MNIST without constructed copies, the model before unlearning. Recovered: a member whose best candidate has
NCC > 0.9. Beside it the row-space test of the same model: members against never-seen images, pooled and
within each class. Then, for every member, how its NCC goes with its multiplier (by non-negative least
squares at the true images, which the attack never sees) and with how much of it only it brings to the row space.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from vestige import assets, dataset, image, influence, provenance
from vestige.executor import one_thread
from vestige.image.recover import match, reconstruct
from vestige.image.span import RowSpace
from vestige.random import stream
from vestige.studies import configure
from vestige.train import train
from vestige.verify import auc, tpr_at_fpr

WIDTH = {50: 300, 100: 300, 200: 400, 500: 800}


def prepare(n, seed, changes):
    """The trained model, its members, never-seen images, the settings, and the seconds that training took."""
    sets = [f"data.per_class={n // 10}", f"model.hidden=[{WIDTH[n]},{WIDTH[n]}]", "data.similar=2", *changes]
    settings = configure("image-target", seed=seed, sets=sets)
    samples, split = dataset.entail(settings.data, image.load(assets.locate("mnist")), modality=image, seed=seed)
    members, never = samples.take(split.training("without")), samples.take(split.never_seen)
    model = image.build(settings.model, members, generator=stream(seed, "train"))
    start = time.perf_counter()
    model = train(model, members, modality=image, config=settings.train)
    return model, members, never, settings, time.perf_counter() - start


def strengths(model, members):
    """λ_i‖∇m_i‖ of each member, λ by non-negative least squares of θ on the margins' gradients."""
    found = influence.explain(model, members)
    return found.multipliers * np.sqrt(np.diag(found.gram))


def own_part(model, members):
    """What only this member brings to the rows: 1/‖a‖ for the mixture a of neurons with x = aᵀ[W₁, b₁]."""
    space = RowSpace.of(model)
    c = space.coordinates((members.x - model.mean).flatten(1), len(members))
    return (1 / (c / space.S[: len(members)]).norm(dim=1)).numpy()


def within_class(score, labels, null, null_labels, measure):
    return float(np.mean([measure(score[labels == c], null[null_labels == c]) for c in np.unique(labels)]))


def row(n, seed, changes):
    model, members, never, settings, trained = prepare(n, seed, changes)
    start = time.perf_counter()
    made = reconstruct(model, config=settings.recover, per_class=n // 10, generator=stream(seed, "recover"))
    seconds = time.perf_counter() - start
    ncc, other = (match(made.candidates, part.x - model.mean)[0].numpy() for part in (members, never))
    exact = match(members.x - model.mean, made.candidates[: made.found])[0] if made.found else torch.zeros(0)
    space = RowSpace.of(model)
    inside, outside = (-space.outside((part.x - model.mean).flatten(1)).numpy() for part in (members, never))
    y, z = members.y.numpy(), never.y.numpy()
    return {
        "n": n, "width": settings.model.hidden[0], "seed": seed,
        "> 0.9": int((ncc > 0.9).sum()), "> 0.99": int((ncc > 0.99).sum()),
        "mean NCC": f"{ncc.mean():.2f}", "null": f"{other.mean():.2f}",
        "claimed exact (NCC > 0.9)": f"{made.found} ({int((exact > 0.9).sum())})",
        "AUC of NCC": f"{auc(ncc, other):.3f}", "TPR": f"{tpr_at_fpr(ncc, other):.2f}",
        "span AUC": f"{auc(inside, outside):.4f}", "span TPR": f"{tpr_at_fpr(inside, outside):.3f}",
        "span AUC in class": f"{within_class(inside, y, outside, z, auc):.4f}",
        "ρ(NCC, λ‖g‖)": f"{spearmanr(ncc, strengths(model, members))[0]:.2f}",
        "ρ(NCC, own part)": f"{spearmanr(ncc, own_part(model, members))[0]:.2f}",
        "train s": f"{trained:.1f}", "reconstruct s": f"{seconds:.1f}",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(WIDTH), choices=list(WIDTH))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in vestige study")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    options = parser.parse_args()
    one_thread()
    torch.set_num_threads(options.threads)
    lines = []
    for n in options.sizes:
        for seed in options.seeds:
            found = row(n, seed, options.set)
            if not lines:
                lines += ["| " + " | ".join(found) + " |", "|---" * len(found) + "|"]
            lines.append("| " + " | ".join(map(str, found.values())) + " |")
            print(lines[-1], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    changes = "".join(f" --set {change}" for change in options.set)
    command = (
        f"python benchmarks/recovery.py --sizes {' '.join(map(str, options.sizes))} "
        f"--seeds {' '.join(map(str, options.seeds))}{changes} --threads {options.threads}"
    )
    text = (
        f"# What comes back\n\n`{command}`\n\n" + "\n".join(lines) + f"\n\nMNIST, 784-width-width-10, the model before "
        f"unlearning, no constructed copies; {options.threads} thread(s); at most {peak:.0f} MB; "
        f"{provenance.host()['processor']}, torch {provenance.version('torch')}.\n"
    )
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
