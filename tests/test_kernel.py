"""The closed-form kernel equals the one made of per-sample gradients."""

import pytest
import torch
import torch.nn.functional as F

from vestige.image.kernel import cosines, factors, gram, kernel, paired, paired_cosines, project
from vestige.image.networks import MLP
from vestige.image.objective import Weights, rivals


def network(hidden=(16, 12), side=5, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    model = MLP(torch.rand(1, side, side, generator=g), hidden, classes, init_scale=0.3)
    model.start(g)
    return model.double()


def images(n, seed, side=5, classes=4):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, side, side, generator=g), torch.randint(classes, (n,), generator=g)


def gradients(model, x, y):
    """One flat ∇_θ of each margin by autograd, with q held constant; and the margins."""
    rows, margins = [], []
    for one, label in zip(x.double(), y, strict=True):
        f = model(one[None])
        toward = F.one_hot(label[None], f.shape[1]).double() - rivals(f.detach(), label[None], "soft")
        margins.append((f * toward).sum())
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(margins[-1], list(model.parameters()))]))
    return torch.stack(rows), torch.stack(margins).detach()


@pytest.mark.parametrize("hidden", [(9,), (16, 12), (14, 11, 8)])
@pytest.mark.parametrize("block", [3, 100])
def test_closed_form_equals_autograd(hidden, block):
    model = network(hidden)
    (x, y), (u, v) = images(11, 1), images(7, 2)
    left, right = factors(model, x, y), factors(model, u, v)
    G, margins = gradients(model, x, y)
    H, _ = gradients(model, u, v)
    torch.testing.assert_close(kernel(left, right, block=block), G @ H.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gram(left, block=block), G @ G.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(left.norms(), (G**2).sum(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(left.margin, margins, rtol=1e-10, atol=1e-10)


def test_eulers_identity():
    """⟨θ, ∇m⟩ = L·m for the network's own weights, and the projection of any others is a product of gradients."""
    model, (x, y) = network((14, 11, 8)), images(9, 3)
    made = factors(model, x, y)
    own, other = Weights.of(model, torch.float64), Weights.of(network((14, 11, 8), seed=5), torch.float64)
    torch.testing.assert_close(project(made, own), 4 * made.margin, rtol=1e-10, atol=1e-12)
    flat = torch.cat([other.layers[0].flatten(), other.bias, *(layer.flatten() for layer in other.layers[1:])])
    torch.testing.assert_close(project(made, other), gradients(model, x, y)[0] @ flat, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [3, 100])
def test_cosines_equal_those_of_autograd(block):
    model = network()
    (x, y), (u, v) = images(11, 1), images(11, 2)
    left, right = factors(model, x, y), factors(model, u, v)
    G, H = gradients(model, x, y)[0], gradients(model, u, v)[0]
    expected = F.normalize(G, dim=1) @ F.normalize(H, dim=1).T
    torch.testing.assert_close(cosines(left, right, block=block), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(paired_cosines(left, right), expected.diagonal(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(paired(left, right), (G * H).sum(1), rtol=1e-10, atol=1e-10)
    assert cosines(left, left).abs().max() <= 1


def test_no_gradient_no_cosine():
    """With a first layer that no image wakes, nothing reaches the output: every gradient is 0."""
    model, (x, y) = network((9,)), images(4, 1)
    with torch.no_grad():
        model.layers[0].bias.fill_(-100.0)
    dead = factors(model, x, y)
    assert dead.norms().tolist() == [0] * 4
    assert cosines(dead, factors(network((9,)), x, y)).tolist() == [[0] * 4] * 4
    assert paired_cosines(dead, dead).tolist() == [0] * 4
