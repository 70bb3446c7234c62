"""The fast objective equals the plain one, in value and gradient."""

from itertools import pairwise

import pytest
import torch

from vestige.image.objective import Weights, autograd, closed_form


def problem(candidates, widths, seed=0):
    """Random weights and candidates in fp64. `candidates` decides which layers take the Gram form."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    layers = tuple(rand(b, a) / a**0.5 for a, b in pairwise(widths))
    x = rand(candidates, widths[0])
    labels = torch.randint(widths[-1], (candidates,), generator=g)
    return Weights(layers, rand(widths[1]) / 3), x, rand(candidates).exp(), labels


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("direction", ["soft", "runner_up"])
@pytest.mark.parametrize("widths", [(20, 16, 4), (20, 16, 12, 4), (30, 9, 14, 11, 5)])
@pytest.mark.parametrize("candidates", [3, 12, 200])
def test_closed_form_equals_autograd(candidates, widths, direction):
    theta, x, multipliers, labels = problem(candidates, widths)
    fast = closed_form(theta, x, multipliers, labels, 20.0, direction)
    slow = autograd(theta, x, multipliers, labels, 20.0, direction)
    assert relative(fast.loss, slow.loss) <= 1e-10
    assert relative(fast.x, slow.x) <= 1e-10
    assert relative(fast.multipliers, slow.multipliers) <= 1e-10


def test_autograd_gradient_by_finite_differences():
    """In λ the objective is quadratic and smooth, so a central difference is exact up to rounding."""
    theta, x, multipliers, labels = problem(4, (6, 5, 3))
    step = torch.zeros_like(multipliers)
    step[1] = 1e-4
    up = autograd(theta, x, multipliers + step, labels, 20.0).loss
    down = autograd(theta, x, multipliers - step, labels, 20.0).loss
    slope = autograd(theta, x, multipliers, labels, 20.0).multipliers[1]
    torch.testing.assert_close((up - down) / 2e-4, slope, rtol=1e-6, atol=0)


def test_nothing_explained_leaves_the_whole_norm():
    theta, x, multipliers, labels = problem(5, (20, 16, 12, 4))
    value = closed_form(theta, x, torch.zeros_like(multipliers), labels, 20.0)
    torch.testing.assert_close(float(value.loss), theta.squared_norm(), rtol=1e-12, atol=0)
