"""The predictor of hard samples: what it learns, that it cannot cheat, how it is kept."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from vestige.difficulty import judge, predict, rank
from vestige.difficulty.table import Measured
from vestige.types import InputError, MissingError


def table(seed=0, N=40, algorithms=("FT", "GA"), S=2, signal=1.0, name="toy mlp"):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=N)
    h = 1 / (1 + np.exp(signal * latent + 0.3 * rng.normal(size=(len(algorithms), S, N))))
    before = {
        "margin": -np.exp(latent) + 0.1 * rng.normal(size=(S, N)),
        "entropy": rng.normal(size=(S, N)),
        "memorisation": latent + 0.01 * rng.normal(size=(S, N)),
    }
    ids = tuple(f"s/{number}" for number in range(N))
    return Measured(name, ids, algorithms, tuple(range(S)), h, np.full(h.shape, 0.5), before)


@pytest.fixture(scope="module")
def judged():
    return judge.evaluate([table(), table(seed=1, name="toy cnn")])


def test_places_by_hand():
    assert predict.place(np.array([2.0, 4.0, 0.0, np.nan]), np.array([1.0, 2.0, 3.0, np.nan])).tolist() == [
        0,
        0.5,
        -0.5,
        0,
    ]
    assert predict.place(np.array([1.0]), np.array([np.nan])).tolist() == [0]


def test_the_hardest_quartile_by_hand():
    values = np.tile(np.arange(8.0), 3)
    assert np.flatnonzero(predict.hardest(values[None])[0] == 1).tolist() == [6, 7, 14, 15, 22, 23]
    tied = np.repeat([0.0, 1.0], [4, 20])
    assert predict.hardest(tied[None])[0].sum() == 20  # more than a quarter share the border
    unknown = predict.hardest(np.stack([np.ones(24), np.append(np.arange(19.0), [np.nan] * 5)]))
    assert np.isnan(unknown).all()


def test_auc_is_scikit_learns_in_every_draw():
    rng = np.random.default_rng(0)
    scores, hard = rng.integers(0, 6, 25).astype(float), (rng.uniform(size=25) < 0.4).astype(float)
    counts = rank.resamples(25, 20, 0)
    found = judge.auc_draws(scores, hard, counts)
    for draw in range(20):
        assert found[draw] == pytest.approx(roc_auc_score(hard, scores, sample_weight=counts[:, draw]))
    fpr, tpr, _ = roc_curve(hard, scores)
    assert judge._roc(scores, hard) == pytest.approx(np.interp(judge.GRID, fpr, tpr))


def test_a_factor_that_tells_is_used_and_its_sign_is_learned(judged):
    for way, found in judged["by"].items():
        assert found["linear"]["auc"]["value"] > 0.85, way
        assert found["informed"]["auc"]["value"] > 0.85, way
        assert found["linear"]["auc"]["low"] < found["linear"]["auc"]["value"] < found["linear"]["auc"]["high"]
        single = {line["factor"]: line["auc"]["value"] for line in found["single"]}
        assert single["margin"] > 0.85 > 0.65 > single["entropy"]
    assert judged["factors"] == ["margin", "entropy"]  # memorisation needs more than one model
    assert "memorisation" in {line["factor"] for line in judged["by"]["sample"]["single"]}
    json.dumps(judged, allow_nan=False)


def test_difficulty_without_a_reason_is_not_predicted():
    """Difficulty is each sample's own: its other seed would tell, so a leak would be seen."""
    found = []
    for seed in range(3):
        one = table(seed=seed, N=60, algorithms=("FT",))
        own = np.random.default_rng(50 + seed).uniform(size=(1, 1, 60))
        h = np.clip(own + 0.01 * np.random.default_rng(seed).normal(size=one.h.shape), 0, 1)
        same = {name: np.repeat(values[:1], 2, 0) for name, values in one.before.items()}
        by = judge.evaluate([Measured(one.name, one.ids, one.algorithms, one.seeds, h, one.gap, same)])["by"]
        found.append([by["sample"][kind]["auc"]["value"] for kind in ("linear", "boosted")])
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_training_and_judging_never_share_what_is_held_out():
    tables = [judge._cells(one, ("margin",)) for one in (table(), table(seed=1, name="toy cnn"))]
    for way, parts in judge.WAYS.items():
        judged = [np.zeros(each.hard.shape, int) for each in tables]
        for split in judge._splits(tables, way):
            for number, (train, test) in enumerate(zip(split.train, split.test, strict=True)):
                judged[number] += test
                assert not (train & test).any()
                if "sample" in parts:
                    assert not (train.any(0) & test.any(0)).any()
                if "algorithm" in parts:
                    assert not (train.any(1) & test.any(1)).any()
                if "data" in parts:
                    assert not (train.any() and test.any())
        assert all((count == 1).all() for count in judged), way


def test_one_algorithm_and_one_data_set_have_nothing_to_leave_out():
    by = judge.evaluate([table(algorithms=("FT",))])["by"]
    assert "auc" in by["sample"]["linear"]
    for way in ("algorithm", "algorithm and sample", "data"):
        assert "only" in by[way]["missing"]


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match="20 samples whose difficulty varies"):
        judge.evaluate([table(N=12)])
    with pytest.raises(InputError, match="20 samples whose difficulty varies"):
        predict.fit([table(N=12)])


def test_a_predictor_is_kept_as_json_and_read_again(tmp_path):
    one = table()
    made = predict.fit([one], {"data": predict.Worth(value=0.9, low=None, high=None, n=40)})
    assert made.factors == ("margin", "entropy")
    assert made.weights[0] < 0  # a small margin is hard here
    predict.save(made, tmp_path / "predictor.json")
    read = predict.load(tmp_path / "predictor.json")
    assert read == made
    assert (read.trained_on.data, read.judged["data"].value) == (("toy mlp",), 0.9)
    population = {name: values[0] for name, values in one.before.items()}
    chances = predict.predict(read, {name: values[:3] for name, values in population.items()}, population)
    assert ((chances > 0) & (chances < 1)).all()
    alone = predict.predict(read, {name: values[:1] for name, values in population.items()}, population)
    assert alone[0] == chances[0]  # who else is asked about does not matter


def test_what_is_no_predictor_is_refused(tmp_path):
    path = tmp_path / "predictor.json"
    with pytest.raises(MissingError, match="there is no predictor"):
        predict.load(path)
    good = predict.fit([table()])
    for record, why in (
        ({"kind": "something else"}, "kind"),
        (good.model_dump(mode="json") | {"weights": [1.0]}, "each factor needs one weight"),
        (good.model_dump(mode="json") | {"factors": ["margin", "magic"]}, "'magic' is unknown"),
        (good.model_dump(mode="json") | {"intercept": "1"}, "intercept"),
    ):
        path.write_text(json.dumps(record))
        with pytest.raises(InputError, match=why):
            predict.load(path)
    with pytest.raises(InputError, match="needs 'entropy', which the population"):
        predict.predict(good, {"margin": np.zeros(2), "entropy": np.zeros(2)}, {"margin": np.zeros(3)})
