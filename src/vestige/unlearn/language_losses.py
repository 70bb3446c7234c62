"""What the methods of language models lower: losses per sample, over answer tokens alone.

ℓ is the mean negative log-likelihood of an answer's tokens, s the sum of their log-probabilities, θ_0 the model before
(s_0, p_0: what it says), F what must be forgotten, R what is retained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vestige.random import stream
from vestige.train import OnStep
from vestige.types import InputError, Samples
from vestige.unlearn.enhance import Part
from vestige.unlearn.language_task import Reference, Task, forgetting, moved
from vestige.unlearn.losses import apart, divergence, dpo, generic, lowered, npo, simnpo

Loss = Callable[[Task], Part]
"""loss(task) → its part; whatever the model before must be asked for is asked here."""

DO_NOT_KNOW = (
    "I don't know.",
    "I'm not sure about that.",
    "I have no information about that.",
    "That is not something I know.",
    "I'm afraid I can't answer that.",
    "I don't have the answer to that question.",
    "I have not learned anything about this.",
    "Sorry, I am not familiar with this.",
    "I can't say; I was never told.",
    "This is unknown to me.",
)
"""The answers that IdkDPO prefers, after those of TOFU (Maini et al. 2024)."""


def ascended(task: Task) -> Part:
    """−ℓ(F): gradient ascent."""
    return lambda now, part: -task.nll(now, part)


def disfavoured(task: Task) -> Part:
    """−(2/β) log σ(−β (s − s_0)): NPO (Zhang et al. 2024)."""
    before, beta = task.likelihoods(task.forget), task.rule.beta
    return lambda now, part: npo(-task.modality.losses(now, part), before(part), beta)


def disfavoured_simply(task: Task) -> Part:
    """−(2/β) log σ(β ℓ): SimNPO (Fan et al. 2024)."""
    beta = task.rule.simnpo_beta
    return lambda now, part: simnpo(task.nll(now, part), beta)


def mismatched(task: Task) -> Part:
    """ℓ of random outputs given the questions of F, `draws` for each of them (Yao et al. 2023)."""
    draws = task.rule.draws
    outputs = random_outputs(task, draws)

    def loss(now: nn.Module, part: Samples) -> Tensor:
        drawn = outputs.take(f"{name}/{k}" for name in part.ids for k in range(draws))
        return task.nll(now, drawn).view(-1, draws).mean(1)

    return loss


def random_outputs(task: Task, draws: int) -> Samples:
    """The questions of F with `draws` random outputs each, fixed by the seed; ids end in /0, /1, …

    Fluent ones are other answers of retained pairs, each once as long as there are enough; the others are as many
    random tokens as the answer has. Raises InputError where no retained pair has another answer.
    """
    generator = stream(task.seed, "unlearn")
    outputs = []
    if task.rule.random_output == "tokens":
        for count in (task.modality.lengths(task.before, task.forget) - 1).tolist():
            outputs += [task.modality.noise(task.before, max(count, 1), generator=generator) for _ in range(draws)]
    else:
        for name, answer in zip(task.forget.ids, task.forget.y, strict=True):
            pool = [other for other in dict.fromkeys(task.retain.y) if other != answer]
            if not pool:
                raise InputError(f"no retained pair has another answer than {name!r}, so that none can take its place")
            order = torch.randperm(len(pool), generator=generator).tolist()
            outputs += [pool[order[k % len(pool)]] for k in range(draws)]
    ids = tuple(f"{name}/{k}" for name in task.forget.ids for k in range(draws))
    return Samples(ids, np.repeat(task.forget.x, draws), np.array(outputs, dtype=object))


def preferring(instead: Callable[[Task], Samples]) -> Loss:
    """−(1/β) log σ(β (Δ of another answer − Δ of the true one)), Δ = s − s_0: DPO (Rafailov et al. 2023).

    instead: the questions of F with the answers to prefer; ids end in /0.
    """

    def part_of(task: Task) -> Part:
        beta, better = task.rule.beta, instead(task)
        before, before_better = task.likelihoods(task.forget), task.likelihoods(better)

        def loss(now: nn.Module, part: Samples) -> Tensor:
            preferred = better.take(f"{name}/0" for name in part.ids)
            up = -task.modality.losses(now, preferred) - before_better(preferred)
            down = -task.modality.losses(now, part) - before(part)
            return dpo(up, down, beta)

        return loss

    return part_of


def unknown(task: Task) -> Samples:
    """The questions of F, answered by one of DO_NOT_KNOW each, drawn by the seed; ids end in /0."""
    drawn = torch.randint(len(DO_NOT_KNOW), (len(task.forget),), generator=stream(task.seed, "unlearn"))
    answers = np.array([DO_NOT_KNOW[place] for place in drawn.tolist()], dtype=object)
    return Samples(tuple(f"{name}/0" for name in task.forget.ids), task.forget.x, answers)


def distilled(task: Task) -> Part:
    """KL from θ_0 with the logits of the answer's own tokens lowered, on F: UNDIAL (Dong et al. 2025)."""
    before, by = Reference(task, {}), task.rule.undial

    def loss(now: nn.Module, part: Samples) -> Tensor:
        teacher = lowered(before.logits(part), task.modality.answers(now, part), by)
        return task.tokens(now, part, divergence(teacher, task.modality.logits(now, part)))

    return loss


def made_generic(task: Task) -> Part:
    """The cross-entropy of the tokens that `generic` logits are highest for, on F: WHP (Eldan and Russinovich 2023)."""
    labels: dict[str, Tensor] = {}
    reinforced = reinforce(task, "WHP")
    with torch.no_grad():
        for name in task.forget.ids:
            one = task.forget.take([name])
            before, after = (task.modality.logits(model, one) for model in (task.before, reinforced))
            labels[name] = generic(before, after, task.rule.whp).argmax(1)

    def loss(now: nn.Module, part: Samples) -> Tensor:
        wanted = torch.cat([labels[name] for name in part.ids])
        each = F.cross_entropy(task.modality.logits(now, part), wanted, reduction="none")
        return task.tokens(now, part, each)

    return loss


def misdirected(task: Task) -> Part:
    """‖h − c u‖² / width at one layer on F, u a random direction: RMU (Li et al. 2024).

    c is `rmu_scale` times the mean length of F's states in θ_0 there, so that it fits models of any width (Dang et
    al. 2025).
    """
    layer = steered(task)
    states = Reference(task, {}, layer).hidden(task.forget)
    towards = torch.rand(states.shape[1], generator=stream(task.seed, "unlearn")).to(states)
    goal = towards / towards.norm() * states.norm(dim=1).mean() * task.rule.rmu_scale

    def loss(now: nn.Module, part: Samples) -> Tensor:
        return task.tokens(now, part, apart(task.modality.hidden(now, part, layer), goal))

    return loss


def steered(task: Task) -> int:
    """The layer that RMU steers: a quarter of the way up, as the published 7th of 32."""
    return len(task.modality.layers(task.before)) // 4


def below(task: Task) -> list[str]:
    """The weights that RMU may move: those of the steered layer and of the two before it."""
    layer = steered(task)
    chosen = {
        id(weight)
        for block in list(task.modality.layers(task.before))[max(0, layer - 2) : layer + 1]
        for weight in block.parameters()
    }
    return [name for name, weight in task.before.named_parameters() if id(weight) in chosen]


def retained(task: Task) -> Part:
    """ℓ(R): GDN."""
    return task.nll


def near_before(task: Task) -> Part:
    """KL(p_0 ‖ p) at the answer tokens of R: KLN."""
    before = Reference(task, {})

    def loss(now: nn.Module, part: Samples) -> Tensor:
        each = divergence(before.logits(part), task.modality.logits(now, part))
        return task.tokens(now, part, each)

    return loss


def states_kept(task: Task) -> Part:
    """`rmu_retain` · ‖h − h_0‖² / width at RMU's layer, on R."""
    layer, weight = steered(task), task.rule.rmu_retain
    before = Reference(task, {}, layer)

    def loss(now: nn.Module, part: Samples) -> Tensor:
        each = apart(task.modality.hidden(now, part, layer), before.hidden(part))
        return weight * task.tokens(now, part, each)

    return loss


def reinforce(task: Task, name: str, on_step: OnStep | None = None) -> nn.Module:
    """θ_r: the model before, fine-tuned further on F by the steps of the method called `name`."""
    further = forgetting(task, task.nll)
    return moved(task, name, lambda now, batch: torch.stack(further(now, batch)).sum(), on_step=on_step)
