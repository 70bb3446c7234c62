"""Metrics of what a language model still knows: their names, and what follows from recall before, after and without."""

from __future__ import annotations

import math

SHARE, CHANGE = "0…1", "−1…1"

METRICS: dict[str, dict[str, str]] = {
    "rougeL_recall": {"unit": SHARE, "better": "reference", "what": "words of the true answer that came, in order"},
    "rougeL": {"unit": SHARE, "better": "reference", "what": "ROUGE-L F1 of the answer and the true one"},
    "rouge1": {"unit": SHARE, "better": "reference", "what": "ROUGE-1 F1: words in common, in any order"},
    "probability": {"unit": SHARE, "better": "reference", "what": "geometric mean probability of the answer's tokens"},
    "extraction_strength": {
        "unit": SHARE, "better": "reference", "what": "the end of the answer that comes once the rest is shown"
    },
    "min_k": {"unit": "nats", "better": "reference", "what": "mean log probability of the least likely tokens"},
    "answer_loss": {"unit": "nats per token", "better": "reference", "what": "mean loss of the true answer's tokens"},
    "min_k_auc": {"unit": SHARE, "better": "reference", "what": "chance that a target's min-k exceeds its null's"},
    "calibrated_auc": {
        "unit": SHARE, "better": "reference", "what": "the same of its loss less the base model's, turned round"
    },
    "gibberish": {"unit": SHARE, "better": "0", "what": "answers that are no text: nothing, repetition, noise"},
    "km_drop": {"unit": CHANGE, "better": "reference", "what": "ROUGE-L recall after unlearning less that before"},
    "km_left": {"unit": CHANGE, "better": "0", "what": "ROUGE-L recall after unlearning less the base model's"},
    "text_residual": {"unit": "1 = before, 0 = base", "better": "0", "what": "ROUGE-L recall between base and before"},
    "worst_recall": {"unit": SHARE, "better": "reference", "what": "ROUGE-L recall of the paraphrase that brings most"},
    "relearn_steps": {"unit": "steps", "better": "reference", "what": "of fine-tuning until the answers are back"},
    "returned_8bit": {"unit": CHANGE, "better": "0", "what": "ROUGE-L recall gained by rounding weights to 8 bits"},
    "returned_4bit": {"unit": CHANGE, "better": "0", "what": "ROUGE-L recall gained by rounding weights to 4 bits"},
    "choice_accuracy": {"unit": SHARE, "better": "higher", "what": "multiple-choice questions answered right"},
    "choice_accuracy_norm": {"unit": SHARE, "better": "higher", "what": "the same, options weighed by their length"},
    "choice_change": {"unit": CHANGE, "better": "0", "what": "that accuracy less that before, paired by question"},
    "task_score": {"unit": SHARE, "better": "higher", "what": "a task of lm-evaluation-harness, by its own metric"},
    "task_change": {"unit": CHANGE, "better": "0", "what": "that score less that before, paired by question"},
    "perplexity": {"unit": "1…", "better": "lower", "what": "exp of the mean loss of the true answers' tokens"},
    "perplexity_ratio": {"unit": "× before", "better": "1", "what": "perplexity by that before, paired by answer"},
    "recall_change": {"unit": CHANGE, "better": "0", "what": "ROUGE-L recall less that before, paired by question"},
}  # fmt: skip
"""Every metric of language studies: its unit, which way is better, and what it is."""

BOUNDS: dict[str, tuple[float, float]] = {
    name: (0.0, 1.0) if entry["unit"] == SHARE else (-1.0, 1.0)
    for name, entry in METRICS.items()
    if entry["unit"] in (SHARE, CHANGE)
} | {"min_k": (-math.inf, 0.0), "answer_loss": (0.0, math.inf), "relearn_steps": (0.0, math.inf)}
BOUNDS |= {"perplexity": (1.0, math.inf), "perplexity_ratio": (0.0, math.inf)}
"""Metrics that cannot leave a range."""


def over_unlearned(after: float, base: float) -> bool | None:
    """Whether a model that unlearned knows far less than the base model, which never knew: recall below half of it.

    after, base: mean recall of one target's questions, in [0, 1]. None where the base model's is below 0.05: nothing
    can fall far below it.
    """
    return after < base / 2 if base >= 0.05 else None
