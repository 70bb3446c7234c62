"""Topics: what passes for a label, when keywords stand in, and real topics where BERTopic is installed."""

import importlib.util

import numpy as np
import pytest

from test_llm import said, serving
from vestige import topics
from vestige.llm import Endpoint
from vestige.topics import Topic, Topics
from vestige.types import MissingError

TEXTS = ["Who built the tide clock?\nA clockmaker of Halmond.", "How many gears has the tide clock?\nSeventeen."]
TOPICS = Topics(
    np.array([0, 0, 1]),
    np.zeros((3, 2)),
    (
        Topic(0, 2, ("tide", "clock", "gears", "brass"), tuple(TEXTS)),
        Topic(1, 1, ("bread", "figs"), ("Bread with figs.",)),
    ),
)
ALL = [*TEXTS, "Bread with figs."]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("The Halmond tide clock", "The Halmond tide clock"),
        ('Label: "Tide clock gears."\n\nThis label covers …', "Tide clock gears"),
        ("Sure, here is the label:\n**Clockmakers**", "Clockmakers"),
        ("Topic label - Tidal Clocks", "Tidal Clocks"),
        ("Gears of the tide clock. The topic is described by many keywords", "Gears of the tide clock"),
        ("Gears of the tide clock: seventeen of them, made of brass", "Gears of the tide clock"),
    ],
)
def test_what_is_read_as_a_label(answer, label):
    texts = [*TEXTS, "tidal"]
    assert topics.read(answer, texts) == label


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("!!! 123", "no words"),
        ("Environmental impacts of eating meat", "the label of the example"),
        ("I'm sorry, I cannot label the tide clock", "a refusal"),
        ("The tide clock that was built by a clockmaker of Halmond long ago", "too much for a label"),
        ("Machine learning", "words that its texts do not have"),
    ],
)
def test_what_is_no_label(answer, why):
    with pytest.raises(ValueError, match=why):
        topics.read(answer, TEXTS)


def named(*replies, **settings):
    with serving(*replies) as (url, sent):
        endpoint = Endpoint(url, "tiny", **{"timeout": 0.2, "tries": 1, "wait": 0.01, **settings})
        said_aloud = []
        return topics.label(TOPICS, ALL, endpoint, say=said_aloud.append), sent, said_aloud


def test_a_model_labels_each_topic_by_the_prompt_of_the_paper():
    records, sent, _ = named(said("Tide clocks"), said("Fig bread"))
    assert [(one["label"], one["by"], one["why"]) for one in records] == [
        ("Tide clocks", "model", ""), ("Fig bread", "model", "")
    ]  # fmt: skip
    (first, _) = sent
    assert first["max_tokens"] == topics.MAX_TOKENS
    roles = [message["role"] for message in first["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert first["messages"][0]["content"] == "You are a helpful assistant for labeling topics."
    assert first["messages"][2]["content"] == "Environmental impacts of eating meat"
    last = first["messages"][3]["content"]
    assert "- Who built the tide clock? A clockmaker of Halmond. - How many" in last
    assert "'tide, clock, gears, brass'" in last
    assert last.endswith("Make sure you only return the label and nothing more.")


def test_nonsense_falls_back_to_keywords_and_says_so():
    records, _, aloud = named(said("Quantum chromodynamics"), said("Fig bread"))
    assert records[0]["label"] == "tide, clock, gears"
    assert records[0]["by"] == "keywords"
    assert records[0]["why"] == "tiny answered words that its texts do not have: 'Quantum chromodynamics'"
    assert records[1]["by"] == "model"
    assert len(aloud) == 1


@pytest.mark.parametrize("reply", [(500, b"broken"), b"<html>"])
def test_an_endpoint_that_fails_is_given_up(reply):
    many = Topics(TOPICS.topic, TOPICS.places, TOPICS.found * 3)
    with serving(reply) as (url, sent):
        records = topics.label(many, ALL, Endpoint(url, "tiny", tries=1), say=lambda _: None)
    assert len(sent) == topics.GIVE_UP
    assert {one["by"] for one in records} == {"keywords"}
    assert all(one["why"] for one in records)
    assert records[-1]["why"] == "not asked, since it left 2 topics unanswered"


def test_an_endpoint_that_is_down():
    with serving(b"") as (url, _):
        pass
    records = topics.label(TOPICS, ALL, Endpoint(url, "tiny", tries=1), say=lambda _: None)
    assert [one["label"] for one in records] == ["tide, clock, gears", "bread, figs"]
    assert "refused" in records[0]["why"]


def test_without_an_endpoint_keywords_need_no_reason():
    assert [one["why"] for one in topics.label(TOPICS, ALL, None, say=lambda _: None)] == ["", ""]


def test_a_missing_package_names_its_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"bertopic, umap, hdbscan; .*pip install 'vestige\[topics\]'"):
        topics.check()


@pytest.mark.parametrize("text", ["who is it and the", "潮汐时钟有多少齿轮", "???", "Überfähre"])
def test_any_text_has_words_to_count(text):
    assert topics._vectorizer([text] * 3).fit([text]).get_feature_names_out().size > 0


@pytest.mark.slow
def test_three_kinds_of_texts_are_three_topics():
    if any(importlib.util.find_spec(name) is None for name in ("bertopic", "umap", "hdbscan")):
        pytest.skip("the extra [topics] is not installed")
    rng = np.random.default_rng(0)
    words = ("tide clock gears", "bread figs oven", "comet telescope dome")
    texts = [f"{words[row % 3]} number {row}" for row in range(90)]
    features = np.stack([np.eye(16)[row % 3] + 0.1 * rng.normal(size=16) for row in range(90)])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = topics.find(texts, features, seed=0)
    assert len(found.found) == 3
    for start in range(3):
        own = found.topic[start::3]
        assert len(set(own[own >= 0].tolist())) == 1
    assert set(found.found[0].keywords[:3]) <= set(" ".join(words).split())
    again = topics.find(texts, features, seed=0)
    assert (again.topic == found.topic).all()
    assert (again.places == found.places).all()
