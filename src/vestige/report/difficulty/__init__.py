"""The page of a difficulty study: reads result.json and the samples kept beside it; needs no torch."""

from vestige.report.difficulty.page import is_difficulty, page, read, write_figures, write_page
from vestige.report.difficulty.words import Verdict, count_runs, side_by_side, verdicts

__all__ = ["Verdict", "count_runs", "is_difficulty", "page", "read", "side_by_side", "verdicts", "write_figures",
           "write_page"]  # fmt: skip
