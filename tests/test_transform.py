"""Transforms: what each does, that copies differ, and what is refused."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vestige.config import STRENGTHS, DataConfig
from vestige.image.ssim import ssim
from vestige.image.transform import TRANSFORMS, make_similar
from vestige.types import InputError, Samples

NAMES = sorted(TRANSFORMS)


def digit(channels=1, side=28):
    """A smooth bright stroke on black."""
    rows, columns = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    stroke = torch.exp(-((columns - side / 2 - 3 * torch.sin(rows / 5)) ** 2) / 6) * (abs(rows - side / 2) < side / 3)
    return stroke.expand(channels, side, side) * torch.linspace(1, 0.6, channels)[:, None, None]


def copies(image, count=10, seed=0, **settings):
    config = DataConfig(**settings)
    return TRANSFORMS[config.transform](image, count, config, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_transform_keeps_the_contract(name, channels):
    """Right shape and range, every copy another, the same seed the same copies, the image left as it was."""
    image = digit(channels)
    kept = image.clone()
    made = copies(image, transform=name)
    assert made.shape == (10, channels, 28, 28)
    assert made.dtype == torch.float32
    assert made.min() >= 0
    assert made.max() <= 1
    assert len(torch.unique(made.flatten(1), dim=0)) == 10
    assert torch.equal(made, copies(image, transform=name))
    assert not torch.equal(made, copies(image, transform=name, seed=1))
    assert torch.equal(image, kept)


WEAK_AND_STRONG = {
    "mask": ({"fraction": 0.1}, {"fraction": 0.6}),
    "noise": ({"sigma": 0.05}, {"sigma": 0.4}),
    "shift": ({"shift": 2}, {"shift": 8}),
    "crop": ({"crop": 0.95}, {"crop": 0.5}),
    "jpeg": ({"quality": 80}, {"quality": 10}),
    "brightness": ({"brightness": 0.1}, {"brightness": 0.8}),
    "blur": ({"blur": 0.5}, {"blur": 3.0}),
}


@pytest.mark.parametrize("name", NAMES)
def test_more_strength_is_less_alike(name):
    image = digit()
    weak, strong = (
        float(ssim(image.expand(10, -1, -1, -1), copies(image, transform=name, **settings)).mean())
        for settings in WEAK_AND_STRONG[name]
    )
    assert weak > strong + 0.05


def test_every_transform_has_its_strength_and_its_words():
    assert set(STRENGTHS) == {*TRANSFORMS, "family"}
    for name in STRENGTHS:
        config = DataConfig(transform=name)
        assert config.made
        assert tuple(config.strength) == STRENGTHS[name]


@pytest.mark.parametrize(
    ("name", "none"), [("mask", "fraction"), ("noise", "sigma"), ("blur", "blur"), ("brightness", "brightness")]
)
def test_no_strength_gives_exact_copies(name, none):
    image = digit()
    assert torch.equal(copies(image, 2, transform=name, **{none: 0}), image.expand(2, -1, -1, -1))
    torch.testing.assert_close(copies(image, 2, transform="crop", crop=1), image.expand(2, -1, -1, -1))


def test_a_shift_moves_every_pixel_and_wraps_none():
    """One bright pixel in the middle of 13×13, moved by up to 1: each of the 8 places around it once."""
    image = torch.zeros(1, 13, 13)
    image[0, 6, 6] = 1
    places = {tuple(copy[0].nonzero()[0].tolist()) for copy in copies(image, 8, transform="shift", shift=1)}
    assert places == {(y, x) for y in (5, 6, 7) for x in (5, 6, 7)} - {(6, 6)}
    corner = torch.zeros(1, 13, 13)
    corner[0, 0, 0] = 1
    assert all(float(copy[0, 8:].sum()) == 0 for copy in copies(corner, 8, transform="shift", shift=2))


def test_a_crop_is_a_window_enlarged():
    """A linear ramp stays one, its slope times the share that is kept."""
    ramp = torch.linspace(0, 1, 28).expand(1, 28, 28)
    for copy in copies(ramp, 5, transform="crop", crop=0.5):
        steps = copy[0, 3, 2:-2].diff()
        torch.testing.assert_close(steps, torch.full_like(steps, 0.5 / 27), atol=1e-4, rtol=0)


def test_jpeg_is_pillows():
    image = (digit() * 255).round() / 255
    stored = set()
    for quality in range(20, 41):
        buffer = io.BytesIO()
        Image.fromarray((image[0] * 255).to(torch.uint8).numpy()).save(buffer, "JPEG", quality=quality)
        stored.add(np.asarray(Image.open(buffer)).tobytes())
    for copy in copies(image, 5, transform="jpeg", quality=30):
        assert (copy[0] * 255).round().to(torch.uint8).numpy().tobytes() in stored


def test_brightness_changes_by_at_least_half_of_its_strength():
    image = torch.full((1, 11, 11), 0.5)
    factors = copies(image, 40, transform="brightness", brightness=0.4)[:, 0, 0, 0] / 0.5
    change = (factors - 1).abs()
    assert 0.2 <= change.min() < change.max() <= 0.4
    assert (factors > 1).any()
    assert (factors < 1).any()


def test_blur_spreads_a_point_by_its_standard_deviation():
    """The second moment of a blurred point is σ² in each direction; σ is drawn within a quarter of 2."""
    image = torch.zeros(1, 41, 41)
    image[0, 20, 20] = 1
    at = torch.arange(41.0) - 20
    for copy in copies(image, 6, transform="blur", blur=2.0):
        sigma = float((copy[0].sum(0) * at**2).sum() / copy.sum()) ** 0.5
        assert 1.45 <= sigma <= 2.55
        assert float(copy.sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transform": "shift", "shift": 1}, r"10 copies need as many different shifts, 8 of up to 1 pixels exist"),
        ({"transform": "shift", "shift": 28}, r"moves images of 28×28 away; lower data\.shift"),
    ],
)
def test_shifts_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        copies(digit(), **settings)


def test_an_even_grey_image_has_one_jpeg():
    with pytest.raises(InputError, match="makes only 1 different copies of an image, 2 were asked for"):
        copies(torch.full((1, 16, 16), 128 / 255), 2, transform="jpeg")


def test_copies_keep_their_targets_family():
    samples = Samples(("a", "b"), torch.rand(2, 1, 12, 12), torch.tensor([0, 1]), 2, ("f", ""))
    made = make_similar(samples, 3, config=DataConfig(), generator=torch.Generator().manual_seed(0))
    assert [part.family for part in made] == [("f",) * 3, ("",) * 3]
    assert made[0].ids == ("a~mask-0", "a~mask-1", "a~mask-2")
