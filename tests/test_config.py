import pytest

from vestige.config import StudyConfig, build, differences, fingerprint, read_set, read_yaml, to_yaml
from vestige.studies import configure
from vestige.types import InputError


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"dta": {}}, "unknown setting 'dta'; did you mean 'data'"),
        ({"data": {"blok": 2}}, r"unknown setting 'data\.blok'; did you mean 'data\.block'"),
        ({"data": {"fraction": 1.0}}, r"data\.fraction: .*less than 1, found 1\.0"),
        ({"train": {"steps": "many"}}, r"train\.steps: .*integer"),
        ({"model": {"hidden": []}}, r"hidden needs at least one width"),
        ({"nonsense_of_its_own": 1}, r"known at the top: study, preset"),
    ],
)
def test_refusals_name_the_key_and_a_hint(layer, message):
    with pytest.raises(InputError, match=message):
        build([layer])


def test_later_layers_win():
    config = build([{"data": {"block": 3, "fraction": 0.2}}, {"data": {"block": 4}}])
    assert (config.data.block, config.data.fraction) == (4, 0.2)


def test_set_reads_values_as_yaml():
    layer = read_set(["train.lr=1e-3", "model.hidden=[8, 8]", "data.source=a=b"])
    config = build([layer])
    assert config.train.lr == 0.001
    assert config.model.hidden == (8, 8)
    assert config.data.source == "a=b"
    with pytest.raises(InputError, match="KEY=VALUE"):
        read_set(["train.lr"])


def test_yaml_comes_back_equal(tmp_path):
    config = build([{"seed": 3, "stages": ["before", "R0"]}])
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert build([read_yaml(tmp_path / "c.yaml")]) == config


@pytest.mark.parametrize(("text", "message"), [("- 1", "must hold a mapping"), ("a: [", "not valid YAML")])
def test_bad_yaml(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_yaml(tmp_path / "c.yaml")
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_yaml(tmp_path / "none.yaml")


def test_fingerprint_changes_with_every_setting_and_with_nothing_else():
    assert fingerprint(StudyConfig()) == fingerprint(StudyConfig())
    assert fingerprint(StudyConfig()) != fingerprint(build([{"train": {"steps": 1001}}]))


def test_differences_name_both_sides():
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}) == ["a.b: 3 there, 1 asked for"]


def test_data_sets_bring_their_own_strength_unless_it_is_given():
    assert configure("image-target", data="fmnist").data.fraction == 0.1
    assert configure("image-target", data="mnist").data.fraction == 0.3
    assert configure("image-target", data="fmnist", sets=["data.fraction=0.2"]).data.fraction == 0.2


def test_paper_preset_is_table_3():
    """3 targets, 5 similar each, 482 other, 50 a class, b = 2, r = 0.3 on MNIST and 0.1 on Fashion-MNIST."""
    data = configure("image-target", "paper").data
    assert (data.targets, data.similar, data.per_class, data.block, data.fraction) == (3, 5, 50, 2, 0.3)
    assert 10 * data.per_class - data.targets * (1 + data.similar) == 482


@pytest.mark.parametrize(("study", "preset"), [("image-tarjet", "small"), ("image-target", "large")])
def test_unknown_study_or_preset(study, preset):
    with pytest.raises(InputError, match="known: "):
        configure(study, preset)
