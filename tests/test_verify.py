"""Hand-worked numbers, limits, and an independent reference."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from vestige import verify
from vestige.types import InputError, Scores, Split


def test_mean_interval_by_hand():
    """Mean 2, sd 1, n 3: half-width t(0.975, 2)·1/√3 = 4.3027/1.7321 = 2.4841."""
    mean, low, high = verify.mean_interval([1, 2, 3])
    assert mean == 2
    assert low == pytest.approx(2 - 2.4841, abs=1e-4)
    assert high == pytest.approx(2 + 2.4841, abs=1e-4)
    assert verify.mean_interval([1, 2, 3], (0, 4)) == (2, 0, 4), "a bounded metric's interval stays in its bounds"


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert verify.mean_interval([0.5]) == (0.5, None, None)
    with pytest.raises(InputError, match="mean of no values"):
        verify.mean_interval([])


def test_wilson_by_hand():
    """8 of 10: (0.8 + 1.9208/10) / (1 + 3.8415/10) ± …: [0.490, 0.943]."""
    share, low, high = verify.share_interval(8, 10)
    assert (share, round(low, 3), round(high, 3)) == (0.8, 0.490, 0.943)


def test_auc_by_hand_and_by_scipy():
    """Members 3, 2 against null 2, 1: wins 1, 1, ½, 1 of 4 = 0.875."""
    assert verify.auc(np.array([3.0, 2.0]), np.array([2.0, 1.0])) == 0.875
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 40).round(1), rng.normal(0, 1, 70).round(1)
    assert verify.auc(a, b) == pytest.approx(mannwhitneyu(a, b).statistic / (40 * 70))
    value, low, high = verify.auc_interval(a, b)
    assert low < value < high


def test_tpr_at_fpr_by_hand():
    """Null 1…100: at 1 % one may exceed, so the threshold is 99; members 99, 99.5, 200 → 2 of 3 exceed it."""
    null = np.arange(1, 101, dtype=float)
    assert verify.tpr_at_fpr(np.array([99.0, 99.5, 200.0]), null) == pytest.approx(2 / 3)
    assert verify.tpr_at_fpr(null, null) == 0.01


def test_residual():
    assert verify.residual(0.9, 0.9, 0.5) == 1
    assert verify.residual(0.5, 0.9, 0.5) == 0
    assert verify.residual(0.5, 0.52, 0.5) is None, "nothing to forget: undefined, not 0"


@pytest.fixture
def case():
    """Two targets with one similar and one held-out copy each; NCC as named by the ids."""
    split = Split(
        target=("t0", "t1"),
        similar={"t0": ("s0",), "t1": ("s1",)},
        other=("o0", "o1"),
        near={"t0": ("o0",), "t1": ("o0", "o1")},
        refill=("r0", "r1"),
        held_out={"t0": ("h0",), "t1": ("h1",)},
        never_seen=("n0", "n1", "m0", "m1"),
        test=("x",),
    )
    ncc = {"t0": 0.9, "t1": 0.7, "s0": 0.8, "s1": 0.6, "o0": 0.5, "o1": 0.4, "h0": 0.3, "h1": 0.65}
    ncc |= {"n0": 0.1, "n1": 0.75, "m0": 0.2, "m1": 0.3}
    labels = {name: int(name[1]) for name in ncc}
    scores = Scores(
        tuple(ncc), np.array(list(ncc.values())), {"ncc": np.array(list(ncc.values())), "ssim": np.zeros(len(ncc)),
        "outside": 1 - np.array(list(ncc.values()))}, {"unexplained": 0.1, "found": 2.0},
    )  # fmt: skip
    model = {
        "trained_on": ["s1", "o0", "o1"],
        "removed": ["t0", "t1", "s0"],
        "widened": {"t0": ["s0"], "t1": ["o9"]},
        "accuracy": {"test": {"right": 3, "n": 4}},
    }
    found = verify.measure(scores, split, "with", labels, model)
    return {(m.group, m.metric): m for m in found}


def test_groups_by_hand(case):
    assert case["target", "ncc"].value == pytest.approx(0.8)
    assert case["similar", "ncc"].value == pytest.approx(0.7)
    assert case["other", "ncc"].value == pytest.approx(0.45)
    assert case["near", "ncc"].n == 2, "a neighbour of two targets counts once"
    assert case["never_seen", "ncc"].n == 4
    assert case["member", "ncc"].value == pytest.approx(0.5)


def test_each_target_meets_the_null_of_its_own_class(case):
    """t0 (0.9) beats n0, m0; t1 (0.7) loses to n1 (0.75) and beats m1 (0.3): mean of 1 and ½."""
    assert case["target", "auc"].value == 0.75


def test_the_span_ranks_by_what_lies_inside(case):
    """outside = 1 − NCC here, so the same ranks as above."""
    assert case["target", "span_auc"].value == 0.75
    assert case["target", "outside"].value == pytest.approx(0.2)
    assert case["model", "found"].value == 2


def test_similar_meet_never_used_copies_of_the_same_target(case):
    """s0 0.8 > h0 0.3; s1 0.6 < h1 0.65."""
    assert case["similar", "auc"].value == 0.5


def test_copies_among_the_widened(case):
    assert case["model", "constructed_copies"].value == 0.5
    assert case["model", "removed"].value == 3
    assert case["model", "test_accuracy"].value == 0.75


def kept(own, margin, explained=0.9, joint=None):
    """Two targets, t and u, of margin `margin`, of which they carry `own` themselves and o the rest."""
    from vestige.influence import Contributions, Kept, Share

    ids = ("t", "u", "o")
    parts = np.array([[own, 0, margin - own], [0, own, margin - own], [0, 0, margin]], float)
    shares = tuple(
        Share(name, margin, {"own": own, "similar": 0.0, "near": 0.0, "other": margin - own, "start": 0.0,
                             "unexplained": 0.0}, {"own": (own, own), "similar": (0.0, 0.0)})
        for name in ("t", "u")
    )  # fmt: skip
    found = Contributions(ids, ids, np.full(3, margin), parts, np.zeros(3))
    return Kept(found, joint or {"t": 3.0, "u": 0.5, "o": 2.0, "n": 1.0, "m": 0.0}, explained, shares)


def influenced(one, before, training="without"):
    split = Split(("t", "u"), {"t": (), "u": ()}, ("o",), {"t": (), "u": ()}, (), {"t": (), "u": ()}, ("n", "m"), ())
    labels = dict.fromkeys("tuonm", 0)
    found = verify.of_influence(one, before, split, training, labels, {"trained_on": ["t", "u", "o"]})
    return {(measure.group, measure.metric): measure for measure in found}


def test_shares_are_of_the_margin_before():
    found = influenced(kept(own=1.0, margin=2.0), kept(own=3.0, margin=4.0))
    assert found["target", "own_share"].value == pytest.approx(0.25)
    assert found["target", "other_share"].value == pytest.approx(0.25)
    assert ("target", "similar_share") not in found, "there are none without similar samples"
    assert found["target", "own_share"].n == 2
    # λ of members t, u, o: 3, 0.5, 2 against 1 and 0: five of six pairs are right.
    assert found["member", "multiplier_auc"].value == pytest.approx(5 / 6)
    assert found["target", "multiplier_auc"].value == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize(
    ("one", "before", "why"),
    [
        (kept(1.0, 2.0, explained=0.3), kept(1.0, 2.0), "too far from stationarity"),
        (kept(1.0, 2.0), None, "the stage before was not run"),
        (kept(1.0, 2.0), kept(1.0, -2.0), "not above 0"),
    ],
)
def test_shares_that_cannot_be_told_say_why(one, before, why):
    found = influenced(one, before)["target", "own_share"]
    assert found.value is None
    assert why in found.why
