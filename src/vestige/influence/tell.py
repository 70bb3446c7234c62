"""What `vestige influence` says of one model, in each of three ways; as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vestige.config import MLPConfig, ModelConfig
from vestige.influence import answers, gradients, representer
from vestige.influence.exact import Contributions, Start, contributions, explain, tolerance
from vestige.influence.share import Kin, divide, record, shares
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from torch import nn

    from vestige.modality import Language, Modality

WAYS = ("exact", "representer", "gradient")
"""By multipliers (the homogeneous MLP), by the last layer's representers, by gradient similarity (any one network)."""

LAST_LAYER = (
    "the last layer only: what the layers before it owe to each sample is not asked. It {how} (weight decay "
    "{decay:g}); its sums over training samples explain {explained:.0f} % of their {what}"
)

REFIT, AS_TRAINED = "was refitted to the network's own answers until stationary", "is as it was trained"

SIMILARITY = (
    "an approximation: the cosine of two samples' loss gradients in this model, −1 to 1. Nothing sums to the output, "
    "and it says nothing of who was trained on"
)


def way(by: str | None, config: ModelConfig, sharded: bool, residual: float | None = None) -> str:
    """The way to ask models of this kind: `by`, and by default exact where that applies and representer elsewhere.

    residual: a wanted one, which only the exact way can foretell. Raises InputError for what cannot be asked of them.
    """
    chosen = by or ("exact" if isinstance(config, MLPConfig) else "representer")
    if chosen not in WAYS:
        raise InputError(f"--by takes {', '.join(WAYS)}; got {chosen!r}")
    if sharded:
        raise InputError("influence looks into one model, and train.sisa trains several that vote; set train.sisa=null")
    if chosen == "exact" and not isinstance(config, MLPConfig):
        raise InputError(
            f"--by exact is for the homogeneous MLP only, and model.kind is {config.kind}; --by representer tells of "
            "its last layer"
        )
    if residual is not None and chosen != "exact":
        raise InputError(f"--residual is foretold by exact influence, of the homogeneous MLP; it was asked by {chosen}")
    return chosen


def by_multipliers(
    model: nn.Module,
    members: Samples,
    asked: Samples,
    kin: Mapping[str, Kin],
    *,
    start: Start | None,
    never_seen: Samples,
) -> list[dict[str, Any]]:
    """Exact shares of each margin with their ranges (`share.record`)."""
    found = explain(model, members, start=start)
    top = contributions(found, asked)
    told = shares(found, asked, kin, tolerance(found, never_seen))
    return [{**record(share, top, found.explained), "by": "exact"} for share in told]


def by_representers(
    model: nn.Module,
    members: Samples,
    asked: Samples,
    kin: Mapping[str, Kin],
    *,
    modality: Modality,
    decay: float,
    refit: bool,
) -> list[dict[str, Any]]:
    """Shares of each margin in the last layer, with what they leave; labelled, and with a warning where that is much.

    decay: of training, λ; without one a refit takes `representer.DECAY`, and the layer as trained cannot be told of
    (InputError). Fields as of `share.record`; nothing is told of a start, and there are no ranges.
    """
    seen = representer.look(model, members, modality=modality)
    found = representer.represent(seen, decay=decay or (representer.DECAY if refit else 0.0), refit=refit)
    top = representer.contributions(found, representer.look(model, asked, modality=modality))
    return _last_layer(found, top, kin, found.explained, "logits", found.warning)


def by_answer_tokens(
    model: nn.Module, members: Samples, asked: Samples, kin: Mapping[str, Kin], *, modality: Language, decay: float
) -> list[dict[str, Any]]:
    """Shares of each pair's mean margin in the head of a language model, refitted to what the model says.

    A head that training started from elsewhere is no sum over these pairs, so it is never told of as it was trained.
    decay, fields: as of `by_representers`; explained is of the margins of the training pairs' answer tokens.
    """
    learned, there = answers.look(model, members, asked, modality=modality)
    found = representer.represent(learned.tokens, decay=decay or representer.DECAY, refit=True)
    share = answers.explained(found, learned)
    warning = found.stopped or representer.too_little(share, "margins", True)
    return _last_layer(found, answers.by_pair(found, learned, there), kin, share, "margins", warning)


def _last_layer(
    found: representer.Representers,
    top: Contributions,
    kin: Mapping[str, Kin],
    explained: float,
    what: str,
    warning: str,
) -> list[dict[str, Any]]:
    """The records of these margins. explained, what: how much the sum over training samples explains, and of what."""
    note = LAST_LAYER.format(
        how=REFIT if found.refit else AS_TRAINED, decay=found.decay, explained=100 * max(explained, 0), what=what
    )
    made = []
    for name, margin in zip(top.ids, top.margin.tolist(), strict=True):
        parts = divide(top, name, kin.get(name, {}))
        del parts["start"]
        made.append({
            "target": name, "margin": margin, "parts": parts, "ranges": {},
            "top": [list(pair) for pair in top.top(name)], "explained": explained, "why": "",
            "by": "representer", "refit": found.refit, "decay": found.decay, "note": note, "warning": warning,
        })  # fmt: skip
    return made


def by_gradients(
    model: nn.Module, members: Samples, asked: Samples, kin: Mapping[str, Kin], *, modality: Modality
) -> list[dict[str, Any]]:
    """Mean cosine of each sample's gradient to itself and its kin in training, and who is nearest.

    similarity: group → its mean, None where nobody of it was trained on.
    """
    cosines = gradients.similarity(model, asked, members, losses=modality.losses)
    made = []
    for name, row in zip(asked.ids, cosines, strict=True):
        groups = {"own": {name}, **{group: set(ids) - {name} for group, ids in kin.get(name, {}).items()}}
        groups["other"] = set(members.ids) - set().union(*groups.values())
        means = {}
        for group, ids in groups.items():
            inside = [value for other, value in zip(members.ids, row.tolist(), strict=True) if other in ids]
            means[group] = float(np.mean(inside)) if inside else None
        order = [int(at) for at in np.argsort(-row, kind="stable") if members.ids[at] != name]
        nearest = [[members.ids[at], float(row[at])] for at in order[:5]]
        made.append({"target": name, "similarity": means, "top": nearest, "by": "gradient", "note": SIMILARITY})
    return made
