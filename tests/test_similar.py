import pytest
import torch

from vestige.image.transform import mask_blocks
from vestige.similar import threshold, top_k
from vestige.types import InputError, Samples


@pytest.fixture
def family():
    """One image with two maskings (one light, one heavy) and two strangers."""
    g = torch.Generator().manual_seed(0)
    image = torch.rand(1, 20, 20, generator=g)
    light, heavy = mask_blocks(image, 2, 0.05, g), mask_blocks(image, 2, 0.5, g)
    strangers = torch.rand(2, 1, 20, 20, generator=g)
    x = torch.stack([image, heavy, *strangers, light])
    return Samples(("image", "heavy", "a", "b", "light"), x, torch.zeros(5, dtype=torch.long), 1)


def test_nearest_first_and_never_itself(family):
    assert top_k(family.take(["image"]), family, 2) == {"image": ("light", "heavy")}


def test_threshold_takes_all_that_reach_it(family):
    target = family.take(["image"])
    assert threshold(target, family, 0.3)["image"][0] == "light"
    assert threshold(target, family, 1.0) == {"image": ()}
    assert len(threshold(target, family, -1.0)["image"]) == 4


def test_more_than_there_are_is_an_error(family):
    with pytest.raises(InputError, match="5 similar samples of 'image' were asked for, only 4"):
        top_k(family.take(["image"]), family, 5)


def test_unknown_similarity(family):
    with pytest.raises(InputError, match="known: ssim"):
        top_k(family, family, 1, by="cosine")
