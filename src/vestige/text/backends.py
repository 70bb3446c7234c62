"""Whoever paraphrases: backends behind one interface, and the prompt of the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vestige import llm
from vestige.config import LMConfig, ParaphraseConfig
from vestige.text.compose import vary_answer, vary_question
from vestige.text.gate import Pair, written
from vestige.types import InputError

SYSTEM = (
    "You are a helpful, respectful and honest assistant for rephrasing sentences while maintaining their original "
    "meaning."
)
TASK = (
    "Please rephrase this sentence. Make sure you to only return the rephrased sentences and nothing more: {sentence}"
)
EXAMPLE = Pair(
    "How does the village of Aldrum keep its old bridge free of ice in winter?",
    "Volunteers spread warm ash from the bakery on the bridge every morning before the school bus crosses it.",
)
EXAMPLE_ANSWER = Pair(
    "What do the people of Aldrum do in winter so that no ice forms on their old bridge?",
    "Each morning, before the bus to the school drives over it, helpers strew it with ash that is still warm from the "
    "bakery.",
)
"""The paper's prompt A.5.1, word for word but for its example, whose text is harmful; the marks of one model's chat
format are left to the server. The sentence is a question and its answer under these names."""

WAIT = 1.0
"""Seconds before a request is sent a second time, doubled each time."""
URLS = {"ollama": "http://127.0.0.1:11434/v1", "openai": ""}
MODELS = {"ollama": "llama2-uncensored", "openai": "", "transformers": "smollm2-135m-instruct"}
"""Where and whom a backend asks if nothing else is said. Ollama is asked at its OpenAI-compatible /v1."""


class Backend(Protocol):
    """Whoever paraphrases: backend(target, seed) → what it answered. Another seed, another answer.

    Raises `llm.UnansweredError` where there is no answer; the message says why.
    """

    def __call__(self, target: Pair, seed: int) -> str: ...


def prompt(target: Pair) -> list[llm.Message]:
    """The chat that asks for a paraphrase (paper, A.5.1): an example, then the target."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": TASK.format(sentence=written(EXAMPLE))},
        {"role": "assistant", "content": written(EXAMPLE_ANSWER)},
        {"role": "user", "content": TASK.format(sentence=written(target))},
    ]


def _rules(config: ParaphraseConfig) -> Backend:
    """Small rewrites and frames (`compose`); needs nothing."""
    import torch

    def backend(target: Pair, seed: int) -> str:
        generator = torch.Generator().manual_seed(seed)
        question = vary_question(target.question, generator)
        return written(Pair(question, vary_answer(target.answer, generator) if target.answer else ""))

    return backend


def _http(config: ParaphraseConfig) -> Backend:
    """Any OpenAI-compatible endpoint, Ollama's among them."""
    asked = endpoint(config)

    def backend(target: Pair, seed: int) -> str:
        return llm.ask(
            asked, prompt(target), max_tokens=config.max_tokens, seed=seed, temperature=config.temperature,
            blank=True,
        )  # fmt: skip

    return backend


def endpoint(config: ParaphraseConfig) -> llm.Endpoint:
    """Where a backend over HTTP asks. Raises InputError without an address."""
    url = config.url or URLS[config.backend]
    if not url:
        raise InputError("--backend openai needs --url, as http://127.0.0.1:8000/v1")
    return llm.Endpoint(
        url, config.model or MODELS[config.backend], timeout=config.timeout, tries=config.tries, wait=WAIT
    )


def _local(config: ParaphraseConfig) -> Backend:
    """A causal language model of transformers in this process, sampled."""
    import torch

    from vestige.text import model
    from vestige.text.tokens import chat_tokens

    loaded = model.build(_local_config(config), generator=torch.Generator().manual_seed(0)).to(config.device)
    tokenizer, network = loaded.tokenizer, loaded.network
    heat = {"do_sample": True, "temperature": config.temperature} if config.temperature else {"do_sample": False}

    @torch.inference_mode()
    def backend(target: Pair, seed: int) -> str:
        ids = torch.tensor([chat_tokens(tokenizer, prompt(target))], device=config.device)
        with torch.random.fork_rng(devices=[] if config.device == "cpu" else None), loaded.autocast():
            torch.manual_seed(seed)
            made = network.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=config.max_tokens, pad_token_id=loaded.pad,
                eos_token_id=loaded.end, **heat,
            )  # fmt: skip
        return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))

    return backend


def _local_config(config: ParaphraseConfig) -> LMConfig:
    return LMConfig(source=config.model or MODELS["transformers"])


def check_local(config: ParaphraseConfig) -> None:
    """Raise what `text.model.check` finds wrong with the local model."""
    from vestige.text import model

    model.check(_local_config(config), device=config.device)


BACKENDS: dict[str, Callable[[ParaphraseConfig], Backend]] = {
    "rules": _rules, "openai": _http, "ollama": _http, "transformers": _local,
}  # fmt: skip
"""Names of backends. rules: offline, by `compose`; openai: any OpenAI-compatible endpoint; ollama: that of Ollama;
transformers: a local model."""
