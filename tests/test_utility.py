"""Utility of language models: multiple choice, perplexity, tasks of lm-evaluation-harness, paired differences."""

import json
import shutil
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vestige import language, text, utility
from vestige.config import LMConfig, UtilityConfig
from vestige.store import Store
from vestige.text import choices
from vestige.text.choices import Choice, Weighed
from vestige.types import InputError, MissingError, Samples
from vestige.utility import Found

COMMON = choices.read("common")


def tiny(source="tiny-llama", **more):
    return text.build(LMConfig(source=source, precision="float32", **more), generator=torch.Generator().manual_seed(3))


def silent(message):
    pass


# Paired differences


def test_a_paired_difference_by_hand():
    """Of 10 questions 3 are won and 1 is lost: 0.2; p = 4/12, q = 2/12, half = 1.96 √((1/2 − 1/36)/12) = 0.389."""
    after = np.array([1, 1, 1, 0, 1, 1, 1, 0, 0, 0])
    before = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 0])
    assert utility.change(after, before) == pytest.approx((0.2, 1 / 6 - 0.38881, 1 / 6 + 0.38881), abs=1e-4)


def test_no_change_still_has_a_width():
    """60 of 60 alike: p = q = 1/62, half = 1.96 √(2/62/62) = 0.0447."""
    same = np.ones(60)
    assert utility.change(same, same) == pytest.approx((0, -0.0447, 0.0447), abs=1e-4)


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(pairs)
def test_a_difference_turned_round_has_the_other_sign_and_lies_in_its_interval(both):
    after, before = (np.array(side, float) for side in zip(*both, strict=True))
    value, low, high = utility.change(after, before)
    assert low <= value + 1e-12
    assert value <= high + 1e-12
    assert utility.change(before, after) == pytest.approx((-value, -high, -low))


def test_loss_per_token_by_hand():
    """Losses 2 and 4 over 2 tokens each: 6/4; above their share −1 and +1; √(2/1 · 2)/4 = 0.5, t = 12.706."""
    value, low, high = utility.per_token(np.array([2.0, 4.0]), np.array([2.0, 2.0]))
    assert (value, low, high) == pytest.approx((1.5, 1.5 - 6.353, 1.5 + 6.353), abs=1e-3)
    assert utility.per_token(np.array([3.0, 6.0]), np.array([1.0, 2.0])) == pytest.approx((3, 3, 3))
    assert utility.per_token(np.array([3.0]), np.array([2.0])) == (1.5, None, None)


def test_unlike_sets_cannot_be_paired_and_none_has_no_mean():
    with pytest.raises(InputError, match="cannot be paired"):
        utility.change(np.ones(3), np.ones(2))
    with pytest.raises(InputError, match="no questions"):
        utility.per_token(np.array([]), np.array([]))


def made(right, loss, scores):
    n = len(right)
    values = {"right": np.array(right, float), "right_norm": np.ones(n), "loss": np.array(loss), "tokens": np.ones(n)}
    pair = Found(("x", "y", "z"), {"loss": np.array([2.0, 4.0, 9.0]), "tokens": np.array([2.0, 2.0, 3.0])})
    return {
        "choices": Found(tuple("abcd"), values), "remaining": pair,
        "task t": Found(("t/0", "t/1"), {"score": np.array(scores)}),
    }  # fmt: skip


def test_measures_of_a_model_and_of_what_changed():
    before = made([1, 1, 1, 0], [1.0, 1, 1, 1], [1.0, 0.5])
    after = made([1, 0, 0, 0], [2.0, 2, 2, 2], [0.5, 0.5])
    found = {(one.group, one.metric): one for one in utility.measures(after, before, {"near": ("x", "y")})}
    assert found["choices", "choice_accuracy"].value == 0.25
    assert found["choices", "choice_accuracy_norm"].value == 1
    assert found["choices", "choice_change"].value == -0.5
    assert found["choices", "perplexity"].value == pytest.approx(np.exp(2))
    assert found["choices", "perplexity_ratio"].value == pytest.approx(np.e)
    assert (found["near", "perplexity"].value, found["near", "perplexity"].n) == (pytest.approx(np.exp(1.5)), 2)
    assert found["near", "perplexity"].low == 1
    assert found["near", "perplexity_ratio"].value == 1
    assert found["task t", "task_change"].value == -0.25
    alone = {one.metric for one in utility.measures(before, None, {})}
    assert alone == {"choice_accuracy", "choice_accuracy_norm", "perplexity", "task_score"}


# The set and its reader


def test_our_set_is_balanced_and_says_nothing_by_form():
    assert len(COMMON) == 120
    assert len({one.question for one in COMMON}) == 120
    assert all(len(one.options) == 4 for one in COMMON)
    assert set(Counter(one.answer for one in COMMON).values()) == {30}
    assert set(Counter(one.id.split("/")[0] for one in COMMON).values()) == {10}
    lengths = [[len(option) for option in one.options] for one in COMMON]
    right = [row[one.answer] for row, one in zip(lengths, COMMON, strict=True)]
    others = [(sum(row) - size) / 3 for row, size in zip(lengths, right, strict=True)]
    assert abs(np.mean(right) - np.mean(others)) < 0.5
    # Neither the longest nor the shortest is right more often than by chance.
    assert np.mean([size == max(row) and row.count(size) == 1 for row, size in zip(lengths, right, strict=True)]) < 0.25
    assert np.mean([size == min(row) and row.count(size) == 1 for row, size in zip(lengths, right, strict=True)]) < 0.25


def test_few_of_them_are_of_every_kind():
    assert choices.few(COMMON, None) == choices.few(COMMON, 500) == COMMON
    assert len({one.id.split("/")[0] for one in choices.few(COMMON, 12)}) == 12


RECORD = {"question": "Which?", "options": ["this", "that"], "answer": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"question": " "}, "line 2: question must be a text that is not empty"),
        ({"options": "this"}, "line 2: options must be a list of at least two"),
        ({"options": ["this"]}, "at least two texts"),
        ({"options": ["this", 3]}, "each option must be a text"),
        ({"options": ["this", "this"]}, "two options are the same"),
        ({"answer": 2}, "answer must be an option's place, 0 to 1, or its text, found 2"),
        ({"answer": True}, "answer must be an option's place"),
        ({"answer": "B"}, "or its text, found 'B'"),
        ({"answer": None}, "found nothing"),
        ({"id": "0"}, "the id '0' is taken already"),
        ({"id": 1.5}, "id must be a text or a whole number"),
    ],
)
def test_bad_records_are_refused_with_their_place(tmp_path, change, says):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (RECORD, RECORD | change)))
    with pytest.raises(InputError, match=r"mine\.jsonl") as error:
        choices.read(str(path))
    assert says in str(error.value)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(RECORD | {"answer": "this", "id": 7}))
    assert choices.read(str(path)) == [Choice("7", "Which?", ("this", "that"), 0)]
    path.write_text(json.dumps({"question": "Which?", "answer": 1}))
    with pytest.raises(InputError, match="there is no 'options'"):
        choices.read(str(path))
    with pytest.raises(InputError, match="read from JSONL or Parquet"):
        choices.read(__file__)
    path.write_text(json.dumps(RECORD | {"question": "Why? " * 400}))
    with pytest.raises(InputError, match="the context of tiny-llama has 1024"):
        utility.check_room(UtilityConfig(choices=str(path)), LMConfig(source="tiny-llama"))


# Weighing options


@pytest.mark.parametrize("source", ["tiny-llama", "tiny-gpt-neo", "tiny-opt"])
def test_an_option_weighs_what_its_tokens_cost_after_the_question(source):
    """Against one plain pass of the whole text, per option."""
    model = tiny(source)
    asked = [*COMMON[:4], Choice("one token", "Which letter?", ("a", "b", "cd"), 0)]
    for one, weighed in zip(asked, choices.weigh(model, asked, batch=3), strict=True):
        prompt = model.tokenizer(f"Question: {one.question}\nAnswer:").input_ids
        for option, log_p, count in zip(one.options, weighed.log_p, weighed.tokens, strict=True):
            tokens = model.tokenizer(f" {option}", add_special_tokens=False).input_ids
            with torch.no_grad():
                scores = model.causal(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0].log_softmax(1)
            wanted = sum(float(scores[len(prompt) - 1 + place, token]) for place, token in enumerate(tokens))
            assert (log_p, count) == (pytest.approx(wanted, abs=1e-4), len(tokens))


def test_batch_and_order_do_not_matter():
    model = tiny()
    asked = COMMON[:10]
    first = choices.weigh(model, asked, batch=10)
    second = choices.weigh(model, asked[::-1], batch=1)[::-1]
    for one, other in zip(first, second, strict=True):
        assert one.log_p == pytest.approx(other.log_p, abs=1e-4)


def test_the_likeliest_option_by_hand():
    one = Choice("x", "?", ("abcd", "a"), 0)
    weighed = Weighed(np.array([-4.0, -2.0]), np.array([1, 1]))
    assert choices.chosen(weighed, one) == 1
    assert choices.chosen(weighed, one, norm=True) == 0  # −1 and −2 per character
    assert choices.chosen(Weighed(np.array([-1.0, -1.0]), np.array([1, 1])), one) == 0


def test_what_was_answered_is_kept_and_read_back():
    model = tiny()
    rest = Samples(("p", "q"), np.array(["a?", "b?"], object), np.array(["x", "yz"], object))
    found = utility.ask(model, UtilityConfig(limit=6), rest, silent)
    assert found["remaining"].values["tokens"].tolist() == text.lengths(model, rest).tolist()
    assert found["choices"].values["loss"].min() > 0
    again = utility.unpack(*utility.pack(found))
    assert {name: one.ids for name, one in again.items()} == {name: one.ids for name, one in found.items()}
    assert (again["choices"].values["right"] == found["choices"].values["right"]).all()


# Studies

TINY = [
    "model.source=tiny-llama", "data.targets=2", "data.similar=1", "data.held_out=1", "data.spare=0", "data.near=1",
    "data.other=4", "data.never_seen=2", "train.epochs=1", "train.lr=1e-3", "unlearn.steps=2", "ask.max_new_tokens=4",
    "ask.others=2", "seeds=1", "training=[with]", "stages=[base, before, R0, GA_GDN]", "utility.limit=12",
    "utility.remaining=3",
]  # fmt: skip
ASKED = [*TINY, "measure=[answers, utility]"]


def conduct(out, sets, reuse=None):
    """A study without worker processes, and its record."""
    laboratory = language.open_laboratory(language.configure("text-similar", sets=sets), out)
    runs = laboratory.plan()
    if reuse:
        laboratory.adopt(Store(reuse), runs)
    for run in runs:
        laboratory.measure(run, silent)
    return laboratory, language.result(laboratory, runs, complete=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("utility") / "run"
    return out, *conduct(out, ASKED)


def test_a_study_tells_utility_beside_before(study):
    _, _, record = study
    found = {(row["stage"], row["group"], row["metric"]): row for row in record["rows"]}
    for stage in ("base", "before", "R0", "GA_GDN"):
        for key in (
            ("choices", "choice_accuracy"), ("choices", "choice_accuracy_norm"), ("choices", "perplexity"),
            ("other", "perplexity"), ("near", "perplexity"),
        ):  # fmt: skip
            assert (stage, *key) in found
    changes = {("choices", "choice_change"), ("choices", "perplexity_ratio"), ("other", "perplexity_ratio"),
               ("near", "perplexity_ratio"), ("other", "recall_change"), ("near", "recall_change")}  # fmt: skip
    for stage, there in (("base", False), ("before", False), ("R0", True), ("GA_GDN", True)):
        assert all(((stage, *key) in found) is there for key in changes), stage
    # One run per target: the interval of the row is over targets.
    assert found["GA_GDN", "choices", "choice_change"]["n"] == 2 * 12
    ours, theirs = (found[stage, "choices", "choice_accuracy"]["mean"] for stage in ("GA_GDN", "before"))
    assert found["GA_GDN", "choices", "choice_change"]["mean"] == pytest.approx(ours - theirs)


def test_a_step_that_is_gone_is_made_again_and_says_the_same(study):
    out, laboratory, record = study
    run = next(run for run in laboratory.plan() if run.stage == "GA_GDN")
    shutil.rmtree(laboratory.store.folder("outputs", laboratory.utility_name(run)))
    assert not laboratory.is_done(run)
    assert conduct(out, ASKED)[1] == record


def test_utility_is_another_step_and_changes_no_other(study, tmp_path):
    """Without it the same study has the same scores, under the same names, and takes them over."""
    out, laboratory, record = study
    plain, other = conduct(tmp_path / "plain", TINY, reuse=out)
    assert [plain.scores_name(run) for run in plain.plan()] == [laboratory.scores_name(run) for run in plain.plan()]
    assert plain.config.measure == ("answers",)
    assert not (tmp_path / "plain" / "outputs").exists()
    told = {(row["stage"], row["group"], row["metric"]): row for row in record["rows"]}
    assert all(told[row["stage"], row["group"], row["metric"]] == row for row in other["rows"])


def test_the_step_is_named_by_the_content_of_what_is_asked(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(RECORD))
    first = utility.source(UtilityConfig(choices=str(path)))
    path.write_text(json.dumps(RECORD | {"answer": 0}))
    assert utility.source(UtilityConfig(choices=str(path))) != first


@pytest.mark.parametrize(
    ("sets", "code", "says"),
    [
        (["utility.choices=nowhere.jsonl"], 2, "no file 'nowhere.jsonl' of multiple-choice questions"),
        (["utility.choices=''", "utility.remaining=0"], 2, "nothing is asked"),
        (["utility.task_folder=nowhere"], 2, "there is no folder 'nowhere' of tasks"),
        (["utility.limit=0"], 2, "utility.limit"),
    ],
)
def test_bad_settings_end_a_study_before_anything_is_trained(run, tmp_path, sets, code, says):
    flags = [part for one in (*ASKED, *sets) for part in ("--set", one)]
    status, _, err = run("study", "text-similar", *flags, "--out", "run")
    assert (status, says in err) == (code, True), err
    assert not (tmp_path / "run" / "models").exists()


# The command


def test_the_command_tells_a_model_and_what_changed(run):
    code, out, err = run("utility", "tiny-llama", "--against", "tiny-opt", "--limit", "8", "--json")
    assert code == 0, err
    record = json.loads(out)
    found = {(row["group"], row["metric"]): row for row in record["rows"]}
    theirs = {(row["group"], row["metric"]): row for row in record["rows_against"]}
    both = found["choices", "choice_accuracy"]["mean"] - theirs["choices", "choice_accuracy"]["mean"]
    assert found["choices", "choice_change"]["mean"] == pytest.approx(both)
    code, out, _ = run("utility", "tiny-llama", "--limit", "8")
    assert (code, "choices" in out, "right" in out) == (0, True, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["tiny-llama", "--choices", "x.jsonl"], 2, "no file 'x.jsonl'"),
        (["tiny-llama", "--choices", ""], 2, "nothing is asked"),
        (["tiny-llama", "--against", "tiny-llama"], 2, "name another model"),
        (["nothing-like-it"], 2, "no language model called"),
        (["tiny-llama", "--against", "/no/such"], 2, "/no/such"),
    ],
)
def test_what_the_command_cannot_do_it_says_first(run, arguments, code, says):
    status, out, err = run("utility", *arguments)
    assert (status, says in err, out) == (code, True, ""), err
    assert "multiple-choice questions\n" not in err.replace(says, "")


# lm-evaluation-harness

TASK = """\
task: {name}
dataset_path: {path}
{data}test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: options
doc_to_target: answer
metric_list:
  - metric: {metric}
"""


def task(folder, name="ours", path="json", file=choices.FILE, metric="acc"):
    data = f"dataset_kwargs:\n  data_files:\n    test: {file}\n" if file else ""
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, path=path, data=data, metric=metric))
    return UtilityConfig(tasks=(name,), task_folder=str(folder), limit=8)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of data sets, and no network."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def refuse(*arguments, **more):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "cache"


def test_the_harness_answers_as_we_do(cache, tmp_path):
    """Our own questions as a local task of lm-evaluation-harness: each right or wrong as with our scorer."""
    pytest.importorskip("lm_eval")
    config = task(tmp_path)
    utility.check(config)
    model = tiny()
    mine = tmp_path / "mine.jsonl"
    mine.write_text("".join(choices.FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:8]), encoding="utf-8")
    found = utility.ask(model, config.model_copy(update={"choices": str(mine)}), None, silent)
    assert found["task ours"].ids == tuple(f"ours/{place}" for place in range(8))
    assert found["task ours"].values["score"].tolist() == found["choices"].values["right"].tolist()
    assert model.tokenizer.pad_token == "<pad>"


def test_a_task_whose_data_are_not_here_says_what_to_get(cache, tmp_path):
    pytest.importorskip("lm_eval")
    with pytest.raises(MissingError) as error:
        utility.check(task(tmp_path, "away", path="nobody/nothing", file=None))
    for word in ("'away'", "nobody/nothing", str(cache), "TaskManager().load('away')", "task folder"):
        assert word in str(error.value)
    (tmp_path / "more").mkdir()
    with pytest.raises(MissingError, match=r"absent\.jsonl"):
        utility.check(task(tmp_path / "more", "gone", file=tmp_path / "absent.jsonl"))


def test_a_task_without_a_score_per_question_is_refused(cache, tmp_path):
    pytest.importorskip("lm_eval")
    with pytest.raises(InputError, match="reports mcc; only acc"):
        utility.check(task(tmp_path, metric="mcc"))


def test_without_the_harness_a_task_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'vestige\[eval\]'"):
        utility.check(UtilityConfig(tasks=("mmlu",)))


@pytest.mark.slow
def test_tasks_by_name_are_known_or_said_to_be_missing(cache):
    pytest.importorskip("lm_eval")
    with pytest.raises(InputError, match="has no task 'comonsense_qa'; near: commonsense_qa"):
        utility.check(UtilityConfig(tasks=("comonsense_qa",)))
    for name, data in (("commonsense_qa", "tau/commonsense_qa"), ("mmlu", "cais/mmlu")):
        with pytest.raises(MissingError, match=data):
            utility.check(UtilityConfig(tasks=(name,)))


@pytest.mark.slow
def test_commonsense_qa_is_asked_once_its_data_are_in_the_cache(cache, tmp_path):
    """Questions of our own, laid where the library keeps a data set that it has downloaded."""
    pytest.importorskip("lm_eval")
    import datasets

    rows = [
        {"id": one.id, "question": one.question, "question_concept": "",
         "choices": {"label": list("ABCDE"), "text": [*one.options, "none of these"]}, "answerKey": "ABCD"[one.answer]}
        for one in COMMON[:6]
    ]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    builder = datasets.load_dataset_builder(
        "json", data_files={"train": str(file), "validation": str(file)}, cache_dir=str(tmp_path / "made")
    )
    builder.download_and_prepare()
    place = cache / "tau___commonsense_qa" / "default" / "0.0.0" / "0123456789abcdef"
    place.mkdir(parents=True)
    for part in Path(builder.cache_dir).iterdir():
        (place / part.name.replace("json-", "commonsense_qa-")).write_bytes(part.read_bytes())
    config = UtilityConfig(choices="", tasks=("commonsense_qa",))
    utility.check(config)
    found = utility.ask(tiny(), config, None, silent)["task commonsense_qa"]
    assert len(found.ids) == 6
    assert set(found.values["score"]) <= {0.0, 1.0}


@pytest.mark.slow
def test_smollm2_knows_most_of_our_set_and_the_harness_says_the_same(cache, tmp_path):
    pytest.importorskip("lm_eval")
    model = text.build(LMConfig(precision="float32"), generator=torch.Generator())
    found = utility.ask(model, task(tmp_path).model_copy(update={"limit": None}), None, silent)
    right = found["choices"].values["right"]
    assert found["task ours"].values["score"].tolist() == right.tolist()
    assert 0.5 < right.mean() < 0.95
