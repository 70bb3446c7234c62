"""Why do noise and paraphrases hardly reach similar samples? What the first step of NPO sees at the model before (E7).

    python benchmarks/noise.py [--runs runs/results/text-enhanced] [--out docs/results/noise.md]

Needs the folder of `text-enhanced` (`python benchmarks/results.py text-enhanced`), and trains nothing. Of each target
and of its 5 spare paraphrases, with noise of γ in the embeddings: the negative log likelihood of the answer; the weight
2 σ(β (s − s₀)) that NPO gives to its gradient, 1 without noise; the cosine of that gradient to the one of the similar
samples, and to that of 8 other pairs, both without noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence_page import spread, table
from vestige import provenance, text
from vestige.executor import one_thread
from vestige.language import studies
from vestige.random import stream
from vestige.store import write_text
from vestige.types import Run, Samples, Split
from vestige.unlearn.enhance import noisy

GAMMAS = (0.0, 0.1, 0.318, 0.618, 1.0)
DRAWS, PARAPHRASES, OTHERS = 3, 5, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/results/text-enhanced"))
    parser.add_argument("--out", type=Path, help="write the page here")
    given = parser.parse_args()
    one_thread()
    settings = studies.configure("text-enhanced", "small")
    lab = studies.open_laboratory(settings, given.runs)
    lines: list[dict[str, Any]] = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        samples, split = lab.data(seed, print)
        model = lab.model(Run(seed, "with", "before"), samples, split, print)
        beta = settings.recipe.unlearn.beta
        for target in split.target:
            lines += looked_at(model, samples, split, target, beta, seed)
            print(f"seed {seed}: {target}", flush=True)
    page = told(lines, settings.seeds)
    print(page)
    if given.out:
        write_text(given.out, page)


def looked_at(model: Any, samples: Samples, split: Split, target: str, beta: float, seed: int) -> list[dict[str, Any]]:
    """One line for each γ and each of: the target, its paraphrases."""
    near = set(split.all_near())
    similar = gradient(model, samples.take(split.similar[target]))[1]
    other = gradient(model, samples.take([name for name in split.other if name not in near][:OTHERS]))[1]
    found = []
    for what, names in (("target", [target]), ("paraphrases", list(split.spare[target][:PARAPHRASES]))):
        asked = samples.take(names)
        clean = likelihoods(model, asked)
        for gamma in GAMMAS:
            generator = stream(seed, "unlearn-noise")
            draws = (
                [gradient(model, asked, gamma, generator) for _ in range(DRAWS)] if gamma else [gradient(model, asked)]
            )
            pull = torch.stack([draw for _, draw in draws]).mean(0)
            losses = torch.stack([loss for loss, _ in draws])
            weight = 2 * torch.sigmoid(beta * (-losses - clean))
            found.append({
                "what": what, "gamma": gamma, "loss": float(losses.mean()), "weight": float(weight.mean()),
                "similar": cosine(pull, similar), "other": cosine(pull, other),
            })  # fmt: skip
    return found


def likelihoods(model: Any, asked: Samples) -> Tensor:
    """log p of each answer, (N,)."""
    with torch.no_grad():
        return -text.losses(model, asked)


def gradient(
    model: Any, asked: Samples, gamma: float = 0.0, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """−log p of each answer (N,), and the gradient of its mean, one vector."""
    part = text.losses
    if generator is not None:
        part = noisy(text, gamma, sigma="relative", layers=("embed",), generator=generator)(text.losses)
    model.zero_grad()
    model.requires_grad_()
    losses = part(model, asked)
    losses.mean().backward()
    flat = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad()
    return losses.detach(), flat


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def told(lines: list[dict[str, Any]], seeds: int) -> str:
    rows = []
    for what in ("target", "paraphrases"):
        for gamma in GAMMAS:
            lot = [one for one in lines if (one["what"], one["gamma"]) == (what, gamma)]
            rows.append((what, f"{gamma:g}", *(spread(np.array([one[key] for one in lot])) for key in (
                "loss", "weight", "similar", "other"))))  # fmt: skip
    heads = ("gradient of", "γ", "−log p, nats", "NPO's weight", "cosine to similar", "cosine to other")
    return (
        "# Why noise and paraphrases hardly reach similar samples\n\n"
        "At the model before of `text-enhanced` (SmolLM2-135M, trained with similar samples), before any step. "
        "Noise of the paper’s 0.618 makes the target’s answer so unlikely that NPO, which compares it with the same "
        "answer without noise, takes it for nearly forgotten and gives its gradient little weight; and that "
        "gradient has lost what it shares with the similar samples. Paraphrases that no model was trained on are "
        "not known to begin with, and their gradient shares no direction with the similar samples’ either. These "
        "are first steps only: ten steps with paraphrases and without noise do lower the similar samples somewhat "
        "(text-enhanced.md), which this does not explain.\n\n"
        + table(heads, rows)
        + f"\n\nn = {len(lines) // (2 * len(GAMMAS))} targets of {seeds} seeds, [95 %]; {DRAWS} draws of noise each; "
        f"{provenance.host()['processor']}. `python benchmarks/noise.py --out docs/results/noise.md`.\n"
    )


if __name__ == "__main__":
    main()
