"""The page of a language study: panels by method, what the models answer, tables. Needs no torch."""

from vestige.report.text.summary import material_of, sum_up

__all__ = ["material_of", "sum_up"]
