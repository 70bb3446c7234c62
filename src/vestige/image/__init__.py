"""Images behind the modality contract (see vestige.modality)."""

from vestige.image.data import load, make_similar, unit
from vestige.image.model import build, embed, logits, losses, restore
from vestige.image.recover import check_recover, recover

__all__ = ["build", "check_recover", "embed", "load", "logits", "losses", "make_similar", "recover", "restore", "unit"]
