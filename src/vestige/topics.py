"""Topics of texts by BERTopic (Grootendorst 2022), labelled by keywords, or by a language model where one is given."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vestige import llm
from vestige.types import MissingError

SMALLEST = 10
"""Samples that make a topic: BERTopic's own default."""
KEYWORDS, NEIGHBOURS = 10, 15
MAX_TOKENS, WORDS, LETTERS = 32, 8, 60
"""Of a label: tokens that a model may use for it, and the longest that is taken for one."""
GIVE_UP = 2
"""Topics in a row without an answer, after which an endpoint is not asked any more."""

SYSTEM = "You are a helpful assistant for labeling topics."
TASK = (
    "I have a topic that contains the following documents: {documents} The topic is described by the following "
    "keywords: '{keywords}'. Based on the information about the topic above, please create a short label for this "
    "topic. Make sure you only return the label and nothing more."
)
EXAMPLE = {
    "documents": "- Traditional diets in most cultures were primarily plant-based with a little meat on top, but with "
    "the rise of industrial-style meat production and factory farming, meat has become a staple food. - Meat, but "
    "especially beef, is the worst food in terms of emissions. - Eating meat doesn't make you a bad person, not eating "
    "meat doesn't make you a good one.",
    "keywords": "meat, beef, eat, eating, emissions, steak, food, health, processed, chicken",
}
EXAMPLE_LABEL = "Environmental impacts of eating meat"
"""The paper's prompt A.5.2; the marks of one model's chat format are left to the server, which knows its model's."""
REFUSALS = ("i'm sorry", "i am sorry", "sorry,", "i cannot", "i can't", "i can not", "as an ai", "unfortunately")


@dataclass(frozen=True)
class Topic:
    """One topic: its number, how many texts it has, its keywords, and the three texts that stand for it best."""

    number: int
    count: int
    keywords: tuple[str, ...]
    documents: tuple[str, ...]


@dataclass(frozen=True)
class Topics:
    """topic: of each text, (N,) int, −1 where it is in none. places: (N, 2), the map."""

    topic: np.ndarray
    places: np.ndarray
    found: tuple[Topic, ...]


def check() -> None:
    """Raise MissingError where a package that topics need is not installed; nothing is imported."""
    missing = [name for name in ("bertopic", "umap", "hdbscan") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingError(f"topics need {', '.join(missing)}; get them with: pip install 'vestige[topics]'")


def find(texts: Sequence[str], features: np.ndarray, seed: int) -> Topics:
    """The topics of these texts: UMAP to 5 dimensions, HDBSCAN, keywords by class-based TF-IDF; UMAP to 2 for the map.

    features: (N, d), one row per text. Where no dense group is found, all texts are in no topic. Same seed, same
    result. Raises MissingError (see `check`).
    """
    check()
    from bertopic import BERTopic
    from hdbscan import HDBSCAN

    model = BERTopic(
        language="multilingual",  # "english" would drop every letter that English does not have
        umap_model=_umap(len(texts), 5, 0.0, seed),
        hdbscan_model=HDBSCAN(SMALLEST, metric="euclidean", cluster_selection_method="eom", core_dist_n_jobs=1),
        vectorizer_model=_vectorizer(texts),
        top_n_words=KEYWORDS,
    )
    topic = np.asarray(model.fit_transform(list(texts), embeddings=np.asarray(features, np.float32))[0], np.int64)
    found = tuple(
        Topic(
            number,
            int((topic == number).sum()),
            tuple(word for word, _ in model.get_topic(number) if word),
            tuple(model.get_representative_docs(number)),
        )
        for number in sorted(set(topic.tolist()) - {-1})
    )
    places = _umap(len(texts), 2, 0.1, seed).fit_transform(features)
    return Topics(topic, np.asarray(places, np.float64), found)


def label(
    topics: Topics, texts: Sequence[str], endpoint: llm.Endpoint | None, *, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A label for each topic: the model's where it gives one, else the first keywords, and then why.

    Returns records with label, by ("model" or "keywords"), why ("" where nothing was wrong). An endpoint that leaves
    two topics in a row unanswered is not asked again.
    """
    records: list[dict[str, Any]] = []
    unanswered, gone = 0, ""
    for topic in topics.found:
        record = {"label": ", ".join(topic.keywords[:3]) or f"topic {topic.number}", "by": "keywords", "why": gone}
        records.append(record)
        if endpoint is None or gone:
            continue
        try:
            answer = llm.ask(endpoint, prompt(topic), max_tokens=MAX_TOKENS)
            unanswered = 0
            own = [text for text, number in zip(texts, topics.topic, strict=True) if number == topic.number]
            record |= {"label": read(answer, own), "by": "model"}
        except llm.UnansweredError as error:
            unanswered += 1
            record["why"] = str(error)
            gone = f"not asked, since it left {GIVE_UP} topics unanswered" if unanswered == GIVE_UP else ""
        except ValueError as error:
            record["why"] = f"{endpoint.model} answered {error!s}"
        if record["why"]:
            say(f"topic {topic.number} is labelled by its keywords: {record['why']}")
    return records


def prompt(topic: Topic) -> list[llm.Message]:
    """The chat that asks for a topic's label (paper, A.5.2): an example, then the topic."""
    documents = " ".join(f"- {' '.join(text.split())[:400]}" for text in topic.documents)
    own = TASK.format(documents=documents, keywords=", ".join(topic.keywords))
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": TASK.format(**EXAMPLE)},
        {"role": "assistant", "content": EXAMPLE_LABEL},
        {"role": "user", "content": own},
    ]


def read(answer: str, texts: Sequence[str]) -> str:
    """The label in a model's answer. Raises ValueError, with what is wrong, where there is none.

    A label is the first sentence, up to a colon where that is too long: at most eight words that are not the prompt's
    own and no refusal, with a word in common with the topic's texts (compared by its first five letters).
    """
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    lines = [line for line in lines if not line.endswith(":")] or lines
    found = re.sub(r"^(short |topic |the )*(label|topic|title)( is)?\s*[:\-–]\s*", "", lines[0], flags=re.I)
    found = re.split(r"(?<=\w{2})[.!?](?:\s|$)", found)[0]
    if len(found.split()) > WORDS:
        found = re.split(r"\s*[:;]\s+", found)[0]
    found = found.strip(" \t*_#`\"'“”‘’.").strip()
    if not re.search(r"[^\W\d_]{2}", found):
        raise ValueError(f"no words: {answer[:60]!r}")
    if found.lower() == EXAMPLE_LABEL.lower():
        raise ValueError("the label of the example")
    if found.lower().startswith(REFUSALS):
        raise ValueError(f"a refusal: {found[:60]!r}")
    if len(found.split()) > WORDS or len(found) > LETTERS:
        raise ValueError(f"too much for a label: {found[:60]!r}")
    if not _stems([found]) & _stems(texts):
        raise ValueError(f"words that its texts do not have: {found!r}")
    return found


def _stems(texts: Sequence[str]) -> set[str]:
    return {word[:5] for text in texts for word in re.findall(r"[^\W\d_]{4,}", text.casefold())}


def _vectorizer(texts: Sequence[str]) -> Any:
    """Counts words but the most common English ones; where that leaves none, all that stands between spaces."""
    from sklearn.feature_extraction.text import CountVectorizer

    chosen = CountVectorizer(stop_words="english")
    try:
        chosen.fit(texts)
    except ValueError:  # an empty vocabulary
        return CountVectorizer(token_pattern=r"\S+")
    return chosen


def _umap(count: int, parts: int, apart: float, seed: int) -> Any:
    from umap import UMAP

    return UMAP(
        n_neighbors=min(NEIGHBOURS, count - 1), n_components=min(parts, count - 3), min_dist=apart, metric="cosine",
        random_state=seed, n_jobs=1,
    )  # fmt: skip
