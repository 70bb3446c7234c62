"""The search for settings, the presets, and how a network's kind brings its own."""

import json

import numpy as np
import pytest
import torch

from conftest import shapes
from vestige import image, presets, tune
from vestige.config import UnlearnConfig, build, to_yaml
from vestige.studies import command, configure, open_laboratory
from vestige.tune import RANGES, Behaviour, Range, unseen
from vestige.types import InputError
from vestige.unlearn import METHODS


def test_a_threshold_on_the_loss_by_hand():
    """Retained 0.1, 0.2, 0.3, test 0.3, 1, 2: above 0.3 is told unseen (all retained and ⅔ of the test right)."""
    retain, test = np.array([0.1, 0.2, 0.3]), np.array([0.3, 1.0, 2.0])
    assert unseen(np.array([0.05, 0.3, 0.31, 5.0]), retain, test) == 0.5
    assert unseen(np.array([np.inf]), retain, test) == 1.0
    assert unseen(retain, retain, test) == 0.0


def test_the_gap_by_hand():
    """|Δ| 0.2, 0.1, 0, 0.5 and mean(|0.4|, |0.2|) = 0.3: their mean is 0.22."""
    after = Behaviour(0.8, 0.9, 0.7, 0.0, np.array([0.9, 0.3]))
    reference = Behaviour(1.0, 1.0, 0.7, 0.5, np.array([0.5, 0.5]))
    assert after.gap(reference) == pytest.approx(0.22)
    assert after.gap(after) == 0


def test_ranges():
    assert [Range(1e-4, 1.0).at(share) for share in (0, 0.5, 1)] == [1e-4, 1e-2, 1.0]
    assert Range(0.5, 1.0, log=False).at(0.5) == 0.75
    found = [Range(1, 6, whole=True).at(share) for share in np.linspace(0, 1, 200)]
    assert sorted(set(found)) == [1, 2, 3, 4, 5, 6]
    assert Range(1, 1, whole=True).at(1.0) == 1


def test_every_method_with_settings_can_be_tuned():
    assert set(RANGES) == set(METHODS) - {"retrain", "SISA"}
    assert set(RANGES) == set(presets.SETTINGS)
    defaults = UnlearnConfig().model_dump()
    for method, ranges in RANGES.items():
        assert set(ranges) <= set(defaults[presets.SETTINGS[method]])


@pytest.fixture
def small(tmp_path):
    x, y = shapes(per_class=30)
    np.savez(tmp_path / "shapes.npz", x=x[:, 0], y=y)
    return tmp_path / "shapes.npz"


SMALL = ["data.per_class=10", "data.test=30", "train.steps=10", "train.batch=10", "model.channels=[4,8]"]


def search(source, methods, **options):
    config = configure("image-target", data=str(source), sets=["model.kind=cnn", *SMALL], base=tune.SIZE)
    ask = {"seeds": [100], "trials": 4, "share": 0.3, "budget": 60.0, "say": lambda _: None, **options}
    return dict(tune.search(methods, config, **ask))


def test_tuning_repeats_and_keeps_to_its_share(small):
    first, again = (search(small, ["relabel"], trials=3) for _ in range(2))
    for found in (first, again):
        for entry in found.values():
            entry.pop("time")
    assert first == again
    assert first["relabel"]["settings"]["steps"] <= 3
    assert first["relabel"]["found"]["forget"] == 3
    assert first["relabel"]["trials"] == 3


def test_tuning_is_never_worse_than_the_published_values_and_stops_when_time_is_up(small):
    alone = search(small, ["NegGrad+"], trials=1)["NegGrad+"]
    assert alone["settings"] == {**UnlearnConfig().neggrad.model_dump(), "steps": 3}
    assert search(small, ["NegGrad+"])["NegGrad+"]["gap"] <= alone["gap"]
    assert search(small, ["NegGrad+"], trials=100, budget=0.0)["NegGrad+"]["trials"] == 1


@pytest.mark.parametrize("method", ["retrain", "SISA", "SCRUBB"])
def test_nothing_to_tune(method, small):
    with pytest.raises(InputError, match=f"nothing to tune for '{method}'; methods with settings: finetune"):
        search(small, [method])


def test_tune_from_the_command_line(run, small, tmp_path):
    sets = [part for item in SMALL for part in ("--set", item)]
    ask = ("--data", small, "--model", "cnn", "--seeds", "100", "--trials", 2, *sets)
    (tmp_path / "mine.yaml").write_text("# kept\nmlp: {methods: {}}\n")
    status, text, err = run("tune", "GA", *ask, "--write", "mine.yaml")
    assert (status, "nothing" in text, "seed 100: trained" in err) == (0, True, True)
    status, text, _ = run("tune", "finetune", *ask, "--write", "mine.yaml", "--json")
    assert set(json.loads(text)["methods"]) == {"finetune"}
    before = (tmp_path / "mine.yaml").read_text()
    status, text, err = run("tune", "GA", "finetune", *ask, "--write", "mine.yaml")
    assert (status, "already" in err, "trained" in err, "finetune" in text) == (0, True, False, True)
    assert (tmp_path / "mine.yaml").read_text() == before
    assert (tmp_path / "mine.yaml").read_text().startswith("# kept\n")
    written = presets.read(tmp_path / "mine.yaml")
    assert set(written["cnn"]["methods"]) == {"GA", "finetune"}
    assert written["mlp"] == {"methods": {}}
    found = written["cnn"]["methods"]["GA"]["found"]
    assert found["command"].startswith("vestige tune GA --data ")
    assert "--model cnn --seeds 100 --trials 2" in found["command"]
    assert "--set train.steps=10" in found["command"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("SISA",), "nothing to tune for 'SISA'"),
        (("GA", "--seeds", "1-3"), "--seeds takes numbers such as 100,101,102"),
        (("GA", "--model", "vgg"), "vgg"),
        (("GA", "--set", "model.widht=3"), "unknown setting 'model.widht'"),
        (("GA", "--data", "none.npz"), "no such file"),
        (("GA", "--write", "none/out.yaml"), "there is no folder none"),
    ],
)
def test_bad_input_to_tune(run, arguments, message, tmp_path):
    status, out, err = run("tune", "--write", "out.yaml", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out.yaml").exists()


# What a kind of network brings


def test_the_default_network_is_as_it_was():
    config = configure("image-target")
    assert config.model.model_dump(mode="json") == {"kind": "mlp", "hidden": [300, 300], "init_scale": 1e-4}
    assert (config.train.steps, config.train.batch, config.train.momentum) == (1000, None, 0.0)
    assert config.unlearn == UnlearnConfig()


def test_the_default_network_takes_tuned_settings_when_asked():
    config = configure("image-target", sets=["unlearn.preset=tuned", "unlearn.ascent.lr=0.5"])
    methods = presets.read(presets.FILE)["mlp"]["methods"]
    assert set(methods) == set(RANGES)
    assert config.unlearn.scrub.model_dump() == methods["SCRUB"]["settings"]
    assert config.unlearn.ascent.lr == 0.5
    assert config.train == configure("image-target").train


@pytest.mark.parametrize("kind", ["cnn", "resnet18"])
def test_other_networks_bring_their_training_and_tuned_settings(kind):
    config = configure("image-target", "paper", sets=[f"model.kind={kind}"])
    assert config.model.kind == kind
    assert config.train.batch is not None
    assert config.unlearn.preset == "tuned"
    methods = presets.read(presets.FILE)[kind]["methods"]
    assert set(methods) == set(RANGES)
    ours = config.unlearn.model_dump()
    for name, entry in methods.items():
        assert ours[presets.SETTINGS[name]] == entry["settings"]
        assert set(entry["found"]["seeds"]).isdisjoint(range(10)), "chosen on seeds that no result uses"
    published = configure("image-target", sets=[f"model.kind={kind}", "unlearn.preset=published"])
    assert published.unlearn == UnlearnConfig()
    own = configure("image-target", sets=[f"model.kind={kind}", "unlearn.scrub.lr=0.123", "train.batch=7"])
    assert (own.unlearn.scrub.lr, own.train.batch) == (0.123, 7)
    assert own.unlearn.scrub.steps == config.unlearn.scrub.steps


def test_a_destroyed_model_is_never_right(pool):
    """NaN is not an answer, though it is where argmax points first."""
    samples = image.unit(pool)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
    torch.nn.init.constant_(model[1].weight, torch.nan)
    found = tune.behaviour(model, *(samples.at(slice(at, at + 20)) for at in (0, 20, 40)), image)
    assert (found.forget, found.retain, found.test) == (0, 0, 0)
    assert (found.p == 0).all()


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        (["model.kind=resnet18"], "tuned for model.width=8 and may not suit"),
        (["model.kind=resnet18", "model.width=8"], ""),
        (["model.kind=resnet18", "unlearn.preset=published"], ""),
        (["model.kind=cnn"], ""),
        (["model.kind=cnn", "model.channels=[8]"], "tuned for model.channels=[16, 32, 64] and may not suit"),
    ],
)
def test_settings_that_were_tuned_for_another_size_are_said_to_be(sets, why, npz, tmp_path, capsys):
    settings = configure("image-methods", data=str(npz), sets=["measure=[outputs]", *sets])
    open_laboratory(settings, tmp_path / "out")
    err = capsys.readouterr().err
    assert why in err
    assert bool(why) == bool(err)


def test_a_network_that_nothing_was_tuned_for(monkeypatch, tmp_path):
    monkeypatch.setattr(presets, "FILE", tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"no settings were tuned for model\.kind mlp; set unlearn\.preset=published"):
        configure("image-target", sets=["unlearn.preset=tuned"])


@pytest.mark.parametrize(
    "sets",
    [
        ["model.kind=cnn"],
        ["model.kind=cnn", "model.channels=[8]", "unlearn.preset=published", "unlearn.scrub.lr=0.5"],
        ["model.kind=resnet18", "train.sisa.slices=2"],
        ["unlearn.preset=tuned"],
        ["model.hidden=[8,8]", "train.sisa={}"],
    ],
)
def test_the_command_makes_the_same_configuration_again(sets, tmp_path):
    import shlex

    config = configure("image-target", sets=sets)
    words = shlex.split(command(config))
    again = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert configure("image-target", sets=again) == config
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert configure("image-target", file=tmp_path / "c.yaml") == config


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            {"model": {"kind": "cnn", "chanels": [4]}},
            r"unknown setting 'model\.chanels'; did you mean 'model\.channels'",
        ),
        ({"model": {"kind": "cnn", "hidden": [4]}}, r"unknown setting 'model\.hidden'"),
        ({"model": {"kind": "resnet18", "width": 12}}, r"model\.width: .*multiple of 8, found 12"),
        ({"model": {"kind": "vgg"}}, r"model: .*'mlp', 'cnn', 'resnet18'"),
        ({"train": {"momentum": 1.0}}, r"train\.momentum"),
        (
            {"train": {"sisa": {"shard": 3}}},
            r"unknown setting 'train\.sisa\.shard'; did you mean 'train\.sisa\.shards'",
        ),
    ],
)
def test_refusals_name_the_key_and_a_hint(layer, message):
    with pytest.raises(InputError, match=message):
        build([layer])


def test_another_kind_takes_no_fields_of_the_one_before():
    config = build([{"model": {"hidden": [5]}}, {"model": {"kind": "cnn"}}, {"model": {"channels": [3]}}])
    assert config.model.model_dump() == {"kind": "cnn", "channels": (3,)}


def test_presets_that_cannot_be_read(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="must map kinds of networks to presets"):
        presets.read(tmp_path / "list.yaml")
    assert presets.read(tmp_path / "none.yaml") == {}
