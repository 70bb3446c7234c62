"""Causal language models behind the contract: what they make of questions and answers, token by token."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vestige.config import LMConfig, LoRA
from vestige.text import sources
from vestige.text.hub import download, require
from vestige.text.tiny import CONTEXT, TINY, byte_tokenizer, tiny
from vestige.text.tokens import answer_tokens, end_token, pad, pad_token, prompt_tokens
from vestige.types import InputError, Samples

SHORT = 256
"""Tokens up to which attention on the CPU is computed as plain products: faster than the fused kernel there."""
CHUNK = 16
"""Pairs that are looked at together where no gradient is asked for: bounds the memory."""
MOST = 8
"""Worker processes that are started at most where nobody says how many."""
BESIDE = 2 * sources.GIB
"""What a worker takes beside weights, gradients and moments: libraries and a batch (SmolLM2, 4 + 4 pairs: 1.8 GiB)."""


class LanguageModel(nn.Module):
    """A causal language model of transformers with its tokenizer.

    network: the model, inside peft's wrapper where `config.lora` says so. Weights are float32. Dropout is always off:
    same seed, same result. A deep copy has its own network and shares the tokenizer.
    """

    def __init__(self, network: nn.Module, tokenizer: Any, config: LMConfig) -> None:
        super().__init__()
        self.network: Any = network
        self.tokenizer = tokenizer
        self.config = config
        self.end, self.pad = end_token(tokenizer), pad_token(tokenizer)
        self.eval()

    def train(self, mode: bool = True) -> LanguageModel:
        super().train(False)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LanguageModel:
        made = LanguageModel(copy.deepcopy(self.network, memo), self.tokenizer, self.config)
        memo[id(self)] = made
        return made

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def causal(self) -> Any:
        """The model of transformers itself, with or without adapters in it."""
        return self.network.get_base_model() if self.config.lora else self.network

    def autocast(self) -> AbstractContextManager[Any]:
        """Products in bfloat16 where the configuration says so; weights and sums stay float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    @property
    def mixed(self) -> bool:
        """Whether products are in bfloat16."""
        if self.config.precision == "auto":
            return has_bfloat16(self.device.type)
        return self.config.precision == "bfloat16"

    def forward(self, ids: Tensor, mask: Tensor, layer: int | None = None) -> Tensor:
        """The last layer's states, (N, length, width) float32; ids (N, length), mask: where there are tokens.

        layer: what this block of the decoder gives instead, counted from 0.
        Rows may be filled left or right: positions are counted from the first token.
        """
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        plain = ids.device.type == "cpu" and ids.shape[1] <= SHORT
        with self.autocast(), sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
            out = self.causal.base_model(
                input_ids=ids, attention_mask=mask.long(), position_ids=positions, use_cache=False,
                output_hidden_states=layer is not None,
            )  # fmt: skip
        states: Tensor = out.last_hidden_state if layer is None else out.hidden_states[layer + 1]
        return states.float()


def build(config: LMConfig, samples: Samples | None = None, *, generator: torch.Generator) -> LanguageModel:
    """The model that `config.source` names: pretrained, or one of TINY with weights from the generator.

    samples: not looked at; the contract hands them over. generator also draws fresh adapters (`config.lora`), which
    change nothing until they are trained. Raises InputError and MissingError as `check` does.
    """
    model = _bare(config, generator)
    return _with_adapters(model, config.lora, generator) if config.lora else model


def restore(config: LMConfig, weights: dict[str, Tensor]) -> LanguageModel:
    """The model that these weights belong to, on their device. Raises InputError for weights of another model."""
    unused = torch.Generator().manual_seed(0)
    model = build(config, generator=unused)
    wanted = {name: tuple(value.shape) for name, value in _kept(model)}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != found:
        name = min(set(wanted.items()) ^ set(found.items()))[0]
        raise InputError(
            f"these weights do not belong to {config.source}: {name} has the shape {found.get(name, 'of nothing')}, "
            f"expected {wanted.get(name, 'none of this name')}"
        )
    with torch.no_grad():
        for name, value in _kept(model):
            value.copy_(weights[name])
    return model.to(next(iter(weights.values())).device)


def weights(model: LanguageModel) -> dict[str, Tensor]:
    """What must be kept of a model for `restore`: each weight once, however often it is used; with LoRA the adapters.

    Of an untrained model (TINY) with adapters everything is kept: its base can be had from nowhere else.
    """
    return {name: value.detach() for name, value in _kept(model)}


def prompts(model: LanguageModel, questions: Sequence[str]) -> list[list[int]]:
    """The tokens of each prompt, up to where the answer begins (`tokens.prompt_tokens`)."""
    return prompt_tokens(model.tokenizer, questions, chat=model.config.chat)


def answers(model: LanguageModel, samples: Samples) -> Tensor:
    """The answer tokens of all samples, one after the other, each answer closed by the end token. Shape (A,)."""
    rows = _answers(model, samples)
    return torch.tensor([token for row in rows for token in row], device=model.device)


def lengths(model: LanguageModel, samples: Samples) -> Tensor:
    """How many tokens each answer has, its end token among them. Shape (N,), int64."""
    return torch.tensor([len(row) for row in _answers(model, samples)], device=model.device)


def hidden(model: LanguageModel, samples: Samples, layer: int | None = None) -> Tensor:
    """What the head sees before each answer token of all samples, one after the other. Shape (A, width).

    layer: what this block of the decoder gives there instead, counted from 0.
    The last prompt token stands before the first answer token; the end token is predicted and not read.
    """
    asked, answered = prompts(model, samples.x), _answers(model, samples)
    step = len(samples) if torch.is_grad_enabled() else CHUNK
    parts: list[Tensor] = []
    for start in range(0, len(samples), step):
        chunk = slice(start, start + step)
        pairs = list(zip(asked[chunk], answered[chunk], strict=True))
        ids, mask = pad([[*question, *answer[:-1]] for question, answer in pairs], model.pad)
        states = model(ids.to(model.device), mask.to(model.device), layer)
        parts += [
            states[row, len(question) - 1 : len(question) + len(answer) - 1]
            for row, (question, answer) in enumerate(pairs)
        ]
    return torch.cat(parts)


def head(model: LanguageModel, hidden: Tensor) -> Tensor:
    """The scores of all tokens after these states of the last layer: (A, width) to (A, vocabulary), float32."""
    with model.autocast():
        out: Tensor = model.causal.get_output_embeddings()(hidden)
    return out.float()


def logits(model: LanguageModel, samples: Samples) -> Tensor:
    """The scores before each answer token of all samples, one after the other. Shape (A, vocabulary)."""
    return head(model, hidden(model, samples))


def losses(model: LanguageModel, samples: Samples) -> Tensor:
    """Negative log-likelihood of each answer, summed over its tokens, in nats. Shape (N,).

    Scores are computed before answer tokens alone; the prompt costs no vocabulary.
    """
    if torch.is_grad_enabled():
        return _losses(model, samples)
    return torch.cat([_losses(model, samples.at(slice(at, at + CHUNK))) for at in range(0, len(samples), CHUNK)])


def embed(model: LanguageModel, samples: Samples) -> Tensor:
    """The mean over an answer's tokens of what the head sees, (N, width)."""
    parts = torch.split(hidden(model, samples), lengths(model, samples).tolist())
    return torch.stack([part.mean(0) for part in parts])


def layers(model: LanguageModel) -> nn.ModuleList:
    """The decoder's blocks, from input to head."""
    depth = model.causal.config.num_hidden_layers
    return next(part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth)


def noise(model: LanguageModel, count: int, *, generator: torch.Generator) -> str:
    """A text of `count` tokens drawn evenly from the vocabulary, special tokens left out."""
    special = set(model.tokenizer.all_special_ids)
    tokens = [token for token in sorted(model.tokenizer.get_vocab().values()) if token not in special]
    drawn = torch.randint(len(tokens), (count,), generator=generator).tolist()
    text: str = model.tokenizer.decode([tokens[place] for place in drawn])
    return text


@contextmanager
def reference(model: LanguageModel) -> Iterator[LanguageModel]:
    """The model as it was before any training, while the context lasts: adapters off. Needs LoRA."""
    if not model.config.lora:
        raise InputError("a model without adapters has no reference in it; set model.lora, or keep a copy")
    with model.network.disable_adapter():
        yield model


def check(config: LMConfig, samples: Samples | None = None, *, device: str = "cpu", training: bool = True) -> None:
    """Everything that can be found wrong before weights are read.

    samples: pairs to be trained on or asked. device: where it will be trained; training: else only asked, which needs
    less memory. A model on the hub is downloaded once it is known to fit. Raises InputError for a source that is not
    there, too little memory, an answer that is empty or longer than the context; MissingError where a package or a
    download is missing.
    """
    require("transformers", "language models")
    if config.lora:
        require("peft", "low-rank adapters")
    if config.source not in TINY:
        sources.fits(sources.parameters(_described(config)), config, device, training=training)
    if samples is not None:
        _check_samples(*reader(config), config, samples)


def most_workers(config: LMConfig) -> int:
    """How many processes the free memory lets unlearn from this model at once on the CPU; 1 at least, MOST at most."""
    free = sources.available("cpu")
    if config.source in TINY or free is None:
        return MOST
    count = sources.parameters(_described(config))
    before = 0 if config.lora else sources.needed(count, config, training=False)
    return max(1, min(MOST, free // (sources.needed(count, config) + before + BESIDE)))


def reader(config: LMConfig) -> tuple[Any, int | None]:
    """The tokenizer of a model, and how many tokens it can look at (None: not said), without reading its weights."""
    if config.source in TINY:
        return byte_tokenizer(), CONTEXT
    path = sources.folder(config.source)
    return sources.tokenizer(path), sources.context(path)


def has_bfloat16(kind: str) -> bool:
    """Whether a device ("cpu", "cuda") multiplies bfloat16 in hardware."""
    if kind == "cpu":
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _described(config: LMConfig) -> Path:
    """The folder or GGUF file that says what a model is like; of one on the hub, got without its weights."""
    path = sources.find(config.source)
    if path is None:
        return download(config.source, instead=sources.SMOLLM, weights=False)
    return made if path.is_file() and (made := sources.converted(path)).is_dir() else path


def _answers(model: LanguageModel, samples: Samples) -> list[list[int]]:
    return answer_tokens(model.tokenizer, samples.y, chat=model.config.chat)


def _losses(model: LanguageModel, samples: Samples) -> Tensor:
    each = F.cross_entropy(logits(model, samples), answers(model, samples), reduction="none")
    return torch.stack([part.sum() for part in torch.split(each, lengths(model, samples).tolist())])


def _bare(config: LMConfig, generator: torch.Generator) -> LanguageModel:
    """The model without adapters."""
    require("transformers", "language models")
    if config.source in TINY:
        network, tokenizer = tiny(config.source, generator), byte_tokenizer()
    else:
        network, tokenizer = sources.load(config.source)
    model = LanguageModel(network, tokenizer, config.model_copy(update={"lora": None}))
    _plain_head(model)
    return model


@torch.no_grad()
def _plain_head(model: LanguageModel) -> None:
    """Raise InputError where the model's scores are not what its head makes of the last states (capped, scaled …)."""
    ids = torch.tensor([[model.end]])
    own = model.network(input_ids=ids, use_cache=False).logits
    states = model.network.base_model(input_ids=ids, use_cache=False).last_hidden_state
    ours = model.network.get_output_embeddings()(states)
    if not torch.allclose(own, ours, rtol=1e-3, atol=1e-3):
        raise InputError(f"{model.config.source} reshapes the scores of its head; such models are not supported")


def _with_adapters(model: LanguageModel, lora: LoRA, generator: torch.Generator) -> LanguageModel:
    """Low-rank adapters on the projections of attention and MLP, as peft starts them: B = 0, A uniform."""
    require("peft", "low-rank adapters")
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        network = get_peft_model(model.network, settings)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_A" in name:
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    return LanguageModel(network, model.tokenizer, model.config.model_copy(update={"lora": lora}))


def _kept(model: LanguageModel) -> Iterator[tuple[str, nn.Parameter]]:
    whole = not model.config.lora or model.config.source in TINY
    for name, weight in model.network.named_parameters():
        if whole or weight.requires_grad:
            yield name, weight


def _check_samples(tokenizer: Any, context: int | None, config: LMConfig, samples: Samples) -> None:
    """Raise InputError for an answer that is empty, or does not fit behind its question."""
    asked = prompt_tokens(tokenizer, samples.x, chat=config.chat)
    answered = answer_tokens(tokenizer, samples.y, chat=config.chat)
    for name, text, question, answer in zip(samples.ids, samples.y, asked, answered, strict=True):
        if not text.strip():
            raise InputError(f"the answer of {name!r} is empty; there is nothing to train on")
        if context is not None and len(question) + len(answer) > context:
            raise InputError(
                f"the question and answer {name!r} take {len(question)} + {len(answer)} tokens, and the context of "
                f"{config.source} has {context}; leave it out, shorten it, or take a model with a longer context"
            )
