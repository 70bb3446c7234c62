"""The measure `aligned`: its value by hand, its properties, its search beside brute force, what it finds."""

import pytest
import torch

from vestige import duplicates, measures
from vestige.config import DataConfig
from vestige.image import aligned as rooms
from vestige.image.aligned import aligned, prepare, spreads
from vestige.image.transform import TRANSFORMS
from vestige.types import InputError, Samples


def textures(count, channels=1, size=20, seed=0):
    """Smooth random images, uint8."""
    coarse = torch.rand(count, channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear") * 255).byte()


def halves(level):
    """Black at the left, of one grey at the right."""
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    image[..., 4:] = level
    return image


def test_a_masked_block_by_hand():
    """4 of 64 pixels are others: 1 − (4/64) / ½ (2·½·½ + 2·28/64·36/64) = 0.874."""
    masked = halves(255)
    masked[..., 3:5, 5:7] = 0
    assert spreads(torch.cat([halves(255), masked])).tolist() == pytest.approx([0.5, 2 * 28 / 64 * 36 / 64])
    assert aligned(halves(255), masked).item() == pytest.approx(1 - (4 / 64) / 0.49609375, abs=1e-5)


@pytest.mark.parametrize(("level", "value"), [(180, 1.0), (120, 1.0), (60, 1 - 0.5 * (20 / 51) ** 2 / 0.5)])
def test_another_exposure_by_hand(level, value):
    """120/255 becomes 180/255 by the largest gain, 1.5; by the smallest 80/255, which is 20/51 of 0.2 off."""
    assert aligned(halves(120), halves(level)).item() == pytest.approx(value, abs=1e-5)


IMAGES = {
    "texture": textures(8),
    "colour": textures(8, channels=3),
    "not square": textures(8)[:, :, :11],
    "flat": torch.arange(0, 240, 30).byte()[:, None, None, None].expand(-1, 1, 9, 9),
    "noise": torch.randint(0, 256, (8, 1, 10, 10), generator=torch.Generator().manual_seed(1)).byte(),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_symmetric_and_one_for_itself(kind):
    x = IMAGES[kind]
    there, back = aligned(x, x.roll(1, 0)), aligned(x.roll(1, 0), x)
    assert torch.equal(there, back)
    assert there.min() >= -1
    assert there.max() <= 1
    torch.testing.assert_close(aligned(x, x), torch.ones(len(x)))


@pytest.mark.parametrize("kind", ["texture", "colour", "not square"])
def test_the_way_is_the_best_of_all(kind):
    """What is computed without moving the image, beside all moved images."""
    a, b = (some.float() / 255 for some in (IMAGES[kind][:4], IMAGES[kind][4:8]))
    down, across = (rooms._ways(size) for size in a.shape[2:])
    moved = torch.einsum("fdij,ncjk,felk->nfdecil", down, a, across).flatten(1, 3).flatten(2)
    plain = moved - moved.mean(2, keepdim=True)
    best = torch.einsum("nwp,np->nw", plain / plain.norm(dim=2, keepdim=True), b.flatten(1)).argmax(1)
    spread = (spreads(IMAGES[kind][:4]) + spreads(IMAGES[kind][4:8])) / 2
    expected = rooms._agreement(moved[range(4), best], b.flatten(1), spread)
    torch.testing.assert_close(rooms._onto(IMAGES[kind][:4], IMAGES[kind][4:8]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [{"transform": "shift"}, {"transform": "crop", "crop": 0.8}, {"transform": "mask", "fraction": 0.1},
     {"transform": "blur"}, {"transform": "noise", "sigma": 0.05}, {"transform": "brightness", "brightness": 0.3},
     {"transform": "jpeg"}],
    ids=lambda settings: settings["transform"],
)  # fmt: skip
def test_copies_are_found_whichever_is_the_record(settings):
    x = (64 + 0.3 * textures(1).float() + 0.45 * textures(60, seed=3).float()).byte()  # one class: somewhat alike
    config = DataConfig.model_validate(settings)
    made = TRANSFORMS[config.transform](x[5].float() / 255, 3, config, torch.Generator().manual_seed(2))
    x = torch.cat([x, (made * 255).round().byte()])
    measure = measures.Aligned.of(x)
    kin = {5, 60, 61, 62}
    hits = measure.nearest(torch.tensor([5, 61]), 3)
    assert set(hits.position[hits.query == 0].tolist()) == kin - {5}
    assert 5 in hits.position[hits.query == 1].tolist()
    if config.transform in ("shift", "crop", "mask"):
        near = measures.Ssim(x).nearest(torch.tensor([5]), 3)
        assert set(near.position.tolist()) != kin - {5}


def test_search_is_brute_force_among_the_likely(monkeypatch):
    x = textures(40, size=14)
    x[20:] = (x[:20].float() * 0.8 + textures(20, size=14, seed=9).float() * 0.2).byte()
    measure, rows = measures.Aligned.of(x), torch.arange(0, 40, 11)
    values = torch.stack([measure.pairs(row.expand(40), torch.arange(40)) for row in rows])
    values[torch.arange(len(rows)), rows] = -torch.inf
    exact = values.topk(4)
    hits = measure.nearest(rows, 4)
    assert torch.equal(hits.position.view(-1, 4), exact.indices)
    torch.testing.assert_close(hits.value.view(-1, 4), exact.values)
    tau = float(exact.values[:, 1].median())
    found = measure.within(rows, tau, first=20)
    assert {*zip(found.query.tolist(), found.position.tolist(), strict=True)} == {
        (query, position) for query, position in (values >= tau).nonzero().tolist() if position >= 20
    }
    monkeypatch.setattr(measures, "LIKELY", 6)
    few = measure.nearest(rows, 1)
    assert torch.equal(few.position, exact.indices[:, 0])


def test_large_images_are_averaged_down():
    x = textures(6, channels=3, size=70)
    assert prepare(x).shape == (6, 3, 23, 23)
    assert torch.equal(prepare(x.float() / 255), prepare(x))
    assert torch.equal(prepare(x[..., :32, :32].float() / 255), x[..., :32, :32])
    measure = measures.Aligned.of(torch.cat([x, x.roll(3, 3)]))
    assert measure.nearest(torch.tensor([2]), 1).position.tolist() == [8]


@pytest.mark.parametrize("shape", [(2, 1, 7, 20), (2, 1, 20, 200)])
def test_refuses_what_cannot_be_compared(shape):
    with pytest.raises(InputError, match="at least 8×8, and no side 4 times the other; got"):
        measures.Aligned.of(torch.zeros(shape))


def test_duplicates_that_were_moved(monkeypatch):
    x = textures(16, size=12)
    x = torch.cat([x, x[:3].roll(1, 2), x[:2]])
    samples = Samples(tuple(f"s{row}" for row in range(21)), x, torch.zeros(21, dtype=torch.long), 1)
    measure = measures.Aligned.of(x)
    every = duplicates.find(samples, measure, 0.9, say=str)
    assert every.complete
    assert every.exact == ((0, 19), (1, 20))
    assert every.groups == ((0, 16, 19), (1, 17, 20), (2, 18))
    monkeypatch.setattr(duplicates, "LIKELY", 10)
    likely = duplicates.find(samples, measure, 0.9, say=str)
    assert (likely.complete, likely.groups) == (False, every.groups)
    monkeypatch.setattr(duplicates, "IMAGES", 10)
    with pytest.raises(InputError, match="of at most 10 images; here are 19: use --by ssim"):
        duplicates.find(samples, measure, 0.9, say=str)
