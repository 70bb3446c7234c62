"""Results on standard output: one JSON document, or lines and tables that fit 80 or 100 columns, by subject."""

from vestige.terminal.audit import show_audit, show_audit_plan, show_audit_step
from vestige.terminal.difficulty import show_difficulty, show_expected
from vestige.terminal.influence import show_influence
from vestige.terminal.records import show_record, with_interval
from vestige.terminal.search import show_duplicates, show_measures, show_paraphrases, show_similar
from vestige.terminal.studies import show_methods, show_results, show_table, show_tuned, show_verdict
from vestige.terminal.text import show_text_results
from vestige.terminal.utility import show_utility

__all__ = [
    "show_audit", "show_audit_plan", "show_audit_step", "show_difficulty", "show_duplicates", "show_expected",
    "show_influence", "show_measures", "show_methods", "show_paraphrases", "show_record", "show_results",
    "show_similar", "show_table", "show_text_results", "show_tuned", "show_utility", "show_verdict", "with_interval",
]  # fmt: skip
