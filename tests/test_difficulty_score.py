"""The ground truth of difficulty, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.difficulty import score
from vestige.types import InputError

share = st.floats(0, 1)


def test_erasure_by_hand():
    assert score.erasure(0.6, 0.9, 0.5) == pytest.approx(0.75)
    assert score.erasure(0.3, 0.9, 0.5) == pytest.approx(0.5)  # too far is as bad as too little
    assert score.erasure(0.9, 0.9, 0.5) == 0
    assert score.erasure(0.0, 0.6, 0.5) == 0  # further away than before
    assert score.erasure(0.5, 0.9, 0.5) == 1


def test_a_gap_below_the_floor_counts_as_the_floor():
    assert score.erasure(0.52, 0.51, 0.5) == pytest.approx(1 - 0.02 / 0.05)
    assert score.erasure([0.51, 0.9], [0.51, 0.51], 0.5).tolist() == pytest.approx([0.8, 0.0])


def test_utility_and_privacy_by_hand():
    assert score.utility(0.9, 0.8) == pytest.approx(0.8)
    assert score.utility(1.2, 1.1) == 1
    assert score.privacy([0.5, 0.75, 0.0, 1.0]).tolist() == [1, 0.5, 0, 0]


def test_the_score_by_hand():
    found = score.score(0.9, 0.6, 0.5, test=0.5, retained=1.0)
    assert (found.erasure, found.utility, found.h) == pytest.approx((0.75, 0.5, 0.6))
    assert found.difficulty == pytest.approx(0.4)
    assert found.privacy is None
    with_privacy = score.score(0.9, 0.6, 0.5, test=0.5, retained=1.0, auc=0.75)
    assert with_privacy.h == pytest.approx(3 / (1 / 0.75 + 1 / 0.5 + 1 / 0.5))


def test_a_part_that_is_zero_makes_the_score_zero():
    assert score.harmonic([0.0, 0.0, 0.5], [0.0, 1.0, 1.0]).tolist() == pytest.approx([0, 0, 2 / 3])


def test_nothing_to_erase_is_flagged_though_it_would_look_easy():
    still = score.score([0.99, 0.99], [0.99, 0.99], [0.97, 0.90], test=1.0, retained=1.0)
    assert still.erasable.tolist() == [False, True]
    assert still.difficulty[0] < 0.5 < still.difficulty[1]  # the first only kept still
    assert score.erasable([0.55, 0.549], 0.5).tolist() == [True, False]


@given(share, share, share, share, share)
def test_the_score_lies_in_its_range_and_between_its_parts(before, after, reference, test, retained):
    found = score.score(before, after, reference, test=test, retained=retained)
    least, most = sorted((float(found.erasure), float(found.utility)))
    assert 0 <= float(found.h) <= 1
    assert least - 1e-9 <= float(found.h) <= most + 1e-9


@given(share, share, share)
def test_erasure_sees_distance_to_the_reference_and_not_its_side(before, after, reference):
    assert score.erasure(after, before, reference) == pytest.approx(score.erasure(1 - after, 1 - before, 1 - reference))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(InputError, match=r"must lie in 0…1"):
        score.erasure(wrong, 0.9, 0.5)


def test_a_ratio_to_nothing_is_refused():
    with pytest.raises(InputError, match="was an accuracy before unlearning 0"):
        score.utility(np.inf, 1.0)
