"""Several devices for one fine-tuning: a process for each, joined by accelerate."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from vestige.executor.local import settle

if TYPE_CHECKING:
    from vestige.train import Peers

Result = TypeVar("Result")
LOOPBACK = "127.0.0.1"


def together(work: Callable[[Peers], Result], devices: Sequence[str], *, beside: Callable[[Peers], object]) -> Result:
    """What work(peers) returns here, on the first device, while one more process for each further device does `beside`.

    All of them have to go the same way: what one of them gathers, all of them do. The others end with this call.
    """
    from vestige.train import ALONE

    if len(devices) == 1:
        return work(ALONE)
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_beside, args=(beside, rank, devices, port)) for rank in range(1, len(devices))]
    for other in others:
        other.start()
    try:
        with _joined(0, devices, port) as peers:
            return work(peers)
    finally:
        for other in others:
            other.terminate()
            other.join()


@contextmanager
def _joined(rank: int, devices: Sequence[str], port: int) -> Iterator[Peers]:
    """The processes of one call of `together`, while it lasts; told to accelerate as torchrun would tell it."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import gather

    from vestige.train import Peers

    size = str(len(devices))
    said = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size,
            "MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(port)}  # fmt: skip
    os.environ.update(said)
    try:
        state = PartialState(**({"cpu": True, "backend": "gloo"} if devices[rank] == "cpu" else {}))
        yield Peers(rank, len(devices), lambda tensor: gather(tensor[None]))
        state.wait_for_everyone()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        PartialState._reset_state()  # it would remember for good whom this process was joined to
        for name in said:
            os.environ.pop(name, None)


def _beside(work: Callable[[Peers], object], rank: int, devices: Sequence[str], port: int) -> None:
    settle(devices[rank])
    with _joined(rank, devices, port) as peers:
        work(peers)
