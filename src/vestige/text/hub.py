"""The library transformers, kept quiet, and what is downloaded from the Hugging Face hub for it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vestige.types import MissingError

INSTALL = "pip install 'vestige[text]'"
SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
"""Configurations and tokenizers. Code (*.py) is never downloaded."""
WEIGHTS = "model*.safetensors"


def require(package: str, what: str) -> None:
    """Raise MissingError where a package is not there that `what` needs. Nothing is imported."""
    if importlib.util.find_spec(package) is None:
        raise MissingError(f"{what} need the package {package}; get it with: {INSTALL}")


def is_hub_name(name: str) -> bool:
    """Whether this is ORGANISATION/NAME, or ORGANISATION/NAME@REVISION."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", name) is not None


def download(name: str, *, instead: str, weights: bool = True) -> Path:
    """The folder of a model on the hub, from the local cache where it is there.

    name: ORGANISATION/NAME or ORGANISATION/NAME@REVISION. instead: the model of its kind that comes as a package.
    weights: else its configuration and tokenizer alone.
    Raises MissingError where it can neither be reached nor is in the cache.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    wanted = [*SMALL, *([WEIGHTS] if weights else [])]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingError(
            f"there is no folder {name!r}, and it could not be had from the Hugging Face hub: {reason}; where there is "
            f"no network, get it elsewhere with: hf download {repository} --local-dir FOLDER, and give FOLDER; or take "
            f"{instead}, which is a package and needs none"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from transformers while it reads."""
    from transformers.utils import logging

    shown, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(shown)
        if bars:
            logging.enable_progress_bar()
