"""What made a result: reproducible facts, and facts about the host, kept apart."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from vestige import __version__
from vestige.config import AnyStudyConfig, Settings, fingerprint

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "safetensors", "pillow", "pydantic")
LANGUAGE = ("transformers", "tokenizers", "peft")


def reproducible(config: AnyStudyConfig, source: str, command: str) -> dict[str, Any]:
    """What goes into result.json: the same for the same seed on the same machine."""
    seeds = list(range(config.seed, config.seed + config.seeds))
    return {
        **made(config, source, command, LIBRARIES + (LANGUAGE if config.modality == "text" else ())),
        "seeds": dict.fromkeys(("data", "train", "unlearn", "eval"), seeds),
        "device": config.device,
    }


def made(config: Settings, source: str, command: str, libraries: Iterable[str]) -> dict[str, Any]:
    """The reproducible facts about any result: code, command, settings, data, libraries."""
    return {
        "version": __version__,
        "commit": commit(),
        "command": command,
        "fingerprint": fingerprint(config),
        "config": config.model_dump(mode="json"),
        "source_sha256": source,
        "libraries": {name: version(name) for name in libraries},
        "device": "cpu",
        "threads": 1,
    }


@cache
def host() -> dict[str, Any]:
    """What goes into run.json."""
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }


def version(name: str) -> str | None:
    """The version of an installed library, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def commit() -> str | None:
    """The commit that this code was checked out at, with "+" for local changes; None for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "src"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def clock(start: float) -> dict[str, Any]:
    """How long a step took since `start`, when it ended, and on which machine: for run.json."""
    return {
        "seconds": round(time.time() - start, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **host(),
    }


def ticks(device: str) -> float:
    """The clock that methods are timed by, in seconds: processor time; on a GPU wall time, once its work is done."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize(device)  # kernels are given to the GPU ahead of time
    return time.perf_counter()
