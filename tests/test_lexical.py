"""Lexical similarity by hand, and its limits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vestige.text import lexical
from vestige.text.lexical import letters, words


def test_by_hand():
    """
    "The cat sat" has words the, cat, sat, the cat, cat sat; "a cat sat" has a, cat, sat, a cat, cat sat: 3 of 7 shared.
    Letters of the first: " th", "the", "he " and " ca", "cat", "at ", " sa", "sat", of the second " a " and the same
    five: "at " counts once. 5 of 8 + 6 − 5 = 9 shared.
    """
    assert words("The cat sat") == {"the", "cat", "sat", "the cat", "cat sat"}
    assert letters("The cat sat") == {" th", "the", "he ", " ca", "cat", "at ", " sa", "sat"}
    assert letters("a cat sat") == {" a ", " ca", "cat", "at ", " sa", "sat"}
    found = lexical(["The cat sat"], ["a cat sat", "the cat sat.", "dogs run"])
    expected = torch.tensor([[(3 / 7 + 5 / 9) / 2, 1.0, 0.0]])
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32


def test_one_word_and_its_ending():
    """word and words: no word shared; " wo", "wor", "ord" of 4 + 5 − 3 = 6 letters shared: ¼."""
    torch.testing.assert_close(lexical(["word"], ["words"]), torch.tensor([[0.25]]))


def test_case_and_width_do_not_matter():
    assert lexical(["STRASSE ﬁve ＡＢ"], ["straße five ab"]).item() == 1


def test_texts_without_words():
    assert lexical(["?!", ""], ["?!", "", "a"]).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert lexical([], ["a"]).shape == (0, 1)
    assert lexical(["a"], []).shape == (1, 0)


TEXTS = st.lists(st.text(alphabet="aab bc.é\n", max_size=12), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_properties(queries, pool):
    """Symmetric; in [0, 1]; 1 for equal texts; each number depends on its two texts alone."""
    found = lexical(queries, pool)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(found, lexical(pool, queries).T)
    assert (lexical(queries, queries).diagonal() == 1).all()
    assert torch.equal(found[:1, -1:], lexical(queries[:1], pool[-1:]))


def test_against_sets():
    """The sparse product gives what plain sets give."""
    queries = ["Where does Ada live?", "In Norwick by the sea", "x"]
    pool = ["Ada lives in Norwick.", "Where did Ada Fenn live", "the the the sea"]

    def jaccard(a, b):
        return len(a & b) / len(a | b)

    for i, query in enumerate(queries):
        for j, other in enumerate(pool):
            by_hand = (jaccard(words(query), words(other)) + jaccard(letters(query), letters(other))) / 2
            assert lexical(queries, pool)[i, j].item() == pytest.approx(by_hand, abs=1e-6)
