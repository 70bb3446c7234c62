"""The questions of the difficulty study, on tables whose answers are known."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from vestige.difficulty import analyse, judge, rank
from vestige.difficulty.table import Doses, Measured, doses, measured
from vestige.types import InputError


def table(seed=0, N=60, algorithms=("FT", "GA", "SCRUB"), S=3, noise=0.4, own=0.0, name="toy mlp"):
    """Difficulty is one latent number, but for noise of each run and what is an algorithm's own."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=N)
    bend = own * rng.normal(size=(len(algorithms), 1, N)) + noise * rng.normal(size=(len(algorithms), S, N))
    h = 1 / (1 + np.exp(latent + bend))
    before = {
        "memorisation": latent + 0.2 * rng.normal(size=(S, N)),
        "margin": -latent + 0.2 * rng.normal(size=(S, N)),
        "entropy": rng.normal(size=(S, N)),
        "similar_mass": np.abs(rng.normal(size=(S, N))),
    }
    after = {"steps": 1 - h + 0.1 * rng.normal(size=h.shape)}
    ids = tuple(f"s/{number}" for number in range(N))
    return Measured(name, ids, algorithms, tuple(range(S)), h, np.full(h.shape, 0.5), before, after)


def test_rank_correlations_are_scipys_in_every_draw():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, (3, 30)).astype(float), rng.normal(size=(2, 30))
    a[1, 4] = b[0, 7] = np.nan
    values, draws = rank.spearman(a, b, draws=20, seed=3)
    counts = rank.resamples(30, 20, 3).astype(int)
    for i in range(3):
        for j in range(2):
            for draw in range(-1, 20):
                rows = np.repeat(np.arange(30), counts[:, draw]) if draw >= 0 else np.arange(30)
                x, y = a[i][rows], b[j][rows]
                there = ~np.isnan(x) & ~np.isnan(y)
                found = values[i, j] if draw < 0 else draws[draw, i, j]
                assert found == pytest.approx(spearmanr(x[there], y[there])[0], abs=1e-9)


def test_a_constant_has_no_rank_correlation():
    values, draws = rank.spearman(np.ones((1, 8)), np.arange(8.0)[None], draws=5)
    assert np.isnan(values).all()
    assert np.isnan(draws).all()


def test_the_bootstrap_interval_covers_what_is_true():
    """Of 60 samples of two normals of correlation 0.5: Spearman (6/π) asin(1/4) = 0.483."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(100):
        x = rng.normal(size=(2, 60))
        y = 0.5 * x[0] + np.sqrt(0.75) * x[1]
        values, draws = rank.spearman(x[:1], y[None], draws=400)
        record = rank.interval(values[0, 0], draws[:, 0, 0], 60)
        inside += record["low"] <= 6 / np.pi * np.arcsin(0.25) <= record["high"]
    assert inside >= 88


def test_slopes_are_least_squares():
    x, y = np.array([0.0, 1, 2, 3, np.nan]), np.array([1.0, 3, 5, 7, 100])
    slope, draws = rank.slopes(x, y, draws=50)
    assert slope == pytest.approx(2)
    assert draws[~np.isnan(draws)] == pytest.approx(2)


def test_gini_by_hand():
    assert analyse.gini(np.array([0.0, 0.0, 1.0])) == pytest.approx(2 / 3)
    assert analyse.gini(np.ones(4)) == 0
    assert analyse.gini(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert np.isnan(analyse.gini(np.zeros(3)))


def test_holm_by_hand():
    assert analyse.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert analyse.holm([0.9, 0.5]).tolist() == [1, 1]
    assert analyse.holm([]).tolist() == []


def test_inequality_ranks_what_is_hard_first():
    one = table()
    found = analyse.inequality(one)
    order = [line["difficulty"] for line in found["ranking"]]
    assert order == sorted(order, reverse=True)
    assert found["n"] == found["asked"] == 60
    assert sum(found["overall"]["histogram"]) == 60
    assert found["ranking"][0]["id"] == one.ids[int(np.argmax(one.overall))]


def test_what_has_nothing_to_erase_for_an_algorithm_is_left_out():
    one = table()
    gap = one.gap.copy()
    gap[:, :, 0] = 0.04
    gap[0, :, 1] = [0.0, 0.0, 0.1]  # on average below 0.05, for this algorithm alone
    one = Measured(one.name, one.ids, one.algorithms, one.seeds, one.h, gap, one.before, one.after)
    found = analyse.inequality(one)
    assert found["nothing_to_erase"] == ["s/0", "s/1"]
    assert found["n"] == 58
    assert np.isnan(one.difficulty[:, 0]).all()
    assert np.isnan(one.difficulty[:, 1]).tolist() == [True, False, False]


def test_algorithms_that_differ_by_noise_alone_agree_up_to_their_ceiling():
    same, other = analyse.agreement(table(noise=0.7)), analyse.agreement(table(noise=0.7, own=1.5))
    assert same["disattenuated"]["value"] == pytest.approx(1, abs=0.06)
    assert same["disattenuated"]["low"] < 1 < same["disattenuated"]["high"] + 0.05
    assert same["cross"]["value"] == pytest.approx(same["ceiling"]["value"], abs=0.06)
    assert other["disattenuated"]["high"] < 0.75
    assert other["cross"]["value"] < other["ceiling"]["value"]


def test_agreement_by_hand():
    """Two algorithms, two seeds: cross compares a's seed 0 with b's seed 1 and the other way round."""
    h = np.random.default_rng(0).uniform(size=(2, 2, 12))
    one = Measured("x", tuple("abcdefghijkl"), ("A", "B"), (0, 1), h, np.ones((2, 2, 12)), {})
    found = analyse.agreement(one)

    def rho(first, second):
        return spearmanr(h[first], h[second])[0]

    assert found["cross"]["value"] == pytest.approx((rho((0, 0), (1, 1)) + rho((0, 1), (1, 0))) / 2)
    assert found["cross_same_seed"]["value"] == pytest.approx((rho((0, 0), (1, 0)) + rho((0, 1), (1, 1))) / 2)
    assert found["matrix"][0][0] == pytest.approx(rho((0, 0), (0, 1)))
    assert found["same_seed"][0][0] is None


def test_one_seed_has_no_ceiling_and_an_algorithm_without_ranks_is_named():
    one = table(S=1)
    h = one.h.copy()
    h[1] = 0.0
    found = analyse.agreement(Measured(one.name, one.ids, one.algorithms, one.seeds, h, one.gap, {}))
    assert found["constant"] == ["GA"]
    assert found["ceiling"]["value"] is None
    assert found["cross_same_seed"]["value"] > 0.5


def test_factors_that_hold_are_found_and_noise_is_not():
    found = analyse.holding([table(), table(seed=1, name="toy cnn")])
    by = {factor["name"]: factor for factor in found["factors"]}
    assert [by[name]["holds"] for name in ("memorisation", "margin", "entropy", "similar_mass")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert (by["memorisation"]["sign"], by["margin"]["sign"]) == (1, -1)
    assert found["tests"] == 4 * 3 * 2 == sum(len(factor["cells"]) for factor in found["factors"])
    symptoms = analyse.holding([table()], "after")
    assert [(factor["name"], factor["holds"]) for factor in symptoms["factors"]] == [("steps", True)]


def test_noise_alone_does_not_hold():
    holds = 0
    for seed in range(20):
        one = table(seed=seed)
        noise = {"entropy": np.random.default_rng(100 + seed).normal(size=(3, 60))}
        plain = Measured(one.name, one.ids, one.algorithms, one.seeds, one.h, one.gap, noise)
        holds += analyse.holding([plain])["factors"][0]["holds"]
    assert holds <= 3


def test_natural_and_constructed_trends_are_found():
    one = table()
    mass = {"similar_mass": np.exp(one.before["memorisation"])}
    rising = analyse.natural(Measured(one.name, one.ids, one.algorithms, one.seeds, one.h, one.gap, mass))
    assert rising["overall"]["spearman"]["low"] > 0.5
    assert rising["overall"]["slope"]["low"] > 0
    rng = np.random.default_rng(0)
    amounts = (0, 1, 2, 5, 10)
    values = 0.2 + 0.05 * np.array(amounts) + 0.02 * rng.normal(size=(2, 10, 5))
    values[:, :4, 4] = np.nan
    values[:, 9, 1:] = np.nan
    found = analyse.constructed(Doses("x", ("A", "B"), tuple("abcdefghij"), amounts, values))
    assert found["overall"]["slope"]["value"] == pytest.approx(0.05, abs=0.01)
    assert found["overall"]["slope"]["n"] == 9
    assert found["overall"]["erasable"][4]["value"] == pytest.approx(0.5)
    assert found["overall"]["means"][4]["n"] == 5


def test_all_answers_are_plain():
    amounts = Doses("toy mlp", ("FT",), ("a", "b", "c"), (0, 1, 2), np.random.default_rng(0).uniform(size=(1, 3, 3)))
    one = table(algorithms=("FT",), S=2)
    found = {
        "inequality": analyse.inequality(one), "agreement": analyse.agreement(one), "holding": analyse.holding([one]),
        "symptoms": analyse.holding([one], "after"), "constructed": analyse.constructed(amounts),
        "prediction": judge.evaluate([one]),
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "missing" in found["prediction"]["by"]["data"]


def test_a_result_is_read_as_a_table():
    one = {"learner": "one", "p_before": 0.9, "factors": {"loss": 0.1}}
    samples = [
        one | {"dose": dose, "seed": seed, "id": name, "p_ref": ref}
        for dose in (0, 2) for seed in (0, 1) for name, ref in (("a", 0.5), ("b", 0.88))
    ]  # fmt: skip
    runs = [
        one | {"dose": dose, "seed": seed, "id": name, "algorithm": "GA", "H": 0.25, "symptoms": {"steps": 3}}
        for dose in (0, 2) for seed in (0, 1) for name in ("a", "b") if (seed, name) != (1, "a")
    ]  # fmt: skip
    result = {"name": "x", "ids": ["a", "b"], "algorithms": ["GA"], "seeds": [0, 1], "dosed": ["a"], "doses": [2]}
    found = measured(result | {"samples": samples, "runs": runs})
    assert found.h[0, :, 0].tolist()[0] == 0.25
    assert np.isnan(found.h[0, 1, 0])
    assert found.erasable.tolist() == [[True, False]]
    assert found.difficulty[0, 0] == 0.75
    assert found.before["loss"].tolist() == [[0.1, 0.1]] * 2
    assert found.after["steps"][0, 0].tolist() == [3, 3]
    amounts = doses(result | {"samples": samples, "runs": runs})
    assert amounts.doses == (0, 2)
    assert amounts.difficulty.tolist() == [[[0.75, 0.75]]]


def test_shapes_and_names_that_do_not_fit_are_refused():
    one = table()
    with pytest.raises(InputError, match="h must have shape"):
        Measured(one.name, one.ids, one.algorithms, one.seeds, one.h[:, :1], one.gap, {})
    with pytest.raises(InputError, match="'steps' is no factor before unlearning"):
        Measured(one.name, one.ids, one.algorithms, one.seeds, one.h, one.gap, {"steps": one.h[0]})
