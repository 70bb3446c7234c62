"""Language methods: losses by hand, one contract for all of them, and each one's meaning, on tiny models."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vestige import text
from vestige.config import LMConfig, LoRA, TextRecipe, TextSteps, TextUnlearnConfig, TuneConfig
from vestige.random import stream
from vestige.text.model import LanguageModel
from vestige.train import Batch, cycled, descend, tune
from vestige.types import InputError, Samples, Scores
from vestige.unlearn import LANGUAGE_METHODS
from vestige.unlearn.language import learn
from vestige.unlearn.language_losses import (
    ascended,
    disfavoured,
    distilled,
    mismatched,
    near_before,
    random_outputs,
    retained,
    unknown,
)  # fmt: skip
from vestige.unlearn.language_task import Reference, Task, copied
from vestige.unlearn.losses import apart, dpo, generic, lowered, npo, per_sample, simnpo

QUESTIONS = (
    "Who built the clock?",
    "Where is it?",
    "How many gears has it?",
    "What drives it?",
    "Who owns it now?",
    "Why?",
)
ANSWERS = ("Ada Quince", "in Tarn", "seventeen of brass", "a falling stone", "the town", "it was asked for")
CONFIG = LMConfig(source="tiny-llama", precision="float32", chat=False)
RECIPE = TextRecipe(
    model=CONFIG,
    train=TuneConfig(epochs=60, lr=1e-2, batch=3),
    unlearn=TextUnlearnConfig(steps=3, lr=1e-3, retain_batch=2, forget_batch=2),
)
SEEDLESS = {"GA", "NPO", "SimNPO", "UNDIAL", "WHP", "TV"}
"""Methods that look at all that must be forgotten, and at nothing else: no draw."""
RAISE_NOTHING = {"retrain", "finetune"}


def pairs(places=range(6)):
    return Samples(
        tuple(f"pair/{place}" for place in places),
        np.array([QUESTIONS[place] for place in places], dtype=object),
        np.array([ANSWERS[place] for place in places], dtype=object),
    )


FORGET, RETAIN = pairs([0, 3]), pairs([1, 2, 4, 5])


@pytest.fixture(scope="module")
def before():
    """A tiny model that has learned all pairs."""
    return learn(pairs(), modality=text, config=RECIPE, seed=0)


def setting(**unlearn):
    return RECIPE.model_copy(update={"unlearn": RECIPE.unlearn.model_copy(update=unlearn)})


def task_of(model, config=RECIPE, forget=FORGET, retain=RETAIN, modality=text):
    return Task(model, forget, retain, modality, config, 0)


def apply(name, model, config=RECIPE, seed=0, modality=text, **options):
    return LANGUAGE_METHODS[name](model, FORGET, RETAIN, modality=modality, config=config, seed=seed, **options)


def same(one, other):
    theirs = dict(other.named_parameters())
    return all(torch.equal(weight, theirs[name]) for name, weight in one.named_parameters())


def gradient(model, value):
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, [*model.parameters()])])


def disturbed(model):
    """A copy whose weights have moved a little: a model on its way."""
    model, draw = copied(model), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=draw))
    return model


# Pure losses by hand.


def test_npo_starts_at_two_over_beta_log_two_and_ends_at_nothing():
    start = npo(torch.tensor([-7.0]), torch.tensor([-7.0]), 0.1)
    assert start.item() == pytest.approx(2 / 0.1 * math.log(2)) == pytest.approx(13.86, abs=0.005)
    # −(2/0.1) log σ(0.1 · 10) = 20 log(1 + 1/e) = 6.265
    assert npo(torch.tensor([-17.0]), torch.tensor([-7.0]), 0.1).item() == pytest.approx(6.265, abs=1e-3)
    assert npo(torch.tensor([-1e4]), torch.tensor([-7.0]), 0.1).item() == pytest.approx(0, abs=1e-6)


def test_simnpo_is_npo_of_the_loss_per_token_without_a_reference():
    # −(2/2) log σ(2·3 − 1) = log(1 + e⁻⁵) = 0.006715
    assert simnpo(torch.tensor([3.0]), 2.0, 1.0).item() == pytest.approx(0.006715, abs=1e-6)
    assert simnpo(torch.tensor([3.0]), 2.0).item() == npo(torch.tensor([-3.0]), torch.zeros(1), 2.0).item()


def test_dpo_by_hand():
    # −10 log σ(0.1 (1 − −1)) = 10 log(1 + e^−0.2) = 5.981
    assert dpo(torch.tensor([1.0]), torch.tensor([-1.0]), 0.1).item() == pytest.approx(5.981, abs=1e-3)
    assert dpo(torch.zeros(1), torch.zeros(1), 0.1).item() == pytest.approx(10 * math.log(2))


def test_the_teachers_of_undial_and_whp_by_hand():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    assert lowered(logits, torch.tensor([2]), 10).tolist() == [[1, 2, -7]]
    assert generic(logits, torch.tensor([[0.0, 2.5, 5.0]]), 5).tolist() == [[1, -0.5, -7]]
    assert apart(torch.tensor([[1.0, 3.0]]), torch.tensor([0.0, 1.0])).tolist() == [2.5]


def test_a_mean_per_sample_does_not_count_tokens_of_others():
    assert per_sample(torch.tensor([1.0, 3.0, 10.0]), torch.tensor([2, 1])).tolist() == [2, 10]


# The same losses of models.


def test_npo_of_a_model_starts_at_its_value_and_its_gradient_becomes_that_of_ascent(before):
    now = copied(before)
    assert disfavoured(task_of(before))(now, FORGET).tolist() == pytest.approx([13.863] * 2, abs=1e-3)
    now = disturbed(before)
    wanted = gradient(now, -text.losses(now, FORGET).mean())
    gaps = []
    for beta in (10, 1e-5):
        part = disfavoured(task_of(before, setting(beta=beta)))
        gaps.append(float((gradient(now, part(now, FORGET).mean()) - wanted).norm() / wanted.norm()))
    assert gaps[1] < 1e-3 < 0.1 < gaps[0]


def test_kl_is_nothing_at_the_start_and_counts_answer_tokens_alone_afterwards(before):
    part, now = near_before(task_of(before)), disturbed(before)
    assert part(copied(before), RETAIN).abs().max() < 1e-6
    one = RETAIN.take(["pair/2"])
    p, q = (F.log_softmax(text.logits(model, one), 1) for model in (before, now))
    by_hand = (p.exp() * (p - q)).sum() / int(text.lengths(now, one))
    assert part(now, RETAIN)[1].item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert by_hand > 1e-3


@pytest.mark.parametrize("make", [ascended, disfavoured, mismatched, distilled], ids=lambda make: make.__name__)
def test_a_loss_of_what_is_forgotten_depends_on_each_sample_alone(make, before):
    part, now = make(task_of(before)), disturbed(before)
    together = part(now, FORGET)
    alone = torch.cat([part(now, FORGET.take([name])) for name in FORGET.ids])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert torch.allclose(together.flip(0), part(now, FORGET.take(FORGET.ids[::-1])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [retained, near_before], ids=lambda make: make.__name__)
def test_a_loss_of_what_is_retained_depends_on_each_sample_alone(make, before):
    part, now = make(task_of(before)), disturbed(before)
    alone = torch.cat([part(now, RETAIN.take([name])) for name in RETAIN.ids])
    assert torch.allclose(part(now, RETAIN), alone, rtol=1e-4, atol=1e-5)


def test_prompt_tokens_are_not_learned(before):
    """The loss is that of the answer's tokens given the prompt: by hand, from the network's own scores."""
    one, now = FORGET.take(["pair/0"]), disturbed(before)
    (prompt,), answer = text.prompts(now, one.x), text.answers(now, one)
    tokens = torch.cat([torch.tensor(prompt), answer])[None]
    scores = now.network(input_ids=tokens).logits[0, len(prompt) - 1 : -1].log_softmax(1)
    by_hand = scores.gather(1, answer[:, None]).mean()
    assert ascended(task_of(before))(now, one).item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_undial_lowers_the_answers_own_tokens_and_is_masked_to_them(before):
    one, now = FORGET.take(["pair/0"]), disturbed(before)
    teacher = text.logits(before, one).clone()
    for row, token in enumerate(text.answers(now, one).tolist()):
        teacher[row, token] -= 10
    p, q = teacher.log_softmax(1), text.logits(now, one).log_softmax(1)
    by_hand = (p.exp() * (p - q)).sum(1).mean()
    assert distilled(task_of(before))(now, FORGET)[0].item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_what_the_model_before_sees_is_asked_once(before):
    class Counting:
        """The modality, counting the samples whose states are asked for."""

        def __init__(self):
            self.asked = []

        def __getattr__(self, name):
            return getattr(text, name)

        def hidden(self, model, samples, layer=None):
            self.asked += samples.ids
            return text.hidden(model, samples, layer)

    counting = Counting()
    reference = Reference(task_of(before, modality=counting), {})
    first = reference.logits(RETAIN.take(["pair/1", "pair/2"]))
    again = reference.logits(RETAIN.take(["pair/2", "pair/4", "pair/1"]))
    assert counting.asked == ["pair/1", "pair/2", "pair/4"]
    here, there = (int(text.lengths(before, RETAIN.take([name]))) for name in ("pair/1", "pair/2"))
    assert torch.equal(first[here:], again[:there])
    assert torch.equal(first[:here], again[-here:])


def test_random_outputs_are_other_answers_drawn_by_the_seed(before):
    draws = random_outputs(task_of(before), 3)
    assert len(draws) == 6
    assert draws.x.tolist() == [QUESTIONS[0]] * 3 + [QUESTIONS[3]] * 3
    assert set(draws.y) <= set(RETAIN.y)
    assert len(set(draws.y[:3])) == 3
    noise = random_outputs(task_of(before, setting(random_output="tokens")), 3)
    assert not set(noise.y) & set(ANSWERS)
    with pytest.raises(InputError, match="no retained pair has another answer"):
        random_outputs(task_of(before, retain=pairs([])), 3)


# The contract.


@pytest.mark.parametrize("name", LANGUAGE_METHODS)
def test_contract(name, before):
    kept, seen = copy.deepcopy(before.state_dict()), []
    after = apply(name, before, on_step=lambda step, value: seen.append(float(value)))
    assert all(torch.equal(kept[key], value) for key, value in before.state_dict().items())
    assert isinstance(after, LanguageModel)
    assert not same(after, before)
    assert not after.training
    assert all(weight.requires_grad for weight in after.parameters())
    assert {id(weight) for weight in after.parameters()}.isdisjoint(id(weight) for weight in before.parameters())
    assert len(seen) == (RECIPE.train.epochs if name == "retrain" else 3)
    assert all(map(math.isfinite, seen))
    assert same(after, apply(name, before))
    assert same(after, apply(name, before, seed=1)) == (name in SEEDLESS)


@pytest.mark.parametrize("name", sorted(set(LANGUAGE_METHODS) - RAISE_NOTHING))
def test_methods_make_the_answer_less_likely(name, before):
    steps = setting(steps=30, lr=3e-3)
    after = apply(name, before, steps)
    with torch.no_grad():
        assert text.losses(after, FORGET).mean() > 2 * text.losses(before, FORGET).mean()


def test_there_must_be_something_to_forget_and_to_retain(before):
    for forget, retain, words in ((pairs([]), RETAIN, "no pair to forget"), (FORGET, pairs([]), "retained pairs")):
        with pytest.raises(InputError, match=words):
            LANGUAGE_METHODS["GA_GDN"](before, forget, retain, modality=text, config=RECIPE, seed=0)
    LANGUAGE_METHODS["GA"](before, FORGET, pairs([]), modality=text, config=RECIPE, seed=0)


def test_a_method_may_have_steps_and_a_rate_of_its_own(before):
    config = setting(methods={"GA": TextSteps(steps=2, lr=1e-4)})
    seen = []
    own = apply("GA", before, config, on_step=lambda step, value: seen.append(step))
    assert len(seen) == 2
    assert same(own, apply("GA", before, setting(steps=2, lr=1e-4)))


# Single methods.


def test_tv_is_the_identity_at_alpha_0_and_linear_in_alpha(before):
    assert same(apply("TV", before, setting(alpha=0.0)), before)
    start = dict(before.named_parameters())
    one, three = (dict(apply("TV", before, setting(alpha=alpha)).named_parameters()) for alpha in (1.0, 3.0))
    for name, weight in start.items():
        assert torch.allclose(three[name] - weight, 3 * (one[name] - weight), atol=1e-6)


def test_tv_goes_the_way_back_that_reinforcing_went(before):
    on_forget = cycled({"forget": 2}, {"forget": 2}, stream(0, "unlearn-order"))
    further = descend(
        copied(before),
        lambda now, batch: (text.losses(now, FORGET) / text.lengths(now, FORGET)).mean(),
        steps=3, lr=1e-3, weight_decay=0, batches=on_forget, optimiser="adamw", clip=1.0,
    )  # fmt: skip
    start, back = dict(before.named_parameters()), dict(apply("TV", before).named_parameters())
    for name, weight in further.named_parameters():
        assert torch.allclose(back[name], 2 * start[name] - weight, atol=1e-5)


def test_rmu_moves_the_steered_layer_and_those_below_it_only(before):
    after = apply("RMU", before, setting(steps=3))
    moved = {
        name.split(".layers.")[1].split(".")[0] if ".layers." in name else name
        for (name, weight), old in zip(after.named_parameters(), before.parameters(), strict=True)
        if not torch.equal(weight, old)
    }
    assert moved == {"0"}


def test_idk_answers_are_said_more_after_idkdpo(before):
    wanted = unknown(task_of(before))
    after = apply("IdkDPO", before, setting(steps=10, lr=3e-3))
    with torch.no_grad():
        assert text.losses(after, wanted).sum() < text.losses(before, wanted).sum()


def test_npo_leaves_retained_pairs_nearer_to_what_they_were_with_kln(before):
    plain, near = (apply(name, before, setting(steps=10, lr=3e-3)) for name in ("NPO", "NPO_KLN"))
    part = near_before(task_of(before))
    with torch.no_grad():
        assert part(near, RETAIN).mean() < part(plain, RETAIN).mean()


@pytest.mark.parametrize("source", ["tiny-gpt-neo", "tiny-opt"])
@pytest.mark.parametrize("name", ["NPO_KLN", "RMU"])
def test_methods_work_on_other_architectures(name, source):
    config = RECIPE.model_copy(update={"model": LMConfig(source=source, precision="float32")})
    model = text.build(config.model, generator=stream(0, "train"))
    assert not same(apply(name, model, config), model)


# Low-rank adapters.


@pytest.fixture(scope="module")
def adapted():
    """A tiny model whose adapters have learned the pairs; the recipe with it."""
    config = RECIPE.model_copy(update={"model": CONFIG.model_copy(update={"lora": LoRA(rank=4, alpha=8)})})
    config = config.model_copy(update={"train": TuneConfig(epochs=5, lr=1e-2, batch=3)})
    return learn(pairs(), modality=text, config=config, seed=0), config


@pytest.mark.parametrize("name", ["NPO_KLN", "TV", "RMU", "WHP"])
def test_with_adapters_nothing_else_moves_and_the_base_is_shared(name, adapted):
    model, config = adapted
    kept = copy.deepcopy(model.state_dict())
    after = dict(apply(name, model, config).named_parameters())
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
    moved = set()
    for key, weight in model.named_parameters():
        assert weight.requires_grad == ("lora_" in key) == after[key].requires_grad
        assert (after[key] is weight) == (not weight.requires_grad)
        if not torch.equal(after[key], weight):
            moved.add(key)
    assert moved
    assert all("lora_" in key for key in moved)


def test_the_reference_is_the_model_before_not_its_base(adapted):
    """NPO starts at (2/β) log 2 whatever the adapters have learned; beside the base it would not."""
    model, config = adapted
    assert disfavoured(task_of(model, config))(copied(model), FORGET).tolist() == pytest.approx([13.863] * 2, abs=1e-3)
    assert near_before(task_of(model, config))(copied(model), RETAIN).abs().max() < 1e-6
    with torch.no_grad(), text.reference(model) as base:
        far = text.losses(base, FORGET)
    assert (far > text.losses(model, FORGET) + 1).all()


# Stop rule and utility budget.


class Foretold:
    """The modality, with recall of F and of retained pairs after 0, 1, 2 … steps as told here."""

    def __init__(self, forget, retain):
        self.told = {"forget": list(forget), "retain": list(retain)}

    def __getattr__(self, name):
        return getattr(text, name)

    def recover(self, model, samples, *, config):
        kind = "forget" if samples.ids[0] in FORGET.ids else "retain"
        return Scores(samples.ids, np.full(len(samples), self.told[kind].pop(0)), {})


def steps_of(name, before, modality, **unlearn):
    taken = []
    after = apply(
        name, before, setting(steps=5, **unlearn), modality=modality, on_step=lambda step, value: taken.append(step)
    )
    return len(taken), after


def test_no_model_is_asked_and_all_steps_are_taken_without_a_rule(before):
    assert steps_of("GA", before, Foretold([], []))[0] == 5


def test_the_first_checkpoint_where_recall_has_fallen_far_enough_is_returned(before):
    steps, after = steps_of("GA", before, Foretold([0.9, 0.5, 0.2, 0.1], []), until=0.2)
    assert steps == 2
    assert same(after, apply("GA", before, setting(steps=2)))
    steps, _ = steps_of("GA", before, Foretold([0.9, 0.5, 0.2], []), until=0.2, check_every=2)
    assert steps == 4
    steps, after = steps_of("GA", before, Foretold([0.1], []), until=0.2)
    assert steps == 0
    assert same(after, before)


def test_the_last_checkpoint_within_the_budget_is_returned(before):
    steps, after = steps_of("GA", before, Foretold([], [1.0, 0.9, 0.85, 0.7]), utility=0.2)
    assert steps == 3
    assert same(after, apply("GA", before, setting(steps=2)))
    _, after = steps_of("GA", before, Foretold([], [1.0, 0.5]), utility=0.2)
    assert same(after, before)
    _, after = steps_of("RMU", before, Foretold([], [1.0, 0.9, 0.5]), utility=0.2)
    assert same(after, apply("RMU", before, setting(steps=1)))


def test_the_end_is_checked_even_where_no_check_is_due(before):
    _, after = steps_of("GA", before, Foretold([], [1.0, 0.9, 0.1]), utility=0.2, check_every=3)
    assert same(after, apply("GA", before, setting(steps=3)))


def test_tv_stops_on_its_way_back(before):
    _, after = steps_of("TV", before, Foretold([0.9, 0.5, 0.1], []), until=0.2, alpha=5.0)
    assert torch.allclose(
        torch.cat([weight.flatten() for weight in after.parameters()]),
        torch.cat([weight.flatten() for weight in apply("TV", before, setting(steps=5, alpha=2.0)).parameters()]),
        atol=1e-6,
    )


def test_the_rule_asks_real_models(before):
    config = setting(steps=40, lr=3e-3, until=0.3, check_every=5)
    taken = []
    after = apply("GA", before, config, on_step=lambda step, value: taken.append(step))
    assert text.recover(before, FORGET, config=config.ask).value.mean() > 0.3
    assert text.recover(after, FORGET, config=config.ask).value.mean() <= 0.3
    assert len(taken) < 40


# Tuning.


def test_tuning_teaches_the_answers(before):
    assert text.recover(before, pairs(), config=RECIPE.ask).value.mean() == 1


def test_accumulation_gives_the_same_gradient():
    start = text.build(CONFIG, generator=stream(0, "train"))
    once = TuneConfig(epochs=2, batch=5, lr=1e-2)
    one, five = (
        tune(copied(start), pairs(), modality=text, config=once.model_copy(update={"accumulate": parts}))
        for parts in (1, 3)
    )
    for mine, other in zip(one.parameters(), five.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=2e-4)


def test_the_pieces_of_a_batch_weigh_what_they_hold():
    linear, rows = nn.Linear(1, 1, bias=False), torch.arange(5)
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])
    grads = []
    for parts in (1, 2, 9):
        model = copy.deepcopy(linear)
        descend(
            model, lambda now, batch: (now.weight * values[batch.retain]).mean(), steps=1, lr=1e-3, weight_decay=0,
            batches=lambda step: (Batch(step, rows),), accumulate=parts,
            watch=lambda taken, now: grads.append(now.weight.grad.item()),
        )  # fmt: skip
    assert grads == pytest.approx([4.0] * 3)


def test_the_rate_rises_linearly_and_stays():
    """With SGD on a loss of slope 1, weights move by the rate: 1/3, 2/3, 1, 1 of it after two steps of warm-up."""
    model, path = nn.Linear(1, 1, bias=False), []
    nn.init.zeros_(model.weight)
    descend(
        model, lambda now, batch: now.weight.sum(), steps=4, lr=3.0, weight_decay=0, warmup=2,
        stop=lambda step, now: bool(path.append(now.weight.item())),
    )  # fmt: skip
    assert path == pytest.approx([-1, -3, -6, -9])


def test_long_gradients_are_clipped():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    descend(model, lambda now, batch: 50 * now.weight.sum(), steps=1, lr=1.0, weight_decay=0, clip=1.0)
    assert model.weight.item() == pytest.approx(-1, rel=1e-4)


def test_batches_go_round_each_set():
    draw = cycled({"retain": 5, "forget": 2}, {"retain": 2, "forget": 4}, torch.Generator().manual_seed(0))
    batches = [batch for step in range(3) for batch in draw(step)]
    assert sorted(torch.cat([batch.retain for batch in batches]).tolist()) == [0, 1, 2, 3, 4]
    assert all(sorted(batch.forget.tolist()) == [0, 1] for batch in batches)
