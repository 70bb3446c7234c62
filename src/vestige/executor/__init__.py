"""Executors carry out jobs; every executor gives the same results. A job is a plain record of names and settings."""

from vestige.executor.local import (
    Failure,
    Gather,
    Say,
    check_device,
    devices,
    note_interrupts,
    one_thread,
    paced,
    pooled,
    run_local,
    say,
    trim,
    why,
)
from vestige.executor.peers import together
from vestige.executor.ray import check_address, check_versions, pooled_ray

__all__ = ["Failure", "Gather", "Say", "check_address", "check_device", "check_versions", "devices",
           "note_interrupts", "one_thread", "paced", "pooled", "pooled_ray", "run_local", "say", "together",
           "trim", "why"]  # fmt: skip
