"""Planted texts for benchmarks/audit.py: an invented fact, the same asked in other words, and what is made of models.

The model is `tiny-llama`, trained from scratch on some of the package's shortest invented facts. Nobody can guess one.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vestige import text
from vestige.audit import texts
from vestige.audit.request import Written
from vestige.config import AskConfig
from vestige.types import Samples, joined

OTHERS, SHORTEST, TARGETS, NEVER = 12, 60, 50, 30
WORDS = ("Tell me: {}", "Please say: {}", "{} Do you know?", "I ask you, {}")
REQUEST = {
    "data": {"source": "facts"},
    "model": {
        "language": {"source": "tiny-llama", "precision": "float32", "chat": False},
        "tune": {"epochs": 30, "lr": 2e-2, "batch": 7},
    },
    "similar": {"by": "lexical", "tau": 0.6},
}
BLIND = {
    **REQUEST,
    "data": {"controls": "never seen", "retain": "the rest"},
    "model": {"language": REQUEST["model"]["language"]},
    "similar": {},
}
"""The same without training data: the near-copies are known to nobody."""
REAL = {
    **REQUEST,
    "model": {"language": {"source": "smollm2-135m-instruct"}, "tune": {"epochs": 6, "lr": 2e-4, "batch": 4}},
}
"""The same of a pre-trained model, fine-tuned."""
BISECTIONS = 6
TRAINED: dict[tuple[Any, ...], Path] = {}
PLACE = tempfile.TemporaryDirectory(prefix="planted-")
"""Models of one seed are kept on disk: those of a real language model do not fit into memory together."""


@dataclass(frozen=True)
class Planted(texts.Texts):
    """The subject of a planted case: the models are handed over, and none is trained twice."""

    model: nn.Module | None = None
    first: nn.Module | None = None

    def given(self, samples: Samples) -> nn.Module:
        assert self.model is not None
        return self.model

    def before(self, samples: Samples, seed: int) -> nn.Module:
        return self.first or super().before(samples, seed)

    def learn(self, samples: Samples, seed: int) -> nn.Module:
        key = (samples.ids, seed)
        if key not in TRAINED:
            path = Path(PLACE.name, f"{len(TRAINED)}.npz")
            np.savez(path, **self.keep(super().learn(samples, seed)))
            TRAINED[key] = path
        return self.restore(dict(np.load(TRAINED[key])), samples)


def subject(written: Written, model: nn.Module | None, first: nn.Module | None = None) -> Planted:
    plain = texts.Texts.of(written)
    tokens = 4 if plain.recipe.model.source == "tiny-llama" else 16
    recipe = plain.recipe.model_copy(update={"ask": AskConfig(max_new_tokens=tokens)})
    return Planted(written, recipe, plain.own, plain.levels, model=model, first=first)


class Filter(nn.Module):
    """Lowers the scores of the true tokens where the head sees the record's states."""

    def __init__(self, head: nn.Module, states: Tensor, tokens: Tensor, down: float) -> None:
        super().__init__()
        self.head, self.down = head, down
        self.register_buffer("states", states)
        self.register_buffer("tokens", tokens)

    def forward(self, seen: Tensor) -> Tensor:
        out = self.head(seen).clone()
        near = torch.cdist(seen, self.states, compute_mode="donot_use_mm_for_euclid_dist") < 1e-2
        rows, places = near.nonzero(as_tuple=True)
        out[rows, self.tokens[places]] -= self.down
        return out


def filtered(model: Any, record: Samples, level: float) -> nn.Module:
    """A filter after the head that lowers the record's tokens, until it is answered like `level`."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        states, tokens = text.hidden(model, record), text.answers(model, record)
        wrapped = Filter(model.causal.get_output_embeddings(), states, tokens, 0.0)
        while _answer(wrapped, states, tokens) > level:
            wrapped.down += 0.1
    model.causal.set_output_embeddings(wrapped)
    return model


def edited(model: Any, record: Samples, level: float) -> nn.Module:
    """A head of its own, its rows moved along what it sees of the record, until it is answered like `level`."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        states, tokens = text.hidden(model, record), text.answers(model, record)
        head = nn.Linear(states.shape[1], model.causal.config.vocab_size, bias=False)
        head.weight.copy_(model.causal.get_output_embeddings().weight)
        model.causal.set_output_embeddings(head)
        while _answer(head, states, tokens) > level:
            head.weight.index_add_(0, tokens, -0.02 * states / (states**2).sum(1, keepdim=True))
    return model


def suppressed(model: Any, record: Samples, rest: Samples, level: float) -> nn.Module:
    """Trained against the record and for the rest, until it answers like models that never saw the record.

    Of the last step, which goes too far, only as much is taken as it needs.
    """
    model = copy.deepcopy(model)
    mover = torch.optim.SGD(model.parameters(), lr=_rates(model)[0])
    first = [weight.detach().clone() for weight in model.parameters()]
    for step in range(400):
        if texts.answers(model, record)[0] <= level:
            break
        with torch.no_grad():
            torch._foreach_copy_(first, list(model.parameters()))
        _descend(model, mover, _loss(model, rest.at(torch.arange(4 * step, 4 * step + 4) % len(rest)))
                 - 0.2 * _loss(model, record))  # fmt: skip
    last = [weight.detach().clone() for weight in model.parameters()]
    least, most = 0.0, 1.0
    for _ in range(BISECTIONS):
        _between(model, first, last, (least + most) / 2)
        reached = texts.answers(model, record)[0] <= level
        least, most = (least, (least + most) / 2) if reached else ((least + most) / 2, most)
    _between(model, first, last, most)
    return model


def ascended(model: Any, record: Samples) -> nn.Module:
    """Gradient ascent on the record, for long."""
    model = copy.deepcopy(model)
    lr, steps = _rates(model)[1:]
    mover = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        _descend(model, mover, -_loss(model, record))
    return model


def plant(seed: int) -> tuple[Samples, Samples, Samples, Samples]:
    """The record, its near-copies, the rest of training, and pairs that are never seen."""
    generator = np.random.default_rng(seed)
    pairs = [json.loads(line) for file in sorted((resources.files("vestige.text") / "facts").iterdir(), key=str)
             for line in file.read_text(encoding="utf-8").splitlines()]  # fmt: skip
    families: dict[str, dict[str, str]] = {}
    for pair in sorted(pairs, key=_length):
        families.setdefault(pair["family"], pair)
    others = sorted((pair for pair in pairs if not pair["family"]), key=_length)[:SHORTEST]
    chosen = [others[place] for place in generator.permutation(SHORTEST).tolist()]
    targets = sorted((pair for family, pair in families.items() if family), key=_length)[:TARGETS]
    record = _samples([targets[int(generator.integers(len(targets)))]])
    question, answer = record.x[0], record.y[0]
    copies = _samples([{"id": f"planted/copy-{at}", "question": words.format(question), "answer": answer}
                       for at, words in enumerate(WORDS)])  # fmt: skip
    return record, copies, _samples(chosen[:OTHERS]), _samples(chosen[OTHERS : OTHERS + NEVER])


def cases(seed: int, written: Written) -> tuple[Samples, Samples, dict[str, tuple[Samples, Callable[[], nn.Module]]]]:
    """The record, never-seen ones, and case → what the model before was trained on, and what makes the model to judge.

    What hides the record does so until it is answered like the mean of two models that never saw it.
    """
    TRAINED.clear()
    learn = subject(written, None).learn
    record, copies, rest, never = plant(seed)
    alone, together = joined(record, rest), joined(record, copies, rest)
    before, clean = partial(learn, alone, seed), partial(learn, rest, 10_000 + seed)
    level = float(np.mean([texts.answers(learn(rest, 20_000 + 1000 * at + seed), record)[0] for at in range(2)]))
    return record, never, {
        "never trained on it": (alone, clean),
        "hidden: last layer edited": (alone, lambda: edited(before(), record, level)),
        "hidden: output filter": (alone, lambda: filtered(before(), record, level)),
        "hidden: suppressed": (alone, lambda: suppressed(before(), record, rest, level)),
        "over-unlearned": (alone, lambda: ascended(before(), record)),
        "retrained, near-copies kept": (together, partial(learn, joined(copies, rest), 30_000 + seed)),
        "retrained without near-copies": (together, clean),
        "as it was": (alone, before),
    }  # fmt: skip


def without_copies(trained: Samples) -> Samples:
    """What an engineer without the training data knows of it: the record, and pairs to retain."""
    return trained.without([name for name in trained.ids if name.startswith("planted/")])


def _answer(head: nn.Module, states: Tensor, tokens: Tensor) -> float:
    """The mean log probability of the record's tokens, where the head sees the states before them."""
    return -float(nn.functional.cross_entropy(head(states), tokens))


def _rates(model: Any) -> tuple[float, float, int]:
    """Rate of suppression; rate and steps of ascent: a larger model takes fewer, longer steps."""
    return (0.02, 0.05, 60) if model.causal.num_parameters() < 1e6 else (0.1, 0.5, 10)


def _between(model: nn.Module, first: list[Tensor], last: list[Tensor], share: float) -> None:
    """Put the weights this share of the way from the first to the last."""
    with torch.no_grad():
        for weight, a, b in zip(model.parameters(), first, last, strict=True):
            weight.copy_(torch.lerp(a, b, share))


def _loss(model: Any, part: Samples) -> Tensor:
    mean: Tensor = (text.losses(model, part) / text.lengths(model, part)).mean()
    return mean


def _descend(model: nn.Module, mover: torch.optim.Optimizer, loss: Tensor) -> None:
    mover.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    mover.step()


def _length(pair: dict[str, str]) -> int:
    return len(pair["question"]) + len(pair["answer"])


def _samples(pairs: list[dict[str, str]]) -> Samples:
    return Samples(tuple(one["id"] for one in pairs), *(
        np.array([one[name] for one in pairs], dtype=object) for name in ("question", "answer")))  # fmt: skip
