"""Labelled texts behind the modality contract (see vestige.modality): a small classifier of words."""

from vestige.classifier import embed, lengths, logits, losses, weights
from vestige.text.labelled.data import LONGEST, bags, load, names, read, unit
from vestige.text.labelled.model import Words, build, check_recover, restore
from vestige.text.labelled.similar import make_similar

__all__ = [
    "LONGEST",
    "Words",
    "bags",
    "build",
    "check_recover",
    "embed",
    "lengths",
    "load",
    "logits",
    "losses",
    "make_similar",
    "names",
    "read",
    "restore",
    "unit",
    "weights",
]
