"""The ranking finds samples that are known beforehand to be hard (see planted.py)."""

import numpy as np
import pytest

import planted
from vestige.difficulty import analyse
from vestige.verify import auc


@pytest.fixture(scope="module")
def found():
    where = planted.plant(102)
    return where, planted.study(where, 102)


def test_the_ranking_finds_the_hard_samples(found):
    where, measured = found
    overall = dict(zip(measured.ids, measured.overall, strict=True))
    hard, easy = (np.array([overall[name] for name in names]) for names in (where.hard, where.easy))
    assert np.isnan([*hard, *easy]).mean() <= 0.1  # with nothing to erase, by chance
    assert auc(hard[~np.isnan(hard)], easy[~np.isnan(easy)]) >= 0.95
    ranked = [line["id"] for line in analyse.inequality(measured)["ranking"]]
    assert sum(name in where.hard for name in ranked[:10]) >= 9


def test_what_has_nothing_to_erase_is_said_and_not_ranked(found):
    where, measured = found
    record = analyse.inequality(measured)
    assert set(where.plain) <= set(record["nothing_to_erase"])
    assert not {line["id"] for line in record["ranking"]} & set(where.plain)


def test_they_are_known_by_their_margin_and_memorised_alike(found):
    where, measured = found
    values = {name: dict(zip(measured.ids, each[0], strict=True)) for name, each in measured.before.items()}
    hard, easy = (np.array([values["margin"][one] for one in ids]) for ids in (where.hard, where.easy))
    assert auc(hard, easy) > 0.9
    memorised = values["memorisation"]
    assert np.median([memorised[name] for name in (*where.hard, *where.easy)]) > 0.5
    assert max(memorised[name] for name in where.plain) < 0.05
