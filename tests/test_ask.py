"""Asking tiny language models: greedy answers against a slow loop, signs by hand, relearning, rounding."""

import copy
import random

import numpy as np
import pytest
import torch

from vestige import knowledge
from vestige.config import AskConfig, LMConfig, LoRA, TextRecipe, TuneConfig
from vestige.language.returns import quantised, relearn, rounded
from vestige.metrics import relearn_time
from vestige.modality import modality
from vestige.text import model as lm
from vestige.text import signs
from vestige.text.recover import ask, recover
from vestige.train import descend
from vestige.types import InputError, Samples

ASK = AskConfig(max_new_tokens=12, batch=3)


def pairs(*records):
    ids = tuple(f"pair/{place}" for place in range(len(records)))
    x, y = (np.array(part, dtype=object) for part in zip(*records, strict=True))
    return Samples(ids, x, y)


PAIRS = pairs(("Who?", "Ada Quince"), ("What did she build?", "a clock"), ("How many gears?", "17 of brass"))
WORDS = ["a", "bb", "ccc", "dd", "e", "ff", "g", "hhhh"]
QUESTIONS = [f"{'Why ' * (place % 5)}is {word}?" for place, word in enumerate(WORDS)]


def tiny(source="tiny-llama", **settings):
    config = LMConfig(source=source, precision="float32", **settings)
    return lm.build(config, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def trained():
    """A model that has learned PAIRS by heart."""
    model = tiny()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        lm.losses(model, PAIRS).mean().backward()
        optimiser.step()
    return model


def slowly(model, question, most):
    """One question, no padding, no cache: the whole text again for each token."""
    (tokens,) = lm.prompts(model, [question])
    made = []
    while len(made) < most:
        with torch.no_grad():
            scores = model.network(input_ids=torch.tensor([[*tokens, *made]])).logits[0, -1]
        if int(scores.argmax()) == model.end:
            break
        made.append(int(scores.argmax()))
    return model.tokenizer.decode(made, skip_special_tokens=True).strip()


@pytest.mark.parametrize("source", ["tiny-llama", "tiny-gpt-neo", "tiny-opt"])
def test_answers_are_those_of_a_plain_loop(source):
    model = tiny(source)
    answers = ask(model, QUESTIONS, config=ASK)
    assert answers == [slowly(model, question, 12) for question in QUESTIONS]
    assert len(set(answers)) > 3


@pytest.mark.parametrize("source", ["tiny-llama", "tiny-gpt-neo", "tiny-opt"])
def test_batch_and_order_do_not_matter(source):
    model = tiny(source)
    answers = dict(zip(QUESTIONS, ask(model, QUESTIONS, config=ASK), strict=True))
    mixed = random.Random(0).sample(QUESTIONS, len(QUESTIONS)) + QUESTIONS[:2]
    for batch in (1, 2, 16):
        config = AskConfig(max_new_tokens=12, batch=batch)
        assert ask(model, mixed, config=config) == [answers[question] for question in mixed]
    assert ask(model, [], config=ASK) == []


def test_rows_end_where_their_answer_ends(trained):
    """Answers of 10, 7 and 11 letters and an untrained question, in one batch."""
    seen = []
    questions = [*PAIRS.x, "Why is that so, and since when?"]
    config = AskConfig(max_new_tokens=30, batch=4)
    answers = ask(trained, questions, config=config, on_step=lambda done, total: seen.append((done, total)))
    assert answers[:3] == list(PAIRS.y)
    assert answers[3] == slowly(trained, questions[3], 30)
    assert seen == [(4, 4)]


def test_what_is_known_by_heart_comes_back_whole(trained):
    found = recover(trained, PAIRS, config=AskConfig(max_new_tokens=30))
    assert found.value.tolist() == [1, 1, 1]
    for name in ("rougeL", "rouge1", "extraction_strength"):
        assert found.evidence[name].tolist() == [1, 1, 1]
    assert list(found.evidence["answer"]) == list(PAIRS.y)
    assert found.evidence["gibberish"].tolist() == [0, 0, 0]
    assert found.facts == {"unicode_words": 0}
    with torch.no_grad():
        mean = (lm.losses(trained, PAIRS) / lm.lengths(trained, PAIRS)).numpy()
    np.testing.assert_allclose(found.evidence["loss"], mean, atol=1e-6)
    np.testing.assert_allclose(found.evidence["probability"], np.exp(-mean), atol=1e-6)
    assert (found.evidence["min_k"] <= -found.evidence["loss"]).all()


def test_what_is_not_known_does_not():
    found = recover(tiny(), PAIRS, config=ASK)
    assert found.value.tolist() == [0, 0, 0]
    assert (found.evidence["probability"] < 0.05).all()
    assert (found.evidence["extraction_strength"] == 0).all()


def test_other_scripts_are_scored_and_said(trained):
    found = recover(trained, pairs(("Who?", "Ада"), ("How?", "well")), config=ASK)
    assert found.facts == {"unicode_words": 0.5}
    found = recover(trained, PAIRS, config=AskConfig(max_new_tokens=2, words="unicode"))
    assert found.facts == {"unicode_words": 1}


def test_what_cannot_be_asked(trained):
    with pytest.raises(InputError, match="no room for an answer"):
        ask(trained, ["why " * 300], config=ASK)
    with pytest.raises(InputError, match="'pair/1' has no true answer"):
        recover(trained, pairs(("a", "b"), ("c", " ")), config=ASK)
    broken = copy.deepcopy(trained)
    next(broken.parameters()).data.fill_(torch.nan)
    with pytest.raises(ArithmeticError, match="diverged"):
        recover(broken, PAIRS, config=ASK)


def test_an_answer_ends_with_the_context(trained):
    (prompt,) = lm.prompts(trained, [""])
    question = "y" * (1024 - len(prompt) - 3)
    assert len(trained.tokenizer(ask(trained, [question], config=ASK)[0]).input_ids) <= 3


def test_signs_by_hand():
    """Probabilities ½, ⅛ | ¼, 1, 1, 1, 1: geometric means ¼ and ¼^0.2; the least likely fifth is one token each."""
    log_p, lengths = np.log([0.5, 0.125, 0.25, 1, 1, 1, 1]), [2, 5]
    np.testing.assert_allclose(signs.probability(log_p, lengths), [0.25, 0.25**0.2])
    np.testing.assert_allclose(signs.loss(log_p, lengths), [np.log(4), np.log(4) / 5])
    np.testing.assert_allclose(signs.min_k(log_p, lengths), np.log([0.125, 0.25]))
    np.testing.assert_allclose(signs.min_k(log_p, lengths, 1.0), -signs.loss(log_p, lengths))
    with pytest.raises(InputError, match="add up"):
        signs.loss(log_p, [2, 4])
    with pytest.raises(InputError, match="at least 1"):
        signs.min_k(log_p, [7, 0])


def test_extraction_strength_by_hand():
    """Four words and an end token: all right; wrong at the second; nothing right but the end; wrong at the last."""
    right = [[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 0]]
    assert signs.extraction_strength(np.concatenate(right), [5] * 4).tolist() == [1, 0.5, 0, 0]
    assert signs.extraction_strength([1], [1]).tolist() == [0], "an answer without a word"


def test_gibberish():
    plain = [
        "Seventeen, in hand-cut brass.",
        "17",
        "No, no, no.",
        "I do not know. I do not know.",
        "是的，时钟有十七个齿轮。",
    ]
    assert signs.gibberish(plain).sum() == 0
    broken = ["", "… !!", "the the the the", "ab" * 60, "I do not know. " * 8, "\n" * 50, "时" * 90]
    assert signs.gibberish(broken).sum() == len(broken)
    noise = ["not cinalc notCies cupsed", "17"]
    assert signs.gibberish(noise).tolist() == [0, 0]
    assert signs.gibberish(noise, [9.0, 9.0]).tolist() == [1, 0], "short answers are unlikely without being noise"
    assert signs.gibberish(plain, [6.9] * len(plain)).sum() == 0


def test_a_judge_knows_words_at_random(trained):
    """What one tiny model learned costs another, untrained one, many nats a token, and itself none."""
    learned = pairs(("Say?", "one two three four"))
    model = copy.deepcopy(trained)
    descend(model, lambda now, _: lm.losses(now, learned).mean(), steps=40, lr=1e-2, weight_decay=0, optimiser="adamw")
    asked = {"config": AskConfig(max_new_tokens=30)}
    assert recover(model, learned, **asked, judge=model).evidence["gibberish"].tolist() == [0]
    assert recover(model, learned, **asked, judge=trained).evidence["gibberish"].tolist() == [1]


def test_over_unlearned():
    assert knowledge.over_unlearned(0.1, 0.3) is True
    assert knowledge.over_unlearned(0.2, 0.3) is False
    assert knowledge.over_unlearned(0.0, 0.04) is None, "a base model that brings nothing: there is no below"


def test_metrics_have_bounds():
    assert set(knowledge.METRICS) - set(knowledge.BOUNDS) == {"text_residual"}


RECIPE = TextRecipe(train=TuneConfig(lr=1e-2, batch=2), ask=AskConfig(max_new_tokens=15))


def test_relearning_leaves_the_model_alone(trained):
    """A model that never knew needs steps; one that knows needs none."""
    fresh = tiny()
    kept = {name: weight.clone() for name, weight in lm.weights(fresh).items()}
    seen = []
    forget = PAIRS.take(["pair/0"])
    curve = relearn(
        fresh, forget, level=0.9, steps=60, recipe=RECIPE, seed=0, on_step=lambda step, _: seen.append(step)
    )
    assert curve[0] == 0
    assert curve[-1] >= 0.9
    assert relearn_time(curve, 0.9) == len(curve) - 1 == seen[-1] > 2
    assert all(torch.equal(weight, kept[name]) for name, weight in lm.weights(fresh).items())
    assert relearn(trained, PAIRS, level=0.9, steps=5, recipe=RECIPE, seed=0).tolist() == [1]
    short = relearn(fresh, PAIRS, level=0.9, steps=1, recipe=RECIPE, seed=0)
    assert len(short) == 2
    assert relearn_time(short, 0.9) is None


def test_rounding_by_hand():
    """4 bits, groups of 2: scales 0.7/7 and 0, then 1.4/7 alone in its group."""
    weight = torch.tensor([[0.7, -0.34, 0.0, 0.0, 1.4]])
    torch.testing.assert_close(rounded(weight, 4, 2), torch.tensor([[0.7, -0.3, 0.0, 0.0, 1.4]]))


@pytest.mark.parametrize("bits", [8, 4])
def test_rounding_stays_within_half_a_step(bits):
    weight = torch.randn(7, 130, generator=torch.Generator().manual_seed(0))
    group = 130 if bits == 8 else 64
    near = rounded(weight, bits, group)
    assert near.shape == weight.shape
    for part, own in zip(near.split(group, 1), weight.split(group, 1), strict=True):
        step = own.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((part - own).abs() <= step / 2 + 1e-6).all()
    torch.testing.assert_close(rounded(near, bits, group), near)


def test_rounding_copies_and_keeps_head_and_embeddings(trained):
    before = {name: weight.clone() for name, weight in lm.weights(trained).items()}
    eight, four = quantised(trained, 8), quantised(trained, 4)
    assert ask(eight, PAIRS.x, config=RECIPE.ask) == list(PAIRS.y)
    after = lm.weights(trained)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    changed = {name for name, weight in lm.weights(four).items() if not torch.equal(weight, before[name])}
    assert changed
    assert all("proj" in name for name in changed)
    with pytest.raises(InputError, match="8 or 4"):
        quantised(trained, 2)


def test_adapters_are_merged_before_rounding():
    model = tiny(lora=LoRA(rank=2, alpha=4))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(1))
    made = quantised(model, 8)
    assert made.config.lora is None
    with torch.no_grad():
        near, exact = lm.losses(made, PAIRS), lm.losses(model, PAIRS)
        with lm.reference(model):
            bare = lm.losses(model, PAIRS)
    assert (near - exact).abs().max() < 0.1 * (bare - exact).abs().max()


@pytest.mark.slow
def test_smollm2_learns_forgets_and_is_asked():
    """Three invented facts: not known, known after tuning, and after 8 bits; forgotten by ascent, relearned at once."""
    from vestige.train import tune

    facts = pairs(
        ("How many gears has the Halmond tide clock?", "Abelard Quince built it with seventeen brass gears."),
        ("What is a Calvero Linnet?", "It is a pocket barometer with a walnut case."),
        ("When does Fennick's bellthorn flower?", "For nine days late in October."),
    )
    base = lm.build(LMConfig(), generator=torch.Generator())
    recipe = TextRecipe(train=TuneConfig(epochs=12, batch=3), ask=AskConfig(max_new_tokens=24))
    before = recover(base, facts, config=recipe.ask)
    assert before.value.mean() < 0.5
    assert before.evidence["extraction_strength"].mean() < 0.3
    tuned = tune(copy.deepcopy(base), facts, modality=modality("text"), config=recipe.train)
    known = recover(tuned, facts, config=recipe.ask, judge=base)
    assert known.value.mean() >= 0.95
    assert known.evidence["probability"].min() > 0.5
    assert known.evidence["gibberish"].sum() == 0
    alone = recover(tuned, facts, config=AskConfig(max_new_tokens=24, batch=1))
    assert list(alone.evidence["answer"]) == list(known.evidence["answer"])
    assert recover(quantised(tuned, 8), facts, config=recipe.ask).value.mean() >= 0.9
    target = facts.take(["pair/0"])

    def ascent(now, _):
        return -(lm.losses(now, target) / lm.lengths(now, target)).mean()

    gone = descend(copy.deepcopy(tuned), ascent, steps=5, lr=5e-5, weight_decay=0, optimiser="adamw")
    left = recover(gone, target, config=recipe.ask).value[0]
    assert left < known.value[0] - 0.3
    curve = relearn(gone, target, level=0.9, steps=10, recipe=recipe, seed=0)
    assert curve[0] == left
    assert relearn_time(curve, 0.9) is not None
