"""Randomness is passed: one named stream per use, no global seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream(seed: int, name: str) -> torch.Generator:
    """A generator of its own for this use: streams of other names or seeds are independent of it."""
    import torch

    number = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)


@contextmanager
def settled(seed: int, name: str) -> Iterator[None]:
    """While it lasts, torch's own generators are this stream, for layers that ask no other, such as dropout.

    Afterwards they go on as if nothing had been drawn.
    """
    import torch

    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(gpus):
        torch.manual_seed(stream(seed, name).initial_seed())
        yield
