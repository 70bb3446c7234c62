"""Labelled texts: strict readers, the classifier behind the contract, and every method on it."""

import copy
import csv
import json
from collections import Counter

import pytest
import torch

from vestige import assets
from vestige.config import CNNConfig, DataConfig, Recipe, Sisa, TrainConfig, UnlearnConfig, WordsConfig
from vestige.modality import modality
from vestige.random import stream
from vestige.sisa import learn, restore
from vestige.text import labelled
from vestige.text import load as load_questions
from vestige.text.labelled.data import FILL, pairs
from vestige.types import InputError, MissingError, Samples
from vestige.unlearn import METHODS

SMALL = WordsConfig(buckets=512, width=8, hidden=8)
RECIPE = Recipe(
    model=SMALL,
    train=TrainConfig(steps=12, lr=0.1, batch=10, momentum=0.9, weight_decay=1e-4),
    unlearn=UnlearnConfig(
        finetune={"steps": 2, "lr": 0.1},
        relabel={"steps": 20, "lr": 0.1},
        ascent={"steps": 20, "lr": 0.1},
        neggrad={"steps": 10, "lr": 0.1, "alpha": 0.8},
        scrub={"steps": 10, "lr": 0.05},
        bad_teacher={"steps": 20},
        salun={"steps": 20, "lr": 0.1},
        eu_k={"steps": 20, "lr": 0.1},
        ssd={"alpha": 1.0},
    ),
)
NEED_NOT_RAISE_THE_LOSS = {"finetune", "L1-sparse", "CF-k"}


@pytest.fixture(scope="module")
def reviews():
    return labelled.unit(labelled.load(assets.locate("reviews")))


@pytest.fixture(scope="module")
def trained(reviews):
    few = reviews.take(reviews.ids[:30] + reviews.ids[-30:])
    return learn(few, modality=labelled, config=RECIPE, seed=0), few.take(few.ids[:2]), few.without(few.ids[:2])


@pytest.fixture(scope="module")
def sharded(trained):
    _, forget, retain = trained
    parts = RECIPE.model_copy(update={"train": RECIPE.train.model_copy(update={"sisa": Sisa(shards=2, slices=2)})})
    both = Samples(
        retain.ids + forget.ids, *(torch.cat([getattr(part, key) for part in (retain, forget)]) for key in "xy"), 2
    )
    return learn(both, modality=labelled, config=parts, seed=0), forget, retain


def test_our_reviews_are_balanced_distinct_and_have_families():
    found = labelled.read(assets.locate("reviews"))
    assert len(found) >= 240
    assert Counter(one.label for one in found) == {"positive": len(found) // 2, "negative": len(found) // 2}
    assert len({one.text for one in found}) == len(found)
    sizes = Counter(one.family for one in found if one.family)
    assert len(sizes) >= 20
    assert set(sizes.values()) <= {3, 4, 5, 6}
    samples = labelled.load(assets.locate("reviews"))
    assert samples.classes == 2
    assert samples.take([found[0].id]).y.item() == int(found[0].label == "positive")


def test_families_are_more_alike_than_others(reviews):
    """The near-paraphrases are natural near-duplicates to the classifier's own measure."""
    kin = reviews.family
    alike = labelled.bags(reviews) @ labelled.bags(reviews).T
    torch.testing.assert_close(alike.diagonal(), torch.ones(len(reviews)))
    same = torch.tensor([[bool(a) and a == b for b in kin] for a in kin]).fill_diagonal_(False)
    other = ~same & ~torch.eye(len(kin), dtype=torch.bool)
    assert alike[same].mean() > 0.4 > 0.15 > alike[other].mean()


def test_similarity_by_hand():
    """ "the cat" has the words the, cat and their pair; "the dog" shares one of three: cosine 1/3."""
    both = labelled.unit(made(["the cat", "the dog", "The cat!", "a bird"]))
    found = labelled.bags(both.take(["0"])) @ labelled.bags(both).T
    torch.testing.assert_close(found, torch.tensor([[1.0, 1 / 3, 1.0, 0.0]]))


def made(texts, labels=None):
    import numpy as np

    y = torch.tensor(labels or [position % 2 for position in range(len(texts))])
    return Samples(tuple(map(str, range(len(texts)))), np.array(texts, dtype=object), y, 2)


def test_words_become_ids_that_depend_on_the_word_alone():
    one = labelled.unit(made(["Good soup, good bread", "good"]))
    assert one.x.dtype == torch.int64
    assert one.x.shape == (2, 4)
    assert one.x[0, 0] == one.x[0, 2] == one.x[1, 0]
    assert one.x[1, 1:].eq(FILL).all()
    assert labelled.unit(made(["soup"])).x[0, 0] == one.x[0, 1]
    assert labelled.unit(one) is one
    assert labelled.unit(made(["don’t"])).x.tolist() == labelled.unit(made(["DON'T"])).x.tolist()
    assert labelled.unit(made(["good<br /><br />soup"])).x.tolist() == labelled.unit(made(["good soup"])).x.tolist()
    assert labelled.unit(made(["!!!"])).x.shape == (1, 1)
    assert labelled.unit(made(["a " * 1000])).x.shape == (1, labelled.LONGEST)


def test_pairs_know_their_order_and_stop_at_the_end():
    x = labelled.unit(made(["not good", "good not", "good"])).x
    found = pairs(x)
    assert found.shape == (3, 1)
    assert len(set(found.flatten().tolist())) == 3
    assert found[2, 0] == FILL


def test_the_filling_changes_nothing(trained, reviews):
    """A text's logits are the same alone and beside longer ones."""
    model = trained[0]
    few = reviews.take(reviews.ids[:5])
    with torch.no_grad():
        together = labelled.logits(model, few)
        for row, name in enumerate(few.ids):
            one = few.take([name])
            short = Samples(one.ids, one.x[:, : int((one.x != FILL).sum())], one.y, 2)
            torch.testing.assert_close(labelled.logits(model, short)[0], together[row])
        assert labelled.embed(model, few).shape == (5, 8)
        assert labelled.lengths(model, few).tolist() == [1] * 5


def test_the_classifier_learns(reviews):
    """Trained on two thirds, families held together, it does better than chance on the rest (0.5)."""
    kin = [family or name for name, family in zip(reviews.ids, reviews.family, strict=True)]
    groups = sorted(set(kin))
    late = {groups[place] for place in torch.randperm(len(groups), generator=stream(100, "split"))[::3].tolist()}
    test = reviews.take(name for name, group in zip(reviews.ids, kin, strict=True) if group in late)
    recipe = Recipe(model=WordsConfig(), train=TrainConfig(steps=20, lr=0.1, batch=20, momentum=0.9, schedule="cosine"))
    model = learn(reviews.without(test.ids), modality=labelled, config=recipe, seed=100)
    with torch.no_grad():
        right = (labelled.logits(model, test).argmax(1) == test.y).float().mean()
    assert right > 0.68


@pytest.mark.parametrize("name", METHODS)
def test_every_method_serves_labelled_texts(name, trained, sharded):
    model, forget, retain = sharded if name == "SISA" else trained
    kept = copy.deepcopy(model.state_dict())
    runs = [
        METHODS[name](model, forget, retain, modality=labelled, config=RECIPE, seed=0).state_dict() for _ in range(2)
    ]
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0]), f"{name} does not repeat"
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items()), f"{name} changed its input"
    assert not all(torch.equal(kept[key], runs[0][key]) for key in kept)
    if name not in NEED_NOT_RAISE_THE_LOSS:
        after = METHODS[name](model, forget, retain, modality=labelled, config=RECIPE, seed=0)
        with torch.no_grad():
            assert labelled.losses(after, forget).mean() > labelled.losses(model, forget).mean(), "forgot nothing"


def test_a_model_comes_back_from_its_weights(trained, sharded):
    for (model, forget, _), config in ((trained, RECIPE), (sharded, None)):
        recipe = config or RECIPE.model_copy(update={"train": TrainConfig(sisa=Sisa(shards=2, slices=2))})
        again = restore(labelled.weights(model), modality=labelled, config=recipe)
        with torch.no_grad():
            assert torch.equal(again(forget.x), model(forget.x))


def test_similar_texts_lack_some_words(reviews):
    one = reviews.take(reviews.ids[:2])
    copies = labelled.make_similar(one, 3, config=DataConfig(fraction=0.25), generator=stream(0, "similar"))
    assert [part.ids[0] for part in copies] == [f"{name}~mask-0" for name in one.ids]
    for row, part in enumerate(copies):
        words = one.x[row][one.x[row] != FILL].tolist()
        for x in part.x:
            kept = x[x != FILL].tolist()
            assert len(kept) == len(words) - max(1, round(0.25 * len(words)))
            rest = iter(words)
            assert all(word in rest for word in kept), "the order of the words is kept"
        assert part.y.tolist() == [one.y[row].item()] * 3
    same = labelled.make_similar(one, 1, config=DataConfig(fraction=0), generator=stream(0, "similar"))
    assert torch.equal(same[0].x[0], one.x[0])
    single = labelled.unit(made(["good"]))
    stays = labelled.make_similar(single, 1, config=DataConfig(fraction=0.9), generator=stream(0, "similar"))
    assert torch.equal(stays[0].x, single.x)
    with pytest.raises(InputError, match="leaving words out"):
        labelled.make_similar(one, 1, config=DataConfig(transform="noise"), generator=stream(0, "similar"))


def test_networks_and_data_that_do_not_fit(reviews, pool):
    pool = modality("image").unit(pool)
    with pytest.raises(InputError, match="takes images"):
        labelled.build(CNNConfig(), reviews, generator=stream(0, "train"))
    with pytest.raises(InputError, match="takes labelled texts"):
        modality("image").build(WordsConfig(), pool, generator=stream(0, "train"))
    with pytest.raises(InputError, match="homogeneous MLP"):
        labelled.check_recover(SMALL, False)
    assert modality("labelled") is labelled


@pytest.fixture
def imdb(tmp_path):
    """IMDb's folder: train and test, pos, neg and unsup, a README beside them."""
    root = tmp_path / "aclImdb"
    for part in ("train", "test"):
        for name, texts in (("pos", ["A joy.", "Splendid fun."]), ("neg", ["A bore.", "Dreadful."]), ("unsup", ["?"])):
            folder = root / part / name
            folder.mkdir(parents=True)
            for position, text in enumerate(texts):
                (folder / f"{position}_7.txt").write_text(text + part * (part == "test"), encoding="utf-8")
    (root / "README").write_text("about", encoding="utf-8")
    (root / "train" / "urls_pos.txt").write_text("none", encoding="utf-8")
    return root


def test_imdb_folder(imdb):
    asset = assets.locate(str(imdb))
    samples = labelled.load(asset)
    assert samples.ids == ("neg/0_7", "neg/1_7", "pos/0_7", "pos/1_7")
    assert samples.y.tolist() == [0, 0, 1, 1]
    assert samples.x[2] == "A joy."
    assert labelled.load(assets.locate(str(imdb / "train"))).ids == samples.ids
    assert load_questions(asset).ids == samples.ids, "the other text verbs read it too"
    before = asset.digest()
    (imdb / "train" / "neg" / "1_7.txt").rename(imdb / "train" / "pos" / "2_7.txt")
    assert assets.locate(str(imdb)).digest() != before, "a label is part of the data"


def test_csv_and_jsonl(tmp_path):
    path = write_csv(tmp_path / "imdb.csv", ["review", "sentiment"], [["A joy", "positive"], ["Fun", "positive"],
                     ["Bore, long", "negative"], ["Bad", "negative"]])  # fmt: skip
    samples = labelled.load(assets.locate(str(path)))
    assert samples.y.tolist() == [1, 1, 0, 0]
    assert samples.ids[2] == "imdb/2"
    lines = [{"id": "a", "said": "one", "stars": 10}, {"id": "b", "said": "two", "stars": 9},
             {"id": "c", "said": "three", "stars": 10}, {"id": "d", "said": "four", "stars": 9}]  # fmt: skip
    path = write_jsonl(tmp_path / "stars.jsonl", lines)
    samples = labelled.load(assets.locate(str(path)), text="said", label="stars")
    assert samples.y.tolist() == [1, 0, 1, 0], "numbers go by size: 9 before 10"
    assert samples.ids == ("a", "b", "c", "d")


def write_csv(path, names, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def write_jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


GOOD = [{"text": "a", "label": "x"}, {"text": "b", "label": "x"}, {"text": "c", "label": "y"},
        {"text": "d", "label": "y"}]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([{"said": "a", "label": "x"}], "no text column"),
        ([{"text": "a", "kind": "x"}], "no label column"),
        ([*GOOD, {"text": "  ", "label": "x"}], "line 5: text is empty"),
        ([*GOOD, {"text": "e", "label": ""}], "line 5: label is empty"),
        ([*GOOD, {"text": "e", "label": None}], "found nothing"),
        ([*GOOD, {"text": "e", "label": 0.5}], "whole number"),
        ([*GOOD, {"text": "e", "label": True}], "whole number"),
        ([*GOOD, {"text": 5, "label": "x"}], "must be text"),
        ([*GOOD, {"text": "e", "label": "z"}], "'z' has one sample"),
        (GOOD[:2], "one label"),
        ([*GOOD, {"text": "A!", "label": "y"}], "the same words as at .*line 1"),
        ([*GOOD, {"label": "x"}], "no column 'text'"),
        ([{**GOOD[0], "id": "q"}, {**GOOD[1], "id": "q"}, *GOOD[2:]], "taken already"),
        ([*GOOD, {"text": "\ud800", "label": "x"}], "surrogate"),
    ],
)
def test_bad_records_are_refused(tmp_path, lines, says):
    path = write_jsonl(tmp_path / "bad.jsonl", lines)
    with pytest.raises(InputError, match=says):
        labelled.load(assets.locate(str(path)))


def test_bad_files_are_refused(tmp_path, imdb):
    latin = tmp_path / "latin.csv"
    latin.write_bytes("review,sentiment\ncafé,positive\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        labelled.load(assets.locate(str(latin)))
    (imdb / "train" / "pos" / "0_7.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"0_7\.txt line 1"):
        labelled.load(assets.locate(str(imdb)))
    (imdb / "train" / "pos" / "0_7.txt").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        labelled.load(assets.locate(str(imdb)))
    good = write_jsonl(tmp_path / "good.jsonl", GOOD)
    with pytest.raises(InputError, match="no column 'words'; its columns: text, label"):
        labelled.load(assets.locate(str(good)), text="words")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"nor one sub-folder of \.txt files per label"):
        assets.locate(str(tmp_path / "none"))


def test_images_are_not_texts():
    try:
        asset = assets.locate("mnist")
    except MissingError:
        pytest.skip("MNIST is not installed")
    with pytest.raises(InputError, match="image set"):
        labelled.load(asset)
