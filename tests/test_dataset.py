import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from vestige import dataset, image
from vestige.config import DataConfig
from vestige.store import Store
from vestige.types import InputError, Samples

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


def families(sizes=(6, 6, 3), per_class=14):
    """Three classes: in each, two families of this size and single samples; every sample a picture of its own."""
    ids, kin, labels = [], [], []
    for label, size in enumerate(sizes):
        for family in "ab":
            ids += [f"{label}{family}{member}" for member in range(size)]
            kin += [f"{label}{family}"] * size
        ids += [f"{label}-{number}" for number in range(per_class)]
        kin += [""] * per_class
        labels += [label] * (2 * size + per_class)
    x = torch.rand(len(ids), 1, 12, 12, generator=torch.Generator().manual_seed(0))
    return Samples(tuple(ids), x, torch.tensor(labels), 3, tuple(kin))


NATURAL = DataConfig(transform="family", per_class=6, targets=2, similar=3, held_out=2, never_seen=9, test=6)


@given(seed=st.integers(0, 10_000), transform=st.sampled_from(["family", "mask"]))
@settings(max_examples=30, deadline=None)
def test_a_family_is_in_one_part_only(seed, transform):
    """Similar and held-out samples are the target's relatives; any other family has one member in one part."""
    pool = families()
    kin = {name: family or name for name, family in zip(pool.ids, pool.family, strict=True)}
    config = NATURAL.model_copy(update={"transform": transform})
    samples, split = entail(pool, config, seed)
    elsewhere = (*split.other, *split.refill, *split.never_seen, *split.test)
    drawn = [kin[name] for name in (*split.target, *elsewhere)]
    assert len(drawn) == len(set(drawn))
    for target in split.target:
        relatives = (*split.similar[target], *split.held_out[target])
        assert len(set(relatives)) == 5
        if transform == "family":
            assert {kin[name] for name in relatives} == {kin[target]}
            assert target not in relatives
            assert target[0] in "01", "class 2 has no family of six"
    assert len(split.training("with")) == len(split.training("without")) == 18
    assert set(samples.take(split.training("with")).y.tolist()) == {0, 1, 2}


def test_natural_relatives_are_kept_as_they_are(tmp_path):
    pool = families()
    samples, split = entail(pool, NATURAL)
    relatives = split.all_similar()
    assert torch.equal(samples.take(relatives).x, pool.take(relatives).x)
    store = Store(tmp_path)
    store.save("data", "abc", run={}, **dataset.to_entry(samples, split, NATURAL, 0, "digest"))
    assert dataset.from_entry(store.load("data", "abc"))[0].family == samples.family
    facts = store.load("data", "abc").facts
    assert facts["made_by"][relatives[0]] == {"of": split.target[0], "transform": "family"}
    assert "Each family of natural near-duplicates" in (tmp_path / "data" / "abc" / "card.md").read_text()


def test_families_that_are_not_there(pool):
    with pytest.raises(InputError, match=r"each with 5 relatives \(3 similar, 2 held out\).*know no families"):
        entail(pool, NATURAL)
    with pytest.raises(InputError, match="but 2 classes have such a family"):
        entail(families(), NATURAL.model_copy(update={"targets": 3}))
    with pytest.raises(InputError, match=r"class 0 has 4 families and single samples, 11 are needed"):
        entail(families(per_class=2), NATURAL)
    torn = families()
    torn.y[0] = 2
    with pytest.raises(InputError, match=r"the family '0a' has members of the classes"):
        entail(torn, NATURAL)


def test_a_larger_dose_replaces_others_and_nothing_else(pool):
    """Same targets, null and test at every number of copies; the copies are nested, and so are the others."""
    splits = []
    for similar in (0, 1, 3):
        config = SMALL.model_copy(update={"similar": similar, "held_out": 5 - similar})
        splits.append(entail(pool, config))
    (_, none), (first, one), (second, three) = splits
    for _, split in splits[1:]:
        assert (split.target, split.never_seen, split.test) == (none.target, none.never_seen, none.test)
    assert set(three.other) < set(one.other) < set(none.other)
    for target in none.target:
        assert three.similar[target][:1] == one.similar[target]
        assert torch.equal(first.take(one.similar[target]).x, second.take(one.similar[target]).x)
    assert {len(split.training("with")) for _, split in splits} == {18}
