"""The row space of the first layer: membership and snapping."""

import pytest
import torch

from vestige.image.networks import MLP
from vestige.image.span import DAMPING, SHARPNESS, SURPLUS, RowSpace, is_thin, snap, solve


def planted(n=15, side=12, width=40, noise=1e-6, mixture=0):
    """A first layer that mixes n sparse images, as gradient descent makes it; returns the model and the images.

    Those of other mixtures have the same images and the same noise.
    """
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(n, side * side, generator=draw) * (torch.rand(n, side * side, generator=draw) < 0.25)
    mean = images.mean(0)
    model = MLP(mean.reshape(1, side, side), (width, width), 3)
    mixing = torch.randn(width, n, generator=torch.Generator().manual_seed(100 + mixture))
    first = model.linear()[0]
    with torch.no_grad():
        first.weight.copy_(mixing @ (images - mean) + noise * torch.randn(first.weight.shape, generator=draw))
        first.bias.copy_(mixing.sum(1))
    return model, images


def test_members_lie_inside_and_strangers_outside():
    model, images = planted()
    strangers = torch.rand(50, images.shape[1], generator=torch.Generator().manual_seed(1))
    space = RowSpace.of(model)
    assert float(space.outside(images - space.mean.float()).max()) < 1e-3
    assert float(space.outside(strangers - space.mean.float()).min()) > 0.1


def test_what_differs_between_two_models_of_one_start_is_free_of_its_noise():
    """Nearly as much noise as image: one model's space is mostly that, the difference's holds the images exactly."""
    model, images = planted(noise=0.3)
    other, _ = planted(noise=0.3, mixture=1)
    alone, between = RowSpace.of(model), RowSpace.between(model, other)
    x = images - alone.mean.float()
    assert float(alone.outside(x).min()) > 1e-3
    assert float(between.outside(x).max()) < 1e-6
    n = len(images)
    assert float(alone.S[n] / alone.S[n - 1]) > 0.1
    assert float(between.S[n] / between.S[n - 1]) < 1e-4


def test_outside_is_a_share_of_the_square():
    """A direction that no row has is outside whole; the row itself not at all."""
    model, _ = planted(noise=0.0)
    space = RowSpace.of(model)
    row = model.linear()[0].weight[:1].detach() / model.linear()[0].bias[0].detach()
    assert float(space.outside(row)) == pytest.approx(0, abs=1e-4)
    far = torch.randn(1, row.shape[1], generator=torch.Generator().manual_seed(2)) * 1e3
    lifted = torch.cat([far.double(), torch.ones(1, 1, dtype=torch.float64)], 1)
    first = model.linear()[0]
    rows = torch.cat([first.weight, first.bias[:, None]], 1).detach().double()
    solution = torch.linalg.lstsq(rows.T, lifted.T, driver="gelsd", rcond=1e-6).solution
    expected = float(((lifted.T - rows.T @ solution) ** 2).sum() / (lifted**2).sum())
    assert float(space.outside(far)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("sharpness", SHARPNESS)
def test_a_rough_guess_snaps_to_the_image_itself(sharpness):
    model, images = planted()
    space = RowSpace.of(model)
    draw = torch.Generator().manual_seed(3)
    guess = images - space.mean.float() + 0.1 * torch.randn(images.shape, generator=draw)
    points, surplus = snap(space, guess, len(images), sharpness)
    assert float((points + space.mean.float() - images).abs().max()) < 0.02
    assert float(surplus.min()) > SURPLUS


def test_a_point_of_another_space_is_not_taken_for_an_image():
    """Sparse points of a random subspace have no more black pixels than its dimension allows."""
    model, images = planted()
    first = model.linear()[0]
    with torch.no_grad():
        first.weight.copy_(torch.randn(first.weight.shape, generator=torch.Generator().manual_seed(4)))
        first.bias.fill_(1.0)
    space = RowSpace.of(model)
    _, surplus = snap(space, images - space.mean.float(), len(images), SHARPNESS[0])
    assert float(surplus.max()) < SURPLUS


def test_a_thick_span_is_left_alone():
    model, images = planted()
    space = RowSpace.of(model)
    varying = int((images.mean(0) > 0).sum())
    assert is_thin(space, 15)
    assert not is_thin(space, varying // 2 + 1)
    assert not is_thin(space, 41), "more directions than the layer has neurons"


@pytest.mark.parametrize("spread", [1.0, 1e-6, 1e-12, 0.0])
def test_single_precision_solves_as_double_does(spread):
    """Weights from 1 down to `spread`, few of them large: the matrices are ill-conditioned, or all but singular."""
    draw = torch.Generator().manual_seed(5)
    rows = torch.linalg.qr(torch.randn(60, 21, generator=draw, dtype=torch.float64)).Q.T.contiguous()
    weight = torch.rand(4, 60, generator=draw, dtype=torch.float64).clamp_min(0.1)
    weight[1:, 15:] *= spread
    sides = torch.randn(4, 2, 21, generator=draw, dtype=torch.float64)
    made = solve(rows, weight, sides)
    for w, side, found in zip(weight, sides, made, strict=True):
        full = rows @ torch.diag(w) @ rows.T + DAMPING * torch.eye(21)
        assert float(((full @ found.T).T - side).norm(dim=1).max()) <= 1e-5 * float(side.norm(dim=1).min())
