"""Membership attacks: against scipy, by hand, and what must be refused."""

import numpy as np
import pytest
from scipy.stats import norm

from vestige import membership, verify
from vestige.membership import Shadows
from vestige.types import InputError


def made(models=16, samples=40, effect=3.0, seed=0):
    """Shadow models in which membership raises the margin by `effect`, each sample in half of them."""
    rng = np.random.default_rng(seed)
    half = rng.random((models // 2, samples)) < 0.5
    member = np.concatenate([half, ~half])
    margins = rng.normal(0, 2, samples) + rng.normal(0, 1, (models, samples)) + effect * member
    return Shadows(tuple(map(str, range(models))), margins, member), rng


def test_lira_against_scipy():
    shadows, rng = made()
    target = rng.normal(0, 2, 40)
    inside = np.ma.array(shadows.margins, mask=~shadows.member)
    outside = np.ma.array(shadows.margins, mask=shadows.member)
    spreads = [float(np.sqrt(((part - part.mean(0)) ** 2).sum() / (part.count() - 40))) for part in (inside, outside)]
    expected = norm.logpdf(target, inside.mean(0), spreads[0]) - norm.logpdf(target, outside.mean(0), spreads[1])
    assert np.allclose(membership.lira(shadows, "target", target), expected)
    below = norm.cdf(target, outside.mean(0), spreads[1])
    assert np.allclose(norm.cdf(membership.lira_offline(shadows, "target", target)), below)


def test_lira_finds_members_and_nothing_where_there_is_nothing():
    for effect, bounds in ((3.0, (0.9, 1.0)), (0.0, (0.3, 0.7))):
        shadows, rng = made(samples=200, effect=effect)
        is_member = np.arange(200) < 100
        target = shadows.margins.mean(0) + effect * (is_member - 0.5) + rng.normal(0, 1, 200)
        for attack in (membership.lira, membership.lira_offline):
            score = attack(shadows, "target", target)
            assert bounds[0] <= verify.auc(score[is_member], score[~is_member]) <= bounds[1]


def test_lira_is_never_fitted_and_evaluated_on_the_same_model():
    shadows, _ = made()
    for attack in (membership.lira, membership.lira_offline):
        with pytest.raises(InputError, match="is one of the shadow models"):
            attack(shadows, "3", shadows.margins[3])
    with pytest.raises(InputError, match="is one of the shadow models"):
        membership.rmia(shadows, "3", -np.ones(40), -np.ones((16, 40)), range(40), 2.0)


def test_lira_refuses_correctness():
    shadows, _ = made()
    with pytest.raises(InputError, match="not on whether the answer is right"):
        membership.lira(shadows, "target", shadows.margins[0] > 0)
    with pytest.raises(InputError, match="not on whether"):
        Shadows(shadows.names, shadows.margins > 0, shadows.member)


def test_lira_needs_models_with_and_without():
    shadows, _ = made()
    member = shadows.member.copy()
    member[:, 0] = True
    with pytest.raises(InputError, match=r"a sample has 0; raise shadow\.models"):
        membership.lira(Shadows(shadows.names, shadows.margins, member), "target", np.zeros(40))


def test_u_lira():
    """Apart by 6 standard deviations: told apart; from one distribution: not; on shared models: refused."""
    rng = np.random.default_rng(0)
    retrained, same, apart = rng.normal(0, 1, (40, 5)), rng.normal(0, 1, (40, 5)), rng.normal(6, 1, (40, 5))
    fit, test = range(20), range(20, 40)
    assert membership.u_lira(apart, retrained, fit, test).min() > 0.99
    assert 0.3 < membership.u_lira(same, retrained, fit, test).mean() < 0.7
    with pytest.raises(InputError, match="same models"):
        membership.u_lira(same, retrained, range(21), test)
    with pytest.raises(InputError, match="2 models to fit"):
        membership.u_lira(same, retrained, [0], [1])


def test_u_lira_by_hand():
    """Two models of each kind to fit, two to judge, two samples.

    First: unlearned 1, 3 and retrained −1, −3: means ±2, deviations ±1; pooled over both samples, as of the second,
    √(4/2) each. So the score is −(x−2)²/4 + (x+2)²/4 = 2x. Held out, unlearned 0, 2 and retrained 1, −1: of the four
    pairs 0 > −1, 2 > 1, 2 > −1 are told right, 0 and 1 are not: 3/4. Second: the other way round, −2x: 1/4.
    """
    unlearned = np.array([[1.0, -1.0], [3.0, -3.0], [0.0, 0.0], [2.0, 2.0]])
    retrained = np.array([[-1.0, 1.0], [-3.0, 3.0], [1.0, 1.0], [-1.0, -1.0]])
    assert membership.u_lira(unlearned, retrained, [0, 1], [2, 3]).tolist() == [0.75, 0.25]


def test_rmia_by_hand():
    """P(x) is 0.2, 0.5, 0.4; the model says 0.8, 0.5, 0.2: ratios 4, 1, ½. With γ 2: x₀ beats both others (4, 8),
    x₁ beats x₂ only (¼, 2), x₂ none.
    """
    shadows, _ = made(8, 3)
    others = np.tile(np.log([0.2, 0.5, 0.4]), (8, 1))
    found = membership.rmia(shadows, "m", np.log([0.8, 0.5, 0.2]), others, [0, 1, 2], 1.999)
    assert found.tolist() == [1.0, 0.5, 0.0]
    halves = np.log(np.array([[0.1] * 3, [0.3] * 3] * 4))
    flat = membership.rmia(shadows, "m", np.log([0.2, 0.2, 0.2]), halves, [1, 2], 1.001)
    assert flat.tolist() == [0, 0, 0], "P(x) is the mean of probabilities, and x is not its own z"


def test_mia_efficacy_calls_what_looks_like_test_forgotten():
    rng = np.random.default_rng(0)
    retain, test = rng.uniform(0.9, 1, 50), rng.uniform(0, 0.6, 1000)
    assert membership.mia_efficacy(retain, test, [0.1, 0.3, 0.5, 0.97]).tolist() == [True, True, True, False]
    assert verify.METRICS["mia_efficacy"]["better"] == "reference", "neither low nor high is good by itself"


def test_mia_efficacy_by_hand():
    """Retain 0.8, 0.9 and test 0.2, 0.1 are mirror images about 0.5, so that is where the SVC parts them: of the
    forgotten 0.45 and 0.05 count as non-members, 0.55 and 0.95 do not, and MIA-efficacy is ½.
    """
    judged = membership.mia_efficacy([0.8, 0.9], [0.2, 0.1], [0.45, 0.55, 0.05, 0.95])
    assert judged.tolist() == [True, False, True, False]
    assert judged.mean() == 0.5


def test_mia_efficacy_is_fitted_on_as_many_of_both():
    """Twenty times more test than retain samples, from one distribution: not all are called non-members."""
    rng = np.random.default_rng(0)
    found = membership.mia_efficacy(rng.uniform(0, 1, 100), rng.uniform(0, 1, 2000), rng.uniform(0, 1, 400))
    assert 0.2 < found.mean() < 0.8


@pytest.mark.parametrize("bad", [[], [1.2], [np.nan], [[0.5]]])
def test_bad_shares_are_refused(bad):
    with pytest.raises(InputError, match="p_y"):
        membership.mia_efficacy([0.9], [0.1], bad)
