"""Randomness is passed: one named stream per use, no global seed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream(seed: int, name: str) -> torch.Generator:
    """A generator of its own for this use: streams of other names or seeds are independent of it."""
    import torch

    number = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)
