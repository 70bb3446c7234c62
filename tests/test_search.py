import pytest
import torch

from vestige.image import lowpass, search
from vestige.image.ssim import ssim_matrix
from vestige.index import recall
from vestige.types import InputError


def random_images(count=90, channels=1, size=14, seed=0):
    return torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def flat(level, count):
    return torch.full((count, 1, 14, 14), level, dtype=torch.uint8)


def nearly_equal():
    """Images one grey level apart in a single pixel: SSIM differs by far less than the kernel's error."""
    images = random_images(1, seed=5).repeat(60, 1, 1, 1)
    for row in range(60):
        images[row, 0, row % 14, (3 * row) % 14] ^= 1
    return images


ADVERSARIAL = {
    "random": random_images(),
    "colour": random_images(40, channels=3),
    "not square": random_images(40)[:, :, :12],
    "copies": random_images(12).repeat(5, 1, 1, 1),
    "nearly equal": nearly_equal(),
    "white and nearly white": torch.cat([flat(255, 20), flat(254, 20), random_images(5) // 64 + 191, flat(255, 5)]),
    "black": torch.cat([flat(0, 30), random_images(10) // 200]),
    "inverted": torch.cat([random_images(30), 255 - random_images(30)]),
}


def brute_force(x, rows, k=None, tau=None):
    """Positions by comparing every pair in float64: nearest first, ties to the earlier, never itself."""
    unit = x.float() / 255
    scores = ssim_matrix(unit[rows], unit)
    found = []
    for row, values in zip(rows.tolist(), scores, strict=True):
        order = [at for at in torch.sort(values, descending=True, stable=True).indices.tolist() if at != row]
        found.append(order[:k] if tau is None else [at for at in order if values[at] >= tau])
    return found


def grouped(hits, queries):
    return [hits.position[hits.query == row].tolist() for row in range(queries)]


@pytest.mark.parametrize("kind", ADVERSARIAL)
@pytest.mark.parametrize(("block", "workers"), [(7, 1), (8192, 3)])
def test_search_is_brute_force(kind, block, workers, monkeypatch):
    monkeypatch.setattr(search, "TILE", 2000)
    x = ADVERSARIAL[kind]
    rows = torch.arange(0, len(x), 7)
    hits = search.nearest(x[rows], x, 5, skip=rows, block=block, workers=workers)
    assert grouped(hits, len(rows)) == brute_force(x, rows, k=5)
    for tau in (-0.2, 0.05, 0.9, 1.0):
        hits = search.within(x[rows], x, tau, skip=rows, block=block, workers=workers)
        assert grouped(hits, len(rows)) == brute_force(x, rows, tau=tau)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_the_kernel_stays_within_its_bound(kind):
    x = ADVERSARIAL[kind]
    unit = (x.float() / 255).double()
    found = torch.cat([values for _, values in search.approximate(x[:10], x)], 1)
    assert (found - ssim_matrix(unit[:10], unit)).abs().max() < search.error(x)
    assert search.error(x) < 0.005


def test_floats_and_bytes_are_the_same_images():
    x = random_images(30)
    hits, floats = search.nearest(x[:4], x, 3), search.nearest(x[:4].float() / 255, x.float() / 255, 3)
    assert all(torch.equal(a, b) for a, b in zip(hits, floats, strict=True))
    assert hits.value.view(4, 3)[:, 0].tolist() == [1.0] * 4  # itself: nothing is skipped here


def test_more_queries_than_are_kept_at_a_time(monkeypatch):
    x = random_images(40)
    rows = torch.arange(40)
    whole = search.nearest(x, x, 4, skip=rows)
    monkeypatch.setattr(search, "QUERIES", 9)
    monkeypatch.setattr(search, "TILE", 1000)
    assert all(torch.equal(a, b) for a, b in zip(whole, search.nearest(x, x, 4, skip=rows), strict=True))


def test_fewer_images_than_neighbours():
    x = random_images(3)
    hits = search.nearest(x[:1], x, 10, skip=torch.tensor([0]))
    assert sorted(hits.position.tolist()) == [1, 2]


def test_pairs_by_position():
    x = random_images(6)
    unit = x.float() / 255
    values = search.pairs(x, torch.tensor([0, 2, 2]), torch.tensor([1, 5, 2]))
    expected = ssim_matrix(unit, unit)[[0, 2, 2], [1, 5, 2]]
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize(("queries", "pool"), [((1, 1, 14, 14), (2, 1, 15, 15)), ((1, 1, 9, 14), (2, 1, 9, 14))])
def test_refuses_what_cannot_be_compared(queries, pool):
    with pytest.raises(InputError, match=r"one shape|at least"):
        search.nearest(torch.zeros(queries), torch.zeros(pool), 1)
    with pytest.raises(InputError, match="nothing to compare"):
        search.nearest(torch.zeros(0, 1, 14, 14), torch.zeros(2, 1, 14, 14), 1)


def blobs(count, size=28, seed=0):
    """Smooth images: what low-pass candidates are made for."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 5, 5, generator=draw)
    return (torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear") * 255).byte()


def test_candidates_hold_the_nearest():
    x = blobs(600)
    rows = torch.arange(0, 600, 30)
    made = lowpass.build(x)
    exact = search.nearest(x[rows], x, 5, skip=rows)
    found = made.nearest(x[rows], x, 5, skip=rows, count=100)
    assert recall(found.position.view(-1, 5), exact.position.view(-1, 5)) > 0.95
    same = made.nearest(x[rows], x, 5, skip=rows, count=599)
    assert all(torch.equal(a, b) for a, b in zip(same, exact, strict=True))


@pytest.mark.parametrize("shape", [(20, 3, 32, 32), (20, 1, 70, 45), (20, 1, 11, 11)])
def test_candidates_of_other_shapes(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    hits = lowpass.build(x).nearest(x[:2], x, 1, count=20)
    assert hits.position.tolist() == [0, 1]


def test_the_polynomials_are_orthonormal_under_the_window():
    from vestige.image.ssim import band

    rows = lowpass._polynomials(11)[:, 0].double()
    weights = band(11, torch.float64)[0]
    torch.testing.assert_close(rows[0], weights, atol=1e-6, rtol=0)
    gram = (rows / weights.sqrt()) @ (rows / weights.sqrt()).T
    torch.testing.assert_close(gram, torch.eye(9, dtype=torch.float64), atol=1e-5, rtol=0)
