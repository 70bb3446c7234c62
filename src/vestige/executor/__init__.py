"""Executors carry out jobs; every executor gives the same results. A job is a plain record of names and settings."""

from vestige.executor.local import (
    Failure,
    Say,
    check_device,
    gather,
    note_interrupts,
    one_thread,
    paced,
    run_local,
    say,
    why,
)
from vestige.executor.ray import check_address, gather_ray

__all__ = ["Failure", "Say", "check_address", "check_device", "gather", "gather_ray", "note_interrupts", "one_thread", "paced", "run_local", "say",
           "why"]  # fmt: skip
