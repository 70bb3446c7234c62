"""Representers of a language model's head: answer tokens over the words that answers use, summed by pair."""

import numpy as np
import pytest
import torch

from vestige import text
from vestige.config import LMConfig
from vestige.influence import answers, representer
from vestige.types import Samples


def pairs(*answered):
    names = tuple(f"p{place}" for place in range(len(answered)))
    asked = [f"What is said {name}?" for name in names]
    return Samples(names, np.array(asked, dtype=object), np.array(answered, dtype=object))


@pytest.fixture(scope="module")
def seen():
    model = text.build(LMConfig(source="tiny-llama"), generator=torch.Generator().manual_seed(0))
    members, asked = pairs("red lamp", "a blue door", "red lamps"), pairs("red lamp")
    return model, members, asked, answers.look(model, members, asked, modality=text)


def test_merging_words_that_no_answer_uses_leaves_every_tokens_probability(seen):
    model, members, _, (learned, _) = seen
    with torch.no_grad():
        p = text.logits(model, members).double().softmax(1)
    whole = p[torch.arange(len(p)), text.answers(model, members)].numpy()
    ours = representer.softmax(learned.tokens.logits)[np.arange(len(p)), learned.tokens.answers]
    np.testing.assert_allclose(ours, whole, rtol=1e-4)
    assert learned.tokens.logits.shape[1] == len(set(text.answers(model, members).tolist())) + 1


def test_a_pair_is_the_sum_of_its_tokens_and_counts_once(seen):
    model, members, _, (learned, _) = seen
    lengths = text.lengths(model, members).tolist()
    values = np.arange(float(sum(lengths)))
    by_hand = [values[sum(lengths[:i]) : sum(lengths[: i + 1])].sum() for i in range(3)]
    np.testing.assert_array_equal(learned.summed(values), by_hand)
    shares = learned.summed(learned.tokens.weight)
    np.testing.assert_allclose(shares, shares[0])


def test_parts_are_those_of_a_refitted_head(seen):
    _, _, asked, (learned, there) = seen
    found = representer.represent(learned.tokens, decay=0.01, refit=True)
    top = answers.by_pair(found, learned, there)
    assert (top.ids, top.of) == (asked.ids, learned.pairs)
    W = found.alpha.T @ learned.tokens.inputs  # the refitted head
    by_hand = (there.tokens.toward * (there.tokens.inputs @ W.T)).sum(1).mean()
    assert top.parts.sum() == pytest.approx(by_hand)
    assert top.margin[0] == pytest.approx(there.tokens.margin.mean())
    assert answers.explained(found, learned) <= 1
    assert top.top("p0", 1)[0][0] != "p0"


def test_less_decay_explains_more(seen):
    *_, (learned, _) = seen
    shares = [
        answers.explained(representer.represent(learned.tokens, decay=decay, refit=True), learned)
        for decay in (1.0, 0.01)
    ]
    assert shares[1] > shares[0]
