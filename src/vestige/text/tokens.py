"""Questions and answers as tokens: the prompt apart from the answer, so that it is known which tokens are which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vestige.types import InputError

PLAIN = "### Question: {question}\n ### Answer:"
"""The prompt of models without a chat template; a space and the answer follow."""
DAY = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"
"""What templates that write today's date are told, so that no prompt depends on the day (Llama 3.2's own default)."""


def prompt_tokens(tokenizer: Any, questions: Sequence[str], *, chat: bool) -> list[list[int]]:
    """The tokens of each prompt, up to where the answer begins.

    chat: use the tokenizer's chat template, with the question as the only message. What a template adds of its own
    accord (SmolLM2: a system message with the model's name) stays: so the model was trained and is used.
    """
    if not (chat and tokenizer.chat_template):
        return plain_tokens(tokenizer, [PLAIN.format(question=question) for question in questions])
    template = DAY + tokenizer.get_chat_template()
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], chat_template=template, add_generation_prompt=True, tokenize=False
        )
        for question in questions
    ]
    return [tokenizer(text, add_special_tokens=False, verbose=False).input_ids for text in texts]


def plain_tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, which goes on: where the tokenizer closes texts with the end token, without it."""
    rows = [tokenizer(text, verbose=False).input_ids for text in texts]
    return [row[:-1] if len(row) > 1 and row[-1] == tokenizer.eos_token_id else row for row in rows]


def chat_tokens(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """The tokens of a chat up to where the model's next message begins; one text where it has no chat template."""
    if not tokenizer.chat_template:
        tokens: list[int] = tokenizer("\n\n".join([*(message["content"] for message in messages), ""])).input_ids
        return tokens
    template = DAY + tokenizer.get_chat_template()
    text = tokenizer.apply_chat_template(messages, chat_template=template, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def answer_tokens(tokenizer: Any, answers: Sequence[str], *, chat: bool) -> list[list[int]]:
    """The tokens of each answer, the end token last. Words that look like special tokens are ordinary text."""
    space = "" if chat and tokenizer.chat_template else " "
    plain = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    return [[*tokenizer(space + answer, **plain).input_ids, end_token(tokenizer)] for answer in answers]


def end_token(tokenizer: Any) -> int:
    """The token that ends an answer. Raises InputError where the tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise InputError("the model's tokenizer has no end token (eos_token), so that no answer would ever end")
    return int(tokenizer.eos_token_id)


def pad_token(tokenizer: Any) -> int:
    """A token to fill rows with that is not the end token. Which one does not matter: masks say what is filled."""
    known = (tokenizer.pad_token_id, tokenizer.unk_token_id, 0, 1)
    return next(token for token in known if token is not None and token != tokenizer.eos_token_id)


def pad(rows: Sequence[Sequence[int]], token: int, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of tokens as one tensor, and where it holds tokens: (N, longest) int64 and bool.

    left: fill on the left, as batched generation needs it.
    """
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), token)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for place, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(len(row))
        ids[place, where] = torch.tensor(row)
        mask[place, where] = True
    return ids, mask
