"""Recall of texts: what a language model answers when it is asked, and how much of the true answer that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from vestige.config import AskConfig
from vestige.text import signs
from vestige.text.model import CHUNK, LanguageModel, answers, head, lengths, logits, prompts
from vestige.text.rouge import rouge, suitable
from vestige.text.tokens import pad
from vestige.types import InputError, Samples, Scores

OnStep = Callable[[int, int], None]


@torch.no_grad()
def ask(
    model: LanguageModel, questions: Sequence[str], *, config: AskConfig, on_step: OnStep | None = None
) -> list[str]:
    """The model's answer to each question: the likeliest token after the other, up to its end token.

    An answer has at most `config.max_new_tokens` tokens, fewer where the model's context ends. `config.batch`
    questions of like lengths are asked at once; equal questions get equal answers. Batch and order change the sums'
    rounding alone. on_step(done, total): questions answered so far. Raises InputError for a question that leaves no
    room for an answer.
    """
    asked = dict(zip(questions, prompts(model, questions), strict=True))
    room = _room(model, asked)
    # Long ones first: little to fill, and what does not fit into memory fails at once.
    order = sorted(asked, key=lambda question: (-len(asked[question]), question))
    found: dict[str, str] = {}
    # One context for all: what autocast makes of the weights is kept until it ends.
    with model.autocast():
        for start in range(0, len(order), config.batch):
            batch = order[start : start + config.batch]
            limits = [min(config.max_new_tokens, room - len(asked[question])) for question in batch]
            for question, tokens in zip(batch, _decode(model, [asked[q] for q in batch], limits), strict=True):
                text: str = model.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                found[question] = text.strip()
            if on_step:
                on_step(len(found), len(order))
    return [found[question] for question in questions]


def recover(
    model: LanguageModel,
    samples: Samples,
    *,
    config: AskConfig,
    judge: LanguageModel | None = None,
    on_step: OnStep | None = None,
) -> Scores:
    """Ask each sample's question and compare with its true answer: recall is ROUGE-L's, in [0, 1].

    judge: a model that never unlearned, for gibberish of words at random; without it that is not seen. Evidence:
    rougeL_recall, rougeL and rouge1 (F1), answer (what the model said), gibberish (0 or 1); and of the true answer
    probability, extraction_strength, min_k, loss (mean per token, nats), as `signs` has them. Fact:
    unicode_words, the share of samples that ROUGE did not take apart as rouge-score does (`config.words`).
    on_step as of `ask`. Raises InputError for a sample without an answer, ArithmeticError for a model whose scores
    are not finite. Source: Lin 2004; KM(M; x) of Xu and Zhang 2026.
    """
    for name, true in zip(samples.ids, samples.y, strict=True):
        if not true.strip():
            raise InputError(f"{name!r} has no true answer to compare with; give it one, or leave it out")
    known = likelihoods(model, samples)
    said = ask(model, samples.x, config=config, on_step=on_step)
    answer = np.array(said, dtype=object)
    scores = [rouge(*pair, config.words) for pair in zip(said, samples.y, strict=True)]
    recall = np.array([score.longest.recall for score in scores])
    costs = None if judge is None else signs.loss(*_known(judge, replace(samples, y=answer))[::2])
    evidence = {
        "rougeL_recall": recall,
        "rougeL": np.array([score.longest.f1 for score in scores]),
        "rouge1": np.array([score.unigram.f1 for score in scores]),
        "answer": answer,
        "gibberish": signs.gibberish(said, costs),
        **known,
    }
    words = [suitable(true) if config.words == "auto" else config.words for true in samples.y]
    return Scores(samples.ids, recall, evidence, {"unicode_words": words.count("unicode") / len(words)})


def likelihoods(model: LanguageModel, samples: Samples) -> dict[str, np.ndarray]:
    """What the model makes of each true answer without being asked, (N,) each: probability, extraction_strength,
    min_k and loss, as `signs` has them. Raises ArithmeticError for a model whose scores are not finite."""
    log_p, right, counts = _known(model, samples)
    return {
        "probability": signs.probability(log_p, counts),
        "extraction_strength": signs.extraction_strength(right, counts),
        "min_k": signs.min_k(log_p, counts),
        "loss": signs.loss(log_p, counts),
    }


@torch.no_grad()
def _known(model: LanguageModel, samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all answer tokens: log probability, and whether it is the first choice (A,); how many each sample has (N,)."""
    log_p, right = [], []
    with model.autocast():
        for start in range(0, len(samples), CHUNK):
            part = samples.at(slice(start, start + CHUNK))
            scores, tokens = logits(model, part), answers(model, part)
            log_p.append(scores.gather(1, tokens[:, None])[:, 0] - scores.logsumexp(1))
            right.append(scores.argmax(1) == tokens)
    known = torch.cat(log_p).clamp(max=0)
    if not known.isfinite().all():
        raise ArithmeticError("the model diverged: its scores are not finite")
    return known.cpu().numpy(), torch.cat(right).cpu().numpy(), lengths(model, samples).cpu().numpy()


def _room(model: LanguageModel, asked: dict[str, list[int]]) -> int:
    """How many tokens the model's context has. Raises InputError where a question fills it."""
    # Architectures without learned or rotary positions name no end.
    room = getattr(model.causal.config, "max_position_embeddings", None) or 2**31
    for question, tokens in asked.items():
        if len(tokens) >= room:
            raise InputError(
                f"the question {question[:60]!r} … has {len(tokens)} tokens, and the context of {model.config.source} "
                f"{room}: there is no room for an answer; shorten it, or take a model with a longer context"
            )
    return int(room)


def _decode(model: LanguageModel, rows: Sequence[Sequence[int]], limits: Sequence[int]) -> list[list[int]]:
    """The tokens that follow each prompt, without the end token, at most so many. Rows that ended are dropped."""
    made: list[list[int]] = [[] for _ in rows]
    live = list(range(len(rows)))
    ids, mask = (part.to(model.device) for part in pad(rows, model.pad, left=True))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    past = None
    while live:
        out = model.causal.base_model(
            input_ids=ids, attention_mask=mask.long(), position_ids=positions, past_key_values=past, use_cache=True
        )
        past = out.past_key_values
        tokens = head(model, out.last_hidden_state[:, -1]).argmax(1)
        going = []
        # Where an answer ends is only known by reading it: one number per row and step.
        for place, token in enumerate(tokens.tolist()):
            row = made[live[place]]
            if token != model.end:
                row.append(token)
                if len(row) < limits[live[place]]:
                    going.append(place)
        keep = torch.tensor(going, dtype=torch.int64, device=model.device)
        if len(going) < len(live):
            live = [live[place] for place in going]
            past.batch_select_indices(keep)
        ids, positions = tokens[keep, None], positions[keep, -1:] + 1
        mask = torch.cat([mask[keep], torch.ones_like(ids, dtype=torch.bool)], 1)
    return made
