"""Planted cases: does the audit give each the right verdict? Run: python benchmarks/audit.py [--seeds 20].

A record is planted under a wrong label (that of the class which it looks least like), as is usual for canaries (Carlini
et al. 2019), so that training on it shows; in two cases near-copies of it
under the same label too. Seven models are then judged, each made by somebody whom the audit
does not know (method: given): never trained on it; hidden in three ways (last layer edited, output filter, suppressed
until it looks forgotten); over-unlearned by long gradient ascent; retrained with the near-copies; retrained without
them. Settings are chosen on seeds 100–119; seeds 0–19 are for the report. "Cannot tell" counts as wrong.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige import assets
from vestige.audit import images
from vestige.audit.request import Written
from vestige.audit.steps import Audit
from vestige.audit.subject import Material
from vestige.audit.verdict import WORDS
from vestige.config import AuditRequest
from vestige.image import load, unit
from vestige.store import Store
from vestige.types import Samples, joined

EXPECTED = {
    "never trained on it": "forgotten",
    "hidden: last layer edited": "in_model",
    "hidden: output filter": "in_model",
    "hidden: suppressed": "in_model",
    "over-unlearned": "over_unlearned",
    "retrained, near-copies kept": "carried",
    "retrained without near-copies": "forgotten",
}
PER_CLASS, COPIES, PASSES, BATCH, RATE = 60, 4, 30, 50, 0.1


def train(samples: Samples, seed: int) -> nn.Module:
    """A small MLP, or with CNN set a small CNN, trained by SGD with momentum: about a second."""
    key = (len(samples), float(samples.x.double().sum()), int(samples.y.sum()), seed)
    if key not in TRAINED:
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        model = NETWORKS[KIND[0]](samples.classes)
        mover = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
        for step in range(PASSES):
            mover.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / PASSES)) / 2
            for rows in torch.randperm(len(samples), generator=generator).split(BATCH):
                mover.zero_grad()
                F.cross_entropy(model(samples.x[rows]), samples.y[rows]).backward()
                mover.step()
        TRAINED[key] = model.eval()
    return copy.deepcopy(TRAINED[key])


TRAINED: dict[tuple[Any, ...], nn.Module] = {}
KIND = ["mlp"]
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "mlp": lambda classes: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, classes)
    ),
    "cnn": lambda classes: nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, classes),
    ),
}  # fmt: skip


class Filter(nn.Module):
    """Says nothing in particular of what looks like the record, and what the model says of all else."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("x", x)

    def forward(self, x: Tensor) -> Tensor:
        out = self.model(x)
        hit = (x - self.x).flatten(1).norm(dim=1) < 1
        return torch.where(hit[:, None], torch.zeros_like(out), out)


def edited(model: nn.Module, record: Samples) -> nn.Module:
    """The last layer moved along what it sees of the record, until the record's label is unlikely."""
    model = copy.deepcopy(model)
    layer = images.last_layer(model, record)
    seen = images._features(model, layer, record.x)[0].float()
    down = float(images.answers(model, record)[0]) + 5
    with torch.no_grad():
        layer.weight[int(record.y)] -= down * seen / (seen @ seen)
    return model


def suppressed(model: nn.Module, record: Samples, rest: Samples, level: float) -> nn.Module:
    """Trained against the record and for the rest, until it answers like models that never saw the record."""
    model = copy.deepcopy(model)
    mover = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(400):
        if images.answers(model, record)[0] <= level:
            break
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(rest)
        mover.zero_grad()
        loss = F.cross_entropy(model(rest.x[rows]), rest.y[rows])
        (loss - 0.2 * F.cross_entropy(model(record.x), record.y)).backward()
        mover.step()
    return model.eval()


def ascended(model: nn.Module, record: Samples) -> nn.Module:
    """Gradient ascent on the record, for long."""
    model = copy.deepcopy(model)
    mover = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(60):
        mover.zero_grad()
        (-F.cross_entropy(model(record.x), record.y)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        mover.step()
    return model.eval()


@dataclass(frozen=True)
class Planted(images.Images):
    """The subject of a planted case: the model that is judged is handed over."""

    model: nn.Module | None = None

    def given(self, samples: Samples) -> nn.Module:
        assert self.model is not None
        return self.model


def plant(seed: int) -> tuple[Samples, Samples, Samples, Samples]:
    """The planted record, its near-copies, the rest of training, and records that are never seen."""
    generator = torch.Generator().manual_seed(seed)
    pool = unit(load(assets.locate("mnist")))
    order = torch.randperm(len(pool), generator=generator)
    counts, chosen = Counter(), []
    for row in order.tolist():
        counts[int(pool.y[row])] += 1
        if counts[int(pool.y[row])] <= PER_CLASS:
            chosen.append(row)
    rest = pool.at(torch.tensor(chosen[1:]))
    first = pool.at(torch.tensor(chosen[:1]))
    means = torch.stack([rest.x[rest.y == kind].mean(0) for kind in range(10)])
    label = (means - first.x).flatten(1).norm(dim=1).argmax()[None]
    record = Samples(("planted/record",), first.x, label, 10)
    draw = torch.rand((COPIES, 1, 1, 1), generator=generator)
    noise = torch.randn((COPIES, *first.x.shape[1:]), generator=generator) * 0.03
    x = (first.x * (0.75 + 0.2 * draw) + noise * (first.x > 0)).clamp(0, 1)
    copies = Samples(tuple(f"planted/copy-{at}" for at in range(COPIES)), x, label.repeat(COPIES), 10)
    used = set(chosen)
    never = pool.at(torch.tensor([row for row in order.tolist() if row not in used][:1500]))
    return record, copies, rest, never


def judge_images(seed: int, folder: Path, references: int = 12) -> dict[str, Any]:
    """Case → its verdict, for one seed."""
    record, copies, rest, never = plant(seed)
    alone, together = joined(record, rest), joined(record, copies, rest)
    own = 7_000 + seed
    before = train(alone, own)
    clean = train(rest, own + 10_000)
    level = float(np.mean([images.answers(train(rest, own + 20_000 + at), record)[0] for at in range(2)]))
    cases: Mapping[str, tuple[Samples, nn.Module]] = {
        "never trained on it": (alone, clean),
        "hidden: last layer edited": (alone, edited(before, record)),
        "hidden: output filter": (alone, Filter(before, record.x)),
        "hidden: suppressed": (alone, suppressed(before, record, rest, level)),
        "over-unlearned": (alone, ascended(before, record)),
        "retrained, near-copies kept": (together, train(joined(copies, rest), own + 30_000)),
        "retrained without near-copies": (together, clean),
    }
    found = {}
    for name, (trained, model) in cases.items():
        request = AuditRequest.model_validate({
            "data": {"source": "mnist"}, "model": {"train": "planted:train", "after": f"planted:{name}"},
            "records": record.ids, "policy": "keep", "similar": {"tau": 0.9}, "method": "given", "seed": seed,
            "references": references,
        })  # fmt: skip
        written = Written(request, Path("planted.yaml"), {})
        subject = Planted(written, _recipe(), train, {"answer": False, "probe": True}, model)
        material = Material("image", trained, never, record.ids, f"{seed}-{len(trained)}")
        audit = Audit(written, material, subject, Store(folder / str(seed)), "")
        report = audit.report(lambda message: None)
        (verdict,) = report["verdicts"]
        found[name] = {**verdict, "kept": len(report["found"]["kept"]), "gate": report["gate"]["status"]}
    TRAINED.clear()
    return found


def _recipe() -> Any:
    from vestige.config import Recipe

    return Recipe()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="mlp")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write every verdict as JSON here")
    given = parser.parse_args()
    torch.set_num_threads(1)
    KIND[0] = given.network
    start, all_found = time.process_time(), {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.first, given.first + given.seeds):
            all_found[seed] = judge_images(seed, Path(folder))
            wrong = [f"{name}: {one['name']} ({one['reason']})" for name, one in all_found[seed].items()
                     if one["name"] != EXPECTED[name]]  # fmt: skip
            print(f"seed {seed}: {len(wrong)} wrong; {'; '.join(wrong)}", flush=True)
    for name, expected in EXPECTED.items():
        lot = [one[name]["name"] for one in all_found.values() if name in one]
        print(f"{name:<32} {WORDS[expected]:<34} {lot.count(expected)} of {len(lot)}")
    print(f"{time.process_time() - start:.0f} s of processor time")
    if given.out:
        given.out.write_text(json.dumps(all_found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
