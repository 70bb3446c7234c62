"""Images behind the modality contract (see vestige.modality)."""

from vestige.classifier import embed, lengths, logits, losses, weights
from vestige.image.data import jitter, load, unit
from vestige.image.encode import encode
from vestige.image.model import build, restore
from vestige.image.recover import check_recover, recover
from vestige.image.transform import make_similar

__all__ = [
    "build", "check_recover", "embed", "encode", "jitter", "lengths", "load", "logits", "losses", "make_similar",
    "recover", "restore", "unit", "weights",
]  # fmt: skip
