import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from vestige.image import search
from vestige.image.ssim import ssim_matrix
from vestige.similar import ssim
from vestige.types import InputError


def reference(a, b):
    """scikit-image with the window, σ and border of Wang et al., cropped to the valid positions."""
    _, full = structural_similarity(
        a.numpy().astype(np.float64),
        b.numpy().astype(np.float64),
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    return full[:, 5:-5, 5:-5].mean()


def pairs(kind):
    g = torch.Generator().manual_seed(3)
    a = torch.rand(6, 3 if kind == "colour" else 1, 28, 23, generator=g)
    b = (a + 0.3 * torch.randn(a.shape, generator=g)).clamp(0, 1)
    return (torch.full_like(a, 0.25), torch.full_like(a, 0.75)) if kind == "constant" else (a, b)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_way_of_search_equals_scikit_image(seed, channels):
    """Random, smooth and constant images together, as bytes: the pair, the matrix and what search returns."""
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (4, channels, 17, 24), generator=draw).byte()
    smooth = (noise[:, :, :1, :1] + torch.arange(24)[None, None, None] * 3).byte().expand(4, channels, 17, 24)
    constant = torch.tensor([0, 1, 128, 255]).byte()[:, None, None, None].expand(4, channels, 17, 24)
    x = torch.cat([noise, smooth, constant, (noise[:2].int() + noise[2:].int()).div(2).byte()])
    unit = x.float() / 255
    expected = np.array([[reference(a, b) for b in unit] for a in unit])
    np.testing.assert_allclose(ssim_matrix(unit, unit).numpy(), expected, atol=1e-6)
    hits = search.nearest(x, x, len(x))
    assert len(hits.value) == len(x) ** 2
    np.testing.assert_allclose(hits.value, expected[hits.query, hits.position], atol=1e-6)


@pytest.mark.parametrize("kind", ["grey", "colour", "constant"])
def test_equals_scikit_image(kind):
    a, b = pairs(kind)
    expected = [reference(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ssim(a, b).numpy(), expected, atol=1e-6)


def test_equal_images_score_one():
    a, _ = pairs("grey")
    torch.testing.assert_close(ssim(a, a), torch.ones(6))


def test_matrix_holds_every_pair():
    a, b = pairs("colour")
    matrix = ssim_matrix(a[:4], b, block=4)
    for row in range(4):
        torch.testing.assert_close(matrix[row], ssim(a[row].expand_as(b), b), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shapes", [((2, 1, 10, 28), (2, 1, 10, 28)), ((2, 1, 28, 28), (3, 1, 28, 28))])
def test_refuses_other_shapes(shapes):
    with pytest.raises(InputError, match=r"needs images|the same"):
        ssim(*(torch.zeros(shape) for shape in shapes))
