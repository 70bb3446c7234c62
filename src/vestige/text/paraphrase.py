"""Paraphrases of questions and answers: asked of a backend, sieved by the gate, resumed from the journal."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vestige import assets, llm
from vestige.assets import Asset
from vestige.config import ParaphraseConfig
from vestige.random import stream
from vestige.store import SCHEMA_VERSION, write_text
from vestige.text.backends import BACKENDS, EXAMPLE, MODELS, URLS, Backend, check_local, endpoint, prompt
from vestige.text.data import Record, check_disjoint, records
from vestige.text.gate import Pair, Verdict, judge
from vestige.text.journal import Journal
from vestige.types import InputError

SHARES = ("train", "train", "train", "evaluate", "unlearn")
"""Of every five candidates of a target in a row, which parts they play, in an order drawn at random."""
GIVE_UP = 3
"""Requests in a row that go unanswered, after which nothing more is asked."""
SAMPLING = "for `transformers serve` set do_sample to true in the model's generation_config.json"
Closeness = Callable[[str], Callable[[str], float]]


@dataclass
class Found:
    """What was made of one target. kept: candidate → paraphrase; dropped: reason (`gate.REASONS`) → how many.

    asked: candidates that were looked at; unanswered: those without an answer among them.
    """

    target: Record
    kept: dict[int, Pair] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    unanswered: int = 0


def paraphrase(
    config: ParaphraseConfig, out: Path, *, fresh: bool = False, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Paraphrase targets of a set of questions and answers, and write those that pass the gate to `out`.

    Every answer is appended to the journal `out`.answers as it comes; the same call again asks only for what is not
    there. `out` is JSON Lines, made of the journal alone and replaced whole: per target its record (role "target"),
    then its paraphrases with "id", "family", "question", "answer", "role"; then, where asked for, `config.others`
    others and those that are near to a target. fresh: forget
    an earlier journal. Returns a record with counts per target, "complete" and, where it is not, "why".
    Raises InputError and MissingError before anything is asked or written.
    """
    found, others, asset = prepare(config)
    closeness = _closeness(config)
    journal = Journal(Path(f"{out}.answers"))
    there = journal.open(_identity(config, asset), out, fresh=fresh)
    backend = BACKENDS[config.backend](config)
    why = ""
    for one in found:
        answers = there.setdefault(one.target.id, {})
        sieve = Sieve(one, config, closeness)
        if not why:
            why = _ask(one, sieve, answers, backend, config, journal)
        sieve.feed(answers, last=True)
        say(f"{one.target.id}: {len(one.kept)} of {config.count} kept, {one.asked} asked")
        if not why and config.temperature and len(answers) > 2 and len(set(answers.values())) == 1:
            why = f"every seed gets the same answer from {config.url or config.backend}: it does not sample; {SAMPLING}"
    lines = list(_lines(found, others, config.seed))
    check_disjoint(lines)
    write_text(out, "".join(json.dumps(_plain(line), ensure_ascii=False) + "\n" for line in lines))
    return _summary(found, config, out, why)


def prepare(config: ParaphraseConfig) -> tuple[list[Found], list[Record], Asset]:
    """The targets and the others of a source, and where it lies. Raises InputError and MissingError as `paraphrase`."""
    if config.backend not in BACKENDS:
        raise InputError(f"unknown backend {config.backend!r}; known: {', '.join(BACKENDS)}")
    asset = assets.locate(config.source)
    pool = list(records(asset, question=config.question, answer=config.answer, id=config.id))
    targets = _targets(pool, config)
    taken = {one.id for one in targets}
    families = {one.family for one in targets} - {""}
    rest = [one for one in pool if not one.family and one.id not in taken and one.near not in families]
    if config.others > len(rest):
        raise InputError(f"--others {config.others}: {asset.name} has {len(rest)} records that are no family's")
    if config.backend in URLS:
        endpoint(config)
    if config.backend == "transformers":
        check_local(config)
    near = [one for one in pool if one.near in families] if config.others else []
    return [Found(one) for one in targets], [*near, *_draw(rest, config.others, config.seed, "others")], asset


def _targets(pool: Sequence[Record], config: ParaphraseConfig) -> list[Record]:
    if not config.targets.isdigit():
        names = list(dict.fromkeys(name.strip() for name in config.targets.split(",") if name.strip()))
        where = {one.id: one for one in pool}
        unknown = [name for name in names if name not in where]
        if unknown or not names:
            shown = ", ".join(list(where)[:3])
            raise InputError(f"no record is called {unknown[0] if unknown else ''!r}; ids are such as {shown}")
        return [where[name] for name in names]
    # One of each family, its first; where the data know no families, any record.
    firsts: dict[str, Record] = {}
    for one in pool:
        if one.family:
            firsts.setdefault(one.family, one)
    choice = list(firsts.values()) or [one for one in pool if not one.near]
    wanted = int(config.targets)
    if not 0 < wanted <= len(choice):
        raise InputError(f"--targets {wanted}: between 1 and {len(choice)} can be drawn from {config.source}")
    return _draw(choice, wanted, config.seed, "targets")


def _draw(pool: Sequence[Record], count: int, seed: int, use: str) -> list[Record]:
    """`count` of them, drawn at random, in the order of the pool."""
    import torch

    drawn = torch.randperm(len(pool), generator=stream(seed, f"paraphrase/{use}"))[:count]
    return [pool[place] for place in sorted(drawn.tolist())]


def candidate_seed(seed: int, target: str, index: int) -> int:
    """The seed of one candidate, below 2³¹."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{target}/{index}".encode()).digest()[:4], "big") >> 1


def role(seed: int, target: str, index: int) -> str:
    """The part that a candidate plays if it is kept. It depends on these three alone, so it never changes."""
    import torch

    block, place = divmod(index, len(SHARES))
    order = torch.randperm(len(SHARES), generator=stream(seed, f"paraphrase/role/{target}/{block}"))
    return SHARES[int(order[place])]


class Sieve:
    """Hands the answers of one target to the gate, in the order of the candidates, whatever order they came in."""

    def __init__(self, found: Found, config: ParaphraseConfig, closeness: Closeness | None) -> None:
        self.found, self.config = found, config
        self.target = Pair(found.target.question, found.target.answer)
        self.cosine = closeness(self.target.text) if closeness else None

    @property
    def full(self) -> bool:
        return len(self.found.kept) >= self.config.count

    def feed(self, answers: Mapping[int, str], *, last: bool = False) -> None:
        """Judge the candidates that follow. last: no answer that is missing will come, pass over it."""
        found = self.found
        while not self.full and found.asked < self.config.most:
            if found.asked not in answers:
                if not last or found.asked > max(answers, default=-1):
                    return
                found.unanswered += 1
            else:
                verdict = self.judge(answers[found.asked])
                if verdict.pair:
                    found.kept[found.asked] = verdict.pair
                else:
                    found.dropped[verdict.reason] += 1
            found.asked += 1

    def judge(self, answered: str) -> Verdict:
        earlier = list(self.found.kept.values())
        return judge(answered, self.target, earlier, cosine=self.cosine, threshold=self.config.drift)


def _ask(
    found: Found, sieve: Sieve, answers: dict[int, str], backend: Backend, config: ParaphraseConfig, journal: Journal
) -> str:
    """Ask until enough is kept or everything was asked; "" or why nothing more can be asked.

    At most `config.parallel` requests are under way, each in a thread that ends with the process.
    """
    name = found.target.id
    done: queue.SimpleQueue[tuple[int, str | BaseException]] = queue.SimpleQueue()

    def one(index: int) -> None:
        try:
            done.put((index, backend(sieve.target, candidate_seed(config.seed, name, index))))
        except BaseException as error:
            done.put((index, error))

    sieve.feed(answers)
    todo = iter([index for index in range(config.most) if index not in answers])
    together = config.parallel if config.backend in URLS else 1
    running, failed, why = 0, 0, ""
    while True:
        while running < together and failed < GIVE_UP and not sieve.full and (index := next(todo, -1)) >= 0:
            if together == 1:
                one(index)
            else:
                threading.Thread(target=one, args=(index,), daemon=True).start()
            running += 1
        if not running:
            return why if failed >= GIVE_UP else ""
        index, answered = done.get()
        running -= 1
        if isinstance(answered, llm.UnansweredError):
            failed, why = failed + 1, str(answered)
        elif isinstance(answered, BaseException):
            raise answered
        else:
            failed = 0
            answers[index] = answered
            journal.add(name, index, answered)
            sieve.feed(answers)


def _closeness(config: ParaphraseConfig) -> Closeness | None:
    """text → (other text → cosine of their embeddings); None where drift is not asked for."""
    if not config.drift:
        return None
    from vestige.text.encode import load_encoder, vectors

    encoder = load_encoder(config.encoder)

    def closeness(target: str) -> Callable[[str], float]:
        middle = vectors(encoder, [target])[0]
        return lambda text: float(vectors(encoder, [text])[0] @ middle)

    return closeness


def _identity(config: ParaphraseConfig, asset: Asset) -> dict[str, Any]:
    """What an answer depends on. Not where the server stands, nor what the gate makes of its answers."""
    asked = hashlib.sha256(json.dumps(prompt(EXAMPLE)).encode()).hexdigest()[:16]
    return {
        "schema_version": SCHEMA_VERSION, "what": "answers of vestige data paraphrase", "source": asset.digest(),
        "question": config.question, "answer": config.answer, "id": config.id, "backend": config.backend,
        "model": config.model or MODELS.get(config.backend, ""), "temperature": config.temperature,
        "max_tokens": config.max_tokens, "prompt": asked, "seed": config.seed,
    }  # fmt: skip


def _lines(found: Sequence[Found], others: Sequence[Record], seed: int) -> Iterator[Record]:
    for one in found:
        family = one.target.family or one.target.id
        yield one.target._replace(family=family, near="", role="target")
        for index, pair in one.kept.items():
            name = f"{one.target.id}/p{index:03d}"
            yield Record(name, pair.question, pair.answer, family, role=role(seed, one.target.id, index))
    for other in others:
        yield other._replace(role="other")


def _plain(line: Record) -> dict[str, str]:
    return {key: getattr(line, key) for key in ("id", "family", "near", "question", "answer", "role")}


def _summary(found: Sequence[Found], config: ParaphraseConfig, out: Path, why: str) -> dict[str, Any]:
    complete = all(len(one.kept) >= config.count for one in found)
    if not complete and not why:
        short = sum(len(one.kept) < config.count for one in found)
        why = f"{short} of {len(found)} targets have fewer than {config.count} paraphrases that pass the gate"
    return {
        "out": str(out),
        "backend": config.backend,
        "model": config.model or MODELS.get(config.backend, ""),
        "complete": complete,
        "why": "" if complete else why,
        "targets": [
            {"id": one.target.id, "asked": one.asked, "kept": len(one.kept), "unanswered": one.unanswered,
             "dropped": dict(sorted(one.dropped.items())),
             "roles": dict(sorted(Counter(role(config.seed, one.target.id, index) for index in one.kept).items()))}
            for one in found
        ],
    }  # fmt: skip
