"""Multiple-choice questions: reading them, and which option a language model finds likeliest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from vestige.assets import text_ending
from vestige.config import LMConfig
from vestige.text.files import READERS, short
from vestige.text.model import SHORT, LanguageModel, head, reader
from vestige.text.tokens import answer_tokens, pad, plain_tokens
from vestige.types import InputError

COMMON = "common"
FILE = Path(__file__).with_name("common.jsonl")
"""Our own 120 questions of common knowledge, ten of each of twelve kinds."""
PROMPT = "Question: {question}\nAnswer:"
"""How each question is put; a space and the option follow. No chat template: as lm-evaluation-harness asks."""


class Choice(NamedTuple):
    """A question and its options, of which `options[answer]` is right."""

    id: str
    question: str
    options: tuple[str, ...]
    answer: int


class Weighed(NamedTuple):
    """Of each option of one question: log-likelihood after the question (nats), and how many tokens it has."""

    log_p: np.ndarray
    tokens: np.ndarray


def locate(source: str) -> Path:
    """The file of a set: COMMON, or a path. Raises InputError where it is not there or of another kind."""
    if source == COMMON:
        return FILE
    path = Path(source)
    if not path.is_file():
        raise InputError(f"there is no file {source!r} of multiple-choice questions; give JSONL, or {COMMON}: ours")
    if text_ending(path) not in (".jsonl", ".jsonl.gz", ".jsonl.xz", ".parquet"):
        raise InputError(f"{path}: multiple-choice questions are read from JSONL or Parquet")
    return path


def read(source: str) -> list[Choice]:
    """The questions of a set: COMMON, or a file with question, options (a list of texts) and answer in each record.

    answer: the right option's place, counted from 0, or its text. id: optional, else the place in the file. Raises
    InputError with file and line for anything malformed.
    """
    path = locate(source)
    found: dict[str, Choice] = {}
    for place, values in READERS[text_ending(path)].rows(path, ["id", "question", "options", "answer"]):
        choice = _choice(values, str(len(found)), f"{path} {place}")
        if choice.id in found:
            raise InputError(f"{path} {place}: the id {choice.id!r} is taken already")
        found[choice.id] = choice
    if not found:
        raise InputError(f"{path} holds no questions")
    return list(found.values())


def few(choices: Sequence[Choice], limit: int | None) -> list[Choice]:
    """At most `limit` of them, evenly spaced over the set, so that every kind is there; None: all."""
    count = len(choices) if limit is None else min(limit, len(choices))
    return [choices[len(choices) * place // count] for place in range(count)]


def check(config: LMConfig, choices: Sequence[Choice]) -> None:
    """Raise InputError for a question that, with its longest option, is too long for the model's context."""
    tokenizer, context = reader(config)
    for choice, prompt, options in zip(choices, *_tokens(tokenizer, choices), strict=True):
        length = len(prompt) + max(map(len, options))
        if context is not None and length > context:
            raise InputError(
                f"the question {choice.id!r} with its longest option takes {length} tokens, and the context of "
                f"{config.source} has {context}; shorten it, or leave it out"
            )


@torch.no_grad()
def weigh(
    model: LanguageModel,
    choices: Sequence[Choice],
    *,
    batch: int,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Weighed]:
    """The log-likelihood of every option after its question, `batch` questions at once.

    A question is read once for all its options. Batch and order change the sums' rounding alone.
    on_step(done, total): questions weighed so far. Raises ArithmeticError for a model whose scores are not finite.
    Source: Gao et al., lm-evaluation-harness.
    """
    asked, rows = _tokens(model.tokenizer, choices)
    order = sorted(range(len(choices)), key=lambda place: (-len(asked[place]), place))
    found: dict[int, Weighed] = {}
    with model.autocast():
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            each = _log_likelihoods(model, [asked[place] for place in part], [rows[place] for place in part])
            for place, log_p in zip(part, each, strict=True):
                found[place] = Weighed(log_p, np.array([len(row) for row in rows[place]]))
            if on_step:
                on_step(len(found), len(order))
    if not all(np.isfinite(one.log_p).all() for one in found.values()):
        raise ArithmeticError("the model diverged: its scores are not finite")
    return [found[place] for place in range(len(choices))]


def chosen(weighed: Weighed, choice: Choice, *, norm: bool = False) -> int:
    """The place of the likeliest option, the first of equals; norm: by log-likelihood per character of the option."""
    lengths = np.array([len(option) for option in choice.options])
    return int(np.argmax(weighed.log_p / lengths if norm else weighed.log_p))


def _tokens(tokenizer: Any, choices: Sequence[Choice]) -> tuple[list[list[int]], list[list[list[int]]]]:
    """The tokens of each question, and of each of its options without the end token: an option may go on."""
    asked = plain_tokens(tokenizer, [PROMPT.format(question=choice.question) for choice in choices])
    return asked, [[row[:-1] for row in answer_tokens(tokenizer, one.options, chat=False)] for one in choices]


def _log_likelihoods(
    model: LanguageModel, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[Sequence[int]]]
) -> list[np.ndarray]:
    """Of each prompt's options the summed log probability of their tokens."""
    ids, mask = (part.to(model.device) for part in pad(prompts, model.pad, left=True))
    plain = ids.device.type == "cpu" and ids.shape[1] <= SHORT
    with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
        out = model.causal.base_model(
            input_ids=ids, attention_mask=mask.long(), position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=True
        )
        owner = torch.tensor([row for row, some in enumerate(options) for _ in some], device=model.device)
        flat = [option for some in options for option in some]
        first = torch.tensor([option[0] for option in flat], device=model.device)
        total = head(model, out.last_hidden_state[:, -1]).log_softmax(1)[owner, first].double()
        # What follows an option's first token is read after the question as it was remembered.
        longer = [place for place, option in enumerate(flat) if len(option) > 1]
        if longer:
            keep = torch.tensor(longer, device=model.device)
            past = out.past_key_values
            past.batch_select_indices(owner[keep])
            tail, there = (part.to(model.device) for part in pad([flat[place][:-1] for place in longer], model.pad))
            seen = torch.cat([mask[owner[keep]], there], 1)
            positions = (seen.cumsum(1) - 1).clamp(min=0)[:, -tail.shape[1] :]
            states = model.causal.base_model(
                input_ids=tail, attention_mask=seen.long(), position_ids=positions, past_key_values=past, use_cache=True
            ).last_hidden_state
            wanted = torch.tensor([token for place in longer for token in flat[place][1:]], device=model.device)
            each = head(model, states[there]).log_softmax(1).gather(1, wanted[:, None])[:, 0]
            total.index_add_(0, keep.repeat_interleave(there.sum(1)), each.double())
    return [part.numpy() for part in torch.split(total.cpu(), [len(some) for some in options])]


def _choice(values: Mapping[str, Any], position: str, place: str) -> Choice:
    for name in ("question", "options", "answer"):
        if name not in values:
            raise InputError(f"{place}: there is no {name!r}; a record needs question, options (a list) and answer")
    question, options, answer = (values[name] for name in ("question", "options", "answer"))
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"{place}: question must be a text that is not empty, found {short(question)}")
    if not isinstance(options, list) or len(options) < 2:
        raise InputError(f"{place}: options must be a list of at least two texts, found {short(options)}")
    for option in options:
        if not isinstance(option, str) or not option.strip():
            raise InputError(f"{place}: each option must be a text that is not empty, found {short(option)}")
    if len(set(options)) < len(options):
        raise InputError(f"{place}: two options are the same")
    if isinstance(answer, str) and answer in options:
        answer = options.index(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(options):
        raise InputError(
            f"{place}: answer must be an option's place, 0 to {len(options) - 1}, or its text, found {short(answer)}"
        )
    name = values.get("id", position)
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
        raise InputError(f"{place}: id must be a text or a whole number, found {short(name)}")
    return Choice(str(name), question, tuple(options), answer)
