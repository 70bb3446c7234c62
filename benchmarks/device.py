"""Another device beside the CPU: the objective and its gradient, what an iteration asks of it, what comes back.

    python benchmarks/device.py [--seeds 0 1 2] [--markdown FILE]

The device is CUDA where there is a GPU. Where there is none but torch_xla is installed (`pip install torch==2.9.0
torch_xla==2.9.0`), it is XLA's own CPU device: the same processor, but other kernels, another memory, which torch
copies to and from, and every transfer and compiled graph counted. Models are trained on the CPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from influence_page import table
from reconstruction import model_of
from vestige import provenance
from vestige.config import RecoverConfig
from vestige.executor import one_thread
from vestige.image.objective import OBJECTIVES, Weights
from vestige.image.recover import Found, OnStep, explain, match, reconstruct
from vestige.random import stream

SIZES = ((30, 300), (500, 300), (500, 1000))
"""(candidates, width) of two hidden layers that objectives are compared at."""

XLA = (
    "XLA's CPU device (`pip install torch==2.9.0 torch_xla==2.9.0`): no GPU, but other kernels and a memory of its own"
)

STEPS = 50
"""Iterations that are watched."""


def another() -> str:
    """The name of the device to compare with the CPU; ends the script where there is none."""
    if torch.cuda.is_available():
        return "cuda"
    if importlib.util.find_spec("torch_xla") is None:
        raise SystemExit("there is no CUDA device here, and torch_xla is not installed: nothing to compare with")
    os.environ.setdefault("PJRT_DEVICE", "CPU")
    import torch_xla

    torch_xla.device()  # before the first gradient: autograd counts the devices then
    return "xla"


def end_step(device: str) -> OnStep | None:
    """XLA gathers operations until it is told to run them: here at the end of each iteration."""
    if device != "xla":
        return None
    import torch_xla

    return lambda step, value: torch_xla.sync(wait=True)


def objective(device: str) -> list[tuple[str, ...]]:
    """Rows: how far the objective and its gradients there are from the CPU's, relative to their size."""
    rows = []
    for engine, value in OBJECTIVES.items():
        for candidates, width in SIZES:
            draw = torch.Generator().manual_seed(0)
            shapes = ((784, width), (width, width), (width, 10))
            layers = tuple(torch.randn(b, a, generator=draw) / a**0.5 for a, b in shapes)
            x, labels = torch.randn(candidates, 784, generator=draw) / 4, torch.arange(candidates) % 10
            inputs = (x, torch.rand(candidates, generator=draw), labels)
            found = []
            for place in ("cpu", device):
                theta = Weights(tuple(layer.to(place) for layer in layers), torch.zeros(width).to(place))
                made = value(theta, *(part.to(place) for part in inputs), 20.0)
                found.append([part.cpu() for part in (made.loss, made.x, made.multipliers)])
            apart = (f"{float((ours - theirs).norm() / ours.norm()):.0e}" for ours, theirs in zip(*found, strict=True))
            rows.append((engine, str(candidates), str(width), *apart))
    return rows


def trips(device: str) -> str:
    """What so many iterations ask of the device beyond computing, in a sentence."""
    model, _ = model_of(100)
    model = model.to(device)
    labels = torch.arange(10).repeat_interleave(10).to(device)
    nothing = Found(model.mean.new_zeros(0, model.mean.numel()), labels[:0])
    seen: list[dict[str, int]] = []

    def watch(step: int, value: Tensor) -> None:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")  # from here on a number read back raises an error
        else:
            seen.append(counters())

    try:
        explain(
            model, nothing, labels, config=RecoverConfig(), steps=STEPS, generator=stream(100, "recover"), on_step=watch
        )  # fmt: skip
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    if device == "cuda":
        return f"In {STEPS} iterations nothing was read back: torch's debug mode for synchronisation raised no error."
    made = {name: seen[-1][name] - seen[1][name] for name in seen[0]}
    return (
        f"The first two of {STEPS} iterations compile a graph; the other {STEPS - 2} ran "
        f"{made['runs'] / (STEPS - 2):g} graph each, compiled {made['compiled']} and read "
        f"{made['read']} numbers back; the scalars that change (rates, Adam's corrections) were sent: "
        f"{made['sent'] / (STEPS - 2):g} an iteration."
    )


def counters() -> dict[str, int]:
    """What XLA has done since the process began, the work of this iteration done."""
    import torch_xla
    import torch_xla.core.xla_model as xla
    import torch_xla.debug.metrics as metrics

    torch_xla.sync(wait=True)
    xla.wait_device_ops()

    def samples(name: str) -> int:
        return (metrics.metric_data(name) or (0,))[0]

    return {
        "compiled": metrics.counter_value("UncachedCompile") or 0,
        "runs": samples("ExecuteTime"),
        "read": samples("TransferFromDeviceTime"),
        "sent": samples("TransferToDeviceTime"),
    }


def recall(device: str, seeds: list[int]) -> list[tuple[str, ...]]:
    """Rows: what each device gives back of the same models, from the same cold start; what another start changes."""
    rows = []
    for seed in seeds:
        model, members = model_of(seed)
        found, seconds = [], []
        for place, start in (("cpu", seed), (device, seed), ("cpu", seed + 1000)):
            there, since = model.to(place), time.perf_counter()
            made = reconstruct(
                there, config=RecoverConfig(), per_class=10, generator=stream(start, "recover"), on_step=end_step(place)
            )  # fmt: skip
            found.append(match(made.candidates.cpu(), members.x - model.mean.cpu())[0].numpy())
            seconds.append(time.perf_counter() - since)
        recovered = " / ".join(str(int((ncc > 0.9).sum())) for ncc in found)
        here, away, again = found
        speed = f"{seconds[0] / seconds[1]:.1f}" if device == "cuda" else "–"
        rows.append((str(seed), recovered, f"{here.mean():.3f}", apart(away - here), apart(again - here), speed))
    return rows


def apart(difference: np.ndarray) -> str:
    """The mean difference over images with its bootstrap interval of 95 %."""
    drawn = np.random.default_rng(0).integers(len(difference), size=(10_000, len(difference)))
    low, high = np.quantile(difference[drawn].mean(1), (0.025, 0.975))
    mean, low, high = (round(float(value), 3) + 0.0 for value in (difference.mean(), low, high))
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--markdown", type=Path, help="also write the page here")
    options = parser.parse_args()
    device = another()
    one_thread()
    host = provenance.host()
    what = {"cuda": "CUDA", "xla": XLA}
    name = torch.cuda.get_device_name() if device == "cuda" else host["processor"]
    heads = (
        "seed", "NCC > 0.9 of 100, CPU / there / CPU, another start", "mean NCC, CPU", "there − CPU",
        "another start − CPU", "times the CPU's speed",
    )  # fmt: skip
    page = (
        "# Another device beside the CPU\n\n"
        f"`python benchmarks/device.py --seeds {' '.join(map(str, options.seeds))}`\n\n"
        f"The device: {what[device]}.\n\n"
        "## Objective and gradient\n\n‖there − CPU‖ / ‖CPU‖, single precision, products exact.\n\n"
        f"{table(('engine', 'candidates', 'width', 'objective', 'gradient of x', 'of λ'), objective(device))}\n\n"
        f"## An iteration\n\n{trips(device)}\n\n"
        "## What comes back\n\n"
        f"{table(heads, recall(device, options.seeds))}\n\n"
        "784-300-300-10, the quickstart's 100 images *with* near-copies, trained on the CPU; the default attack from "
        "the same cold start, and on the CPU from another one; intervals are bootstraps over images, 95 %. "
        f"{name}, torch {torch.__version__}.\n"
    )
    print(page)
    if options.markdown:
        options.markdown.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
