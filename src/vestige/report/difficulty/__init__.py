"""The page of a difficulty study: reads result.json and the samples kept beside it; needs no torch."""

from vestige.report.difficulty.page import is_difficulty, page, read, write_figures, write_page
from vestige.report.difficulty.words import Verdict, verdicts

__all__ = ["Verdict", "is_difficulty", "page", "read", "verdicts", "write_figures", "write_page"]
