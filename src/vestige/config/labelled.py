"""Settings of the classifier of labelled texts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vestige.config.base import Settings


class WordsConfig(Settings):
    """A bag of words and pairs of neighbouring words, a hidden layer, a linear head (Joulin et al. 2017)."""

    kind: Literal["words"] = "words"
    buckets: int = Field(4096, ge=16, description="rows of the table that words and pairs are hashed into")
    width: int = Field(16, ge=1, description="numbers per row")
    hidden: int = Field(16, ge=1, description="width of the hidden layer")
