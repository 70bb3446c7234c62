"""Untrained language models of a few layers, one for each of the paper's architectures, and their byte tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vestige.text.hub import quiet

WIDTH, LAYERS, HEADS, CONTEXT = 32, 2, 4, 1024
TINY = ("tiny-llama", "tiny-gpt-neo", "tiny-opt")


def tiny(name: str, generator: torch.Generator | None = None) -> nn.Module:
    """The untrained model of this name in TINY: matrices N(0, 1/√inputs) drawn from the generator, biases 0.

    Without a generator the weights mean nothing: others are to be put in their place.
    """
    from transformers import AutoModelForCausalLM

    with quiet(), torch.random.fork_rng(devices=[]):
        network: nn.Module = AutoModelForCausalLM.from_config(_config(name))
    if generator is not None:
        with torch.no_grad():
            for weight in network.parameters():
                if weight.ndim > 1:
                    weight.normal_(0, weight.shape[1] ** -0.5, generator=generator)
    return network


def byte_tokenizer() -> Any:
    """A tokenizer of 259 tokens: fill, begin, end, and the 256 bytes of UTF-8. Every text has its tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate([*special, *letters])}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=CONTEXT
    )


def _config(name: str) -> Any:
    from transformers import GPTNeoConfig, LlamaConfig, OPTConfig

    shared: dict[str, Any] = {
        "vocab_size": 259, "hidden_size": WIDTH, "max_position_embeddings": CONTEXT,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    deep: dict[str, Any] = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    if name == "tiny-llama":
        return LlamaConfig(
            **shared, **deep, num_key_value_heads=HEADS // 2, intermediate_size=2 * WIDTH, tie_word_embeddings=True
        )
    if name == "tiny-gpt-neo":
        kinds = [[["global", "local"], LAYERS // 2]]
        return GPTNeoConfig(
            **shared, num_layers=LAYERS, num_heads=HEADS, attention_types=kinds, window_size=64,
            intermediate_size=2 * WIDTH,
        )  # fmt: skip
    return OPTConfig(**shared, **deep, ffn_dim=2 * WIDTH, word_embed_proj_dim=WIDTH)
