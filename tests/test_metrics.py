"""Every metric: by hand, against another library, at its limits; and the public bugs that must not come back."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax

from vestige import metrics
from vestige.types import InputError

P, Q = [[0.7, 0.1, 0.1, 0.1]], [[0.1, 0.1, 0.1, 0.7]]
LOGITS = arrays(np.float64, (5, 4), elements=st.floats(-60, 60))
LABELS = np.array([0, 1, 2, 3, 0])


def test_jensen_shannon_by_hand_and_by_scipy():
    """m = (.4, .1, .1, .4): .7 log(.7/.4) + .1 log(.1/.4) = 0.3917 − 0.1386 = 0.2531, the same from q."""
    assert metrics.jensen_shannon(P, Q)[0] == pytest.approx(0.2531, abs=5e-5)
    assert metrics.jensen_shannon(P, Q)[0] == pytest.approx(jensenshannon(P[0], Q[0]) ** 2)
    assert metrics.jensen_shannon([[1.0, 0.0]], [[0.0, 1.0]])[0] == pytest.approx(math.log(2))
    assert metrics.jensen_shannon(P, Q)[0] != pytest.approx(0.083, abs=0.02), "mean over classes, wrong way round"


@given(LOGITS, LOGITS)
def test_jensen_shannon_is_bounded_and_symmetric(a, b):
    p, q = metrics.softmax(a), metrics.softmax(b)
    there, back = metrics.jensen_shannon(p, q), metrics.jensen_shannon(q, p)
    assert np.allclose(there, back)
    assert (there >= 0).all()
    assert (there <= metrics.LOG2).all()
    assert np.allclose(metrics.jensen_shannon(p, p), 0)
    assert (metrics.activation_distance(p, q) <= math.sqrt(2) + 1e-12).all()
    assert (metrics.zrf(p, q) >= 1 - metrics.LOG2).all()


@given(LOGITS)
def test_losses_and_margins_against_scipy(logits):
    log_p = log_softmax(logits, 1)[np.arange(5), LABELS]
    assert np.allclose(metrics.losses(logits, LABELS), -log_p)
    safe = log_p < -1e-6
    expected = log_p[safe] - np.log(-np.expm1(log_p[safe]))
    assert np.allclose(metrics.margins(logits, LABELS)[safe], expected, atol=1e-6)


def test_margins_do_not_overflow_or_saturate():
    """Two classes: log(p/(1−p)) is the difference of the logits, however large."""
    logits = np.array([[1000.0, 0.0], [-1000.0, 0.0], [800.0, 100.0]])
    assert metrics.margins(logits, [0, 0, 0]).tolist() == [1000, -1000, 700]


def test_modified_entropy_by_hand():
    """p = (.7, .2, .1), y = 0: −.3 log .7 − .2 log .8 − .1 log .9 = 0.1070 + 0.0446 + 0.0105 = 0.1622."""
    logits = np.log([[0.7, 0.2, 0.1]])
    assert metrics.modified_entropy(logits, [0])[0] == pytest.approx(0.1622, abs=5e-5)
    expected = -0.3 * math.log(0.7) - 0.2 * math.log(0.8) - 0.1 * math.log(0.9)
    assert metrics.modified_entropy(logits, [0])[0] == pytest.approx(expected)


def test_modified_entropy_keeps_samples_apart():
    """A batch gives what its samples give alone, and 1 − p is taken, not p: confident and wrong is large."""
    logits = np.array([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
    labels = [0, 1, 2]
    together = metrics.modified_entropy(logits, labels)
    alone = [metrics.modified_entropy(logits[[i]], [labels[i]])[0] for i in range(3)]
    assert np.allclose(together, alone)
    assert together[0] < 0.01 < 5 < together[1]
    assert np.isfinite(metrics.modified_entropy([[5000.0, 0.0]], [1])).all()


def test_gaps_by_hand():
    """|0.5−0.25| + |1−1| + |0.9−0.8| + |0.4−0.2| = 0.55, a quarter of it 0.1375."""
    ours = {"UA": 0.5, "RA": 1.0, "TA": 0.9, "MIA": 0.4}
    reference = {"UA": 0.25, "RA": 1.0, "TA": 0.8, "MIA": 0.2}
    assert metrics.average_gap(ours, reference) == pytest.approx(0.1375)
    assert metrics.average_gap(ours, ours) == 0
    with pytest.raises(InputError, match="same values"):
        metrics.average_gap(ours, {"UA": 1.0})


def test_tug_of_war_by_hand():
    """(1 − 0.5)(1 − 0)(1 − 0.1) = 0.45; equal is 1, one wholly different is 0."""
    ours, reference = {"f": 1.0, "r": 0.7, "t": 0.6}, {"f": 0.5, "r": 0.7, "t": 0.7}
    assert metrics.tug_of_war(ours, reference) == pytest.approx(0.45)
    assert metrics.tug_of_war(ours, ours) == 1
    assert metrics.tug_of_war({"f": 0.0}, {"f": 1.0}) == 0


@given(*[st.fixed_dictionaries({name: st.floats(0, 1) for name in ("f", "r", "t")})] * 2)
def test_gaps_are_bounded_and_symmetric(a, b):
    assert 0 <= metrics.tug_of_war(a, b) <= 1
    assert metrics.tug_of_war(a, b) == pytest.approx(metrics.tug_of_war(b, a))
    assert 0 <= metrics.average_gap(a, b) <= 1


def test_activation_distance_and_zrf_by_hand():
    """‖(.6, 0, 0, −.6)‖ = 0.8485; ZRF = 1 − 0.2531."""
    assert metrics.activation_distance(P, Q)[0] == pytest.approx(0.6 * math.sqrt(2))
    assert metrics.zrf(P, Q)[0] == pytest.approx(1 - 0.2531, abs=5e-5)
    assert metrics.zrf(P, P)[0] == 1


def test_relearn_time():
    assert metrics.relearn_time([0.0, 0.5, 1.0, 1.0], 1.0) == 2
    assert metrics.relearn_time([1.0, 1.0], 1.0) == 0
    assert metrics.relearn_time([0.0, 0.5], 1.0) is None, "not reached is not the last step"


def test_residual_knowledge_by_hand():
    """½ / 1 = ½, 1 / ½ = 2, and nothing to divide by is undefined, not 0."""
    ours = [[True, False], [True, True], [True, True]]
    reference = [[True, True], [True, False], [False, False]]
    found = metrics.residual_knowledge(ours, reference)
    assert found[:2].tolist() == [0.5, 2.0]
    assert np.isnan(found[2])


def test_klom_by_hand():
    """2 bins over 0…1; retrained 0, 0, 0, 1 and unlearned 0, 1, 1, 1, half a count added to each of 2 bins:
    q = (3.5, 1.5)/5, p = (1.5, 3.5)/5: 0.7 log(7/3) + 0.3 log(3/7) = 0.4 log(7/3) = 0.3389.
    """
    found = metrics.klom([[0.0], [1], [1], [1]], [[0.0], [0], [0], [1]], bins=2)
    assert found[0] == pytest.approx(0.4 * math.log(7 / 3))


@given(arrays(np.float64, (6, 3), elements=st.floats(-50, 50)))
@example(np.array([[0.0, 5e-324, 5e-324]] + [[5e-324] * 3] * 5))
def test_klom_of_identical_sets_is_0(margins):
    assert (metrics.klom(margins, margins) == 0).all()
    assert (metrics.klom(margins, margins + 1000) > 1).all()


def test_epsilon_by_hand():
    """4 against 4, one of each on the wrong side: FPR = FNR = ¼, ε = log(¾ − δ) − log ¼ = 1.0986."""
    unlearned, retrained = np.array([[0.0], [3], [4], [5]]), np.array([[-2.0], [-1], [1], [3.5]])
    found = metrics.epsilons(unlearned, retrained)[0]
    assert found == pytest.approx(math.log(0.75 - 1e-5) - math.log(0.25), abs=1e-9)


def brute_epsilon(unlearned, retrained, delta=1e-5):
    """The same by trying every interval, with counts."""
    cuts = sorted({*unlearned, *retrained})
    ends = [-math.inf, *cuts]
    best, n, m = 0.0, len(unlearned), len(retrained)
    for low in ends:
        for high in [*cuts, math.inf]:
            for inside in (True, False):
                hit = sum((low < value <= high) == inside for value in unlearned)
                false = sum((low < value <= high) == inside for value in retrained)
                if hit == n and false == 0:
                    return math.inf
                if hit == n or false == 0:
                    continue
                fpr, fnr = false / m, 1 - hit / n
                for a, b in ((fpr, fnr), (fnr, fpr)):
                    if a < 1 - delta:
                        best = max(best, math.log(1 - delta - a) - math.log(b))
    return best


@given(st.lists(st.integers(0, 9), min_size=2, max_size=8), st.lists(st.integers(0, 9), min_size=2, max_size=8))
def test_epsilon_against_trying_everything(a, b):
    found = metrics.epsilons(np.array(a, float)[:, None], np.array(b, float)[:, None])[0]
    assert found == pytest.approx(brute_epsilon(a, b))


def test_forgetting_quality_at_its_limits():
    """Identical sets: ε is 0 or small; wholly apart: infinite, the last bucket, 2/2¹³."""
    rng = np.random.default_rng(0)
    same = np.tile(np.arange(40.0)[:, None], (1, 3))
    assert (metrics.epsilons(same, same) < 0.5).all()
    assert metrics.forgetting_quality(metrics.epsilons(same, same)) == 1
    apart = metrics.epsilons(same + 100, same)
    assert np.isinf(apart).all()
    assert metrics.forgetting_quality(apart) == 2 / 2**13
    near, far = (metrics.epsilons(rng.normal(shift, 1, (200, 5)), rng.normal(0, 1, (200, 5))) for shift in (0, 2))
    assert near.max() < far.min(), "the strongest attack counts: min for max would call both 0"
    assert metrics.forgetting_quality([0.0, 0.49, 0.5, 1.0]) == pytest.approx((1 + 1 + 0.5 + 0.25) / 4)


def test_between_two_thresholds():
    """Unlearned margins in the middle of the retrained ones: no single threshold tells them apart, two do."""
    middle, around = np.array([[4.0], [5], [6]]), np.array([[0.0], [1], [9]])
    assert np.isinf(metrics.epsilons(middle, around)).all()
    assert np.isinf(metrics.epsilons(around, middle)).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.losses([[np.nan, 0.0]], [0]),
        lambda: metrics.losses(np.zeros((0, 3)), []),
        lambda: metrics.losses([[0.0, 0.0]], [2]),
        lambda: metrics.losses([[0.0, 0.0]], [0.5]),
        lambda: metrics.jensen_shannon([[0.5, 0.6]], [[0.5, 0.5]]),
        lambda: metrics.jensen_shannon(P, [[0.5, 0.5]]),
        lambda: metrics.relearn_time([], 1.0),
        lambda: metrics.residual_knowledge([[True]], [[True, False]]),
        lambda: metrics.klom([[0.0]], [[0.0]]),
        lambda: metrics.epsilons([[0.0], [np.inf]], [[0.0], [1.0]]),
        lambda: metrics.forgetting_quality([]),
        lambda: metrics.forgetting_quality([np.nan]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()
