import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from vestige import dataset, image
from vestige.config import DataConfig
from vestige.store import Store
from vestige.types import InputError

SMALL = DataConfig(per_class=6, targets=2, similar=3, held_out=2, never_seen=9, test=6)


def entail(pool, config=SMALL, seed=0):
    return dataset.entail(config, pool, modality=image, seed=seed)


def labels(samples, ids):
    return samples.take(ids).y.tolist()


def test_arms_have_equal_size_and_equal_classes(pool):
    samples, split = entail(pool)
    for arm in ("with", "without"):
        ids = split.training(arm)
        assert len(ids) == len(set(ids)) == 18
        assert torch.bincount(samples.take(ids).y).tolist() == [6, 6, 6]
    assert set(split.training("with")) ^ set(split.training("without")) == {*split.all_similar(), *split.refill}


def test_targets_belong_to_different_classes(pool):
    samples, split = entail(pool)
    assert len(set(labels(samples, split.target))) == 2
    for target in split.target:
        family = (*split.similar[target], *split.held_out[target])
        assert len(family) == 5
        assert set(labels(samples, family)) == set(labels(samples, [target]))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_nothing_that_is_never_trained_on_is_in_training(seed):
    from conftest import shapes
    from vestige.types import Samples

    x, y = shapes()
    pool = Samples(tuple(map(str, range(60))), torch.from_numpy(x), torch.from_numpy(y), 3)
    _, split = entail(pool, seed=seed)
    trained = {*split.training("with"), *split.training("without")}
    never = {*split.never_seen, *split.test, *split.all_held_out()}
    assert not trained & never
    assert not set(split.never_seen) & set(split.test)


def test_building_is_deterministic_and_seeds_differ(pool):
    (a, split_a), (b, split_b), (_, split_c) = entail(pool), entail(pool), entail(pool, seed=1)
    assert split_a == split_b
    assert torch.equal(a.x, b.x)
    assert split_a.target != split_c.target or split_a.other != split_c.other


def test_near_samples_are_kept_others_nearest_first(pool):
    from vestige.similar import ssim

    samples, split = entail(pool)
    for target in split.target:
        near = split.near[target]
        assert len(near) == 5
        assert set(near) <= set(split.other)
        scores = ssim(samples.take([target]).x.expand(5, -1, -1, -1), samples.take(near).x)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_held_out_copies_are_none_of_the_training_copies(pool):
    samples, split = entail(pool)
    for target in split.target:
        copies = samples.take((*split.similar[target], *split.held_out[target])).x.flatten(1)
        assert len(torch.unique(copies, dim=0)) == len(copies)


def test_saved_and_loaded_whole(pool, tmp_path):
    samples, split = entail(pool)
    store = Store(tmp_path)
    store.save("data", "abc", run={}, **dataset.to_entry(samples, split, SMALL, 0, "digest"))
    again, split_again = dataset.from_entry(store.load("data", "abc"))
    assert split_again == split
    assert again.ids == samples.ids
    assert torch.equal(again.x, samples.x)
    manifest = store.load("data", "abc").facts
    copy = split.similar[split.target[0]][0]
    assert manifest["made_by"][copy] == {"of": split.target[0], "transform": "mask", "block": 2, "fraction": 0.3}
    assert "| similar (transform mask" in (tmp_path / "data" / "abc" / "card.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": 4}, r"4 targets of different classes were asked for, the data has 3"),
        ({"similar": 6}, r"a target and its 6 similar samples do not fit into 6 samples a class"),
        ({"per_class": 18}, r"class 0 has 20 samples, 23 are needed: 18 to train, 3 never seen, 2 to test"),
    ],
)
def test_refuses_what_the_data_has_no_room_for(pool, change, message):
    with pytest.raises(InputError, match=message):
        entail(pool, SMALL.model_copy(update=change))
