"""Text behind the modality contract (see vestige.modality): questions, answers, and language models that give them."""

from vestige.text.data import Record, columns, load, records, texts
from vestige.text.encode import ENCODERS, encode
from vestige.text.lexical import lexical
from vestige.text.model import (
    LanguageModel,
    answers,
    build,
    check,
    embed,
    head,
    hidden,
    layers,
    lengths,
    logits,
    losses,
    most_workers,
    noise,
    prompts,
    reference,
    restore,
    weights,
)
from vestige.text.recover import ask, likelihoods, recover
from vestige.text.sources import pickled, unpickled
from vestige.text.states import EMBED, altered, check_places, depth
from vestige.text.tiny import TINY

__all__ = [
    "EMBED",
    "ENCODERS",
    "TINY",
    "LanguageModel",
    "Record",
    "altered",
    "answers",
    "ask",
    "build",
    "check",
    "check_places",
    "columns",
    "depth",
    "embed",
    "encode",
    "head",
    "hidden",
    "layers",
    "lengths",
    "lexical",
    "likelihoods",
    "load",
    "logits",
    "losses",
    "most_workers",
    "noise",
    "pickled",
    "prompts",
    "records",
    "recover",
    "reference",
    "restore",
    "texts",
    "unpickled",
    "weights",
]
