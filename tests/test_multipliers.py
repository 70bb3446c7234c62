"""Non-negative least squares by block pivoting: the minimum, its certificate, and the range around it."""

import numpy as np
import pytest
from scipy.optimize import nnls

from vestige import multipliers


def problem(n, d, seed, copies=0):
    """G (d, n) with some nearly equal columns, and a θ that half of them make up."""
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(d, n)) * rng.uniform(0.1, 10, n)
    for j in range(copies):
        G[:, n - 1 - j] = G[:, j] + 1e-4 * rng.normal(size=d)
    theta = G[:, : n // 2] @ rng.uniform(0, 1, n // 2) + rng.normal(size=d)
    return G, theta


@pytest.mark.parametrize(("n", "d", "copies"), [(1, 5, 0), (20, 40, 0), (60, 50, 0), (80, 200, 10), (150, 100, 20)])
def test_the_minimum_is_that_of_scipy(n, d, copies):
    G, theta = problem(n, d, 0, copies)
    K, b = G.T @ G, G.T @ theta
    found = multipliers.solve(K, b)
    _, best = nnls(G, theta, maxiter=100 * n)
    assert (found >= 0).all()
    assert np.linalg.norm(theta - G @ found) == pytest.approx(best, rel=1e-6)
    assert multipliers.violation(K, b, found) < 1e-7
    assert (multipliers.violation(K, b, np.zeros(n)) > 0.01) == bool((b > 0).any())


def test_a_warm_start_changes_nothing():
    G, theta = problem(40, 60, 1)
    K, b = G.T @ G, G.T @ theta
    cold = multipliers.solve(K, b)
    for start in (cold, np.zeros(40), np.ones(40)):
        np.testing.assert_allclose(multipliers.solve(K, b, start=start), cold, rtol=1e-9, atol=1e-12)


def test_identical_samples_share_evenly():
    """K of two equal gradients of length 1, and one at a right angle: θ = 2 g₁ is 1 of each."""
    K = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(multipliers.solve(K, np.array([2.0, 2.0, -1.0])), [1, 1, 0], atol=1e-6)


def test_nothing_points_along_theta():
    assert multipliers.solve(np.eye(3), -np.ones(3)).tolist() == [0, 0, 0]


def test_a_sample_without_gradient_explains_nothing():
    K, b = np.diag([2.0, 0.0, 1.0]), np.array([2.0, 0.0, 3.0])
    found = multipliers.solve(K, b)
    np.testing.assert_allclose(found, [1, 0, 3])
    assert multipliers.violation(K, b, found) < 1e-9
    assert multipliers.extremes(K, b, found, np.array([0.0, 1.0, 0.0]), 0.1) == (0, 0)
    assert multipliers.gains(K, found, np.zeros((3, 1)), np.zeros(1), np.zeros(1)).tolist() == [0]


def test_the_range_of_two_by_hand():
    """K = [[1, ρ], [ρ, 1]], λ* = (1, 1): λ₁ may move by √(slack / (1 − ρ²)), as λ₂ adjusts to it."""
    rho, slack = 0.8, 0.01
    K = np.array([[1, rho], [rho, 1]])
    b = K @ np.ones(2)
    low, high = multipliers.extremes(K, b, multipliers.solve(K, b), np.array([1.0, 0.0]), slack)
    half = (slack / (1 - rho**2)) ** 0.5
    assert (low, high) == (pytest.approx(1 - half, rel=0.01), pytest.approx(1 + half, rel=0.01))


def test_the_range_ends_at_zero_and_grows_with_likeness():
    ranges = []
    for rho in (0.0, 0.9, 0.999):
        K = np.array([[1, rho], [rho, 1]])
        b = K @ np.array([0.2, 1.0])
        ranges.append(multipliers.extremes(K, b, multipliers.solve(K, b), np.array([1.0, 0.0]), 0.01))
    assert [high - low for low, high in ranges] == sorted(high - low for low, high in ranges)
    assert ranges[2][0] == 0
    assert ranges[2][1] == pytest.approx(1.2, abs=0.1), "nearly all that both carry"


@pytest.mark.parametrize("seed", range(5))
def test_no_sampled_fit_within_the_slack_lies_outside_the_range(seed):
    G, theta = problem(12, 20, seed, 3)
    K, b = G.T @ G, G.T @ theta
    best = multipliers.solve(K, b)
    slack = 0.01 * abs(multipliers.objective(K, b, best))
    direction = np.where(np.arange(12) % 3 == 0, np.diag(K), 0.0)
    low, high = multipliers.extremes(K, b, best, direction, slack)
    assert low <= direction @ best <= high
    rng = np.random.default_rng(seed)
    for _ in range(300):
        trial = np.maximum(best + rng.normal(size=12) * np.sqrt(slack / np.diag(K)), 0)
        if multipliers.objective(K, b, trial) <= multipliers.objective(K, b, best) + slack:
            assert low - 0.02 * (high - low) <= direction @ trial <= high + 0.02 * (high - low)


def test_the_gain_of_one_more_sample_is_what_solving_anew_gains():
    """Where its multiplier comes in without pushing another one out."""
    G, theta = problem(10, 30, 3)
    rng = np.random.default_rng(0)
    others = rng.normal(size=(30, 4))
    K, b = G.T @ G, G.T @ theta
    found = multipliers.solve(K, b)
    gain = multipliers.gains(K, found, G.T @ others, others.T @ theta, (others**2).sum(0))
    for j in range(4):
        both = np.column_stack([G, others[:, j]])
        again = multipliers.solve(both.T @ both, both.T @ theta)
        fell = multipliers.objective(K, b, found) - multipliers.objective(both.T @ both, both.T @ theta, again)
        same = ((again[:10] > 0) == (found > 0)).all()
        assert gain[j] == pytest.approx(fell, rel=1e-5, abs=1e-9) if same else gain[j] >= 0
