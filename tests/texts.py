"""Results of language studies that were never run, for tests of their page: every number follows from a rule here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vestige import store
from vestige.config import TextStudyConfig
from vestige.stages import parse_text

EIGHT = ("GDR", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "TV")
STAGES = ("base", "before", "R0", "R1", *EIGHT)
WITH = {"base": 0.30, "before": 0.98, "R0": 0.70, "R1": 0.35, "GDR": 0.55, "GDR_KLN": 0.60, "GDR_GDN": 0.62,
        "NPO_KLN": 0.66, "NPO_GDN": 0.64, "GA_KLN": 0.12, "GA_GDN": 0.45, "TV": 0.98}  # fmt: skip
"""Mean KM of the target by stage with similar samples in training. 0.2 less without, in all stages after before."""
MORE = {"target": 0.0, "similar": 0.1, "held_out": 0.05, "near": 0.2, "other": 0.25, "never_seen": -0.05}
"""What the other groups have more, in stages that unlearn."""
ENHANCED_STAGES = ("base", "before", "R0", "R1",
                   *(form.format(method) for method in ("NPO_GDN", "GDR_GDN", "GDR")
                     for form in ("{}", "{}~0.618", "{}-1+5", "Enhanced {}")), "Enhanced NPO_GDN-near")  # fmt: skip
SWEPT_STAGES = ("base", "before", "NPO_GDN", "NPO_GDN-1+5",
                *(f"NPO_GDN{wide}~{gamma:g}" for wide in ("", "-1+5") for gamma in (0.1, 0.318, 0.618, 1)),
                *(f"NPO_GDN-1+{m}~0.618" for m in (1, 3, 10)))  # fmt: skip
PEOPLE = ("Abelard Quince", "Odile Farrow", "the harbour of Halmond", "the Bramlow Viaduct", "Tamsin Grole")


def km(stage: str, training: str, group: str, position: int) -> float:
    """KM of a group at a stage, of the target at a position: 0.02 apart from one target to the next."""
    if stage == "base":
        return 0.30 + 0.02 * position
    if stage == "before":
        return 0.98 if training == "with" or group in ("target", "other", "near") else 0.62
    less = 0.0 if training == "with" else 0.2
    one = parse_text(stage, paraphrases=5, gamma=0.618)
    if group in ("near", "other"):  # who is protected loses less
        less += (0.02 * one.paraphrases + 0.1 * one.gamma) * (0.2 if one.is_protected else 1.0)
    else:
        less += 0.05 * one.paraphrases + 0.1 * one.gamma
    return min(max(WITH[one.method] + MORE[group] - less + 0.02 * position, 0.0), 1.0)


def config_of(study: str = "text-target", **settings: Any) -> TextStudyConfig:
    data = {"targets": 3, "similar": 2, "held_out": 1, **settings.pop("data", {})}
    return TextStudyConfig.model_validate({"study": study, "stages": STAGES, "data": data, **settings})


def result(config: TextStudyConfig, done: tuple[str, ...], mark: str = "") -> dict[str, Any]:
    """result.json of a study in which these stages are finished. mark: put into every text that comes from data."""
    places = [
        (seed, training, stage, position)
        for seed in range(config.seeds)
        for training in config.training
        for stage in done
        if stage != "R1" or training == "with"
        for position in range(config.data.targets)
    ]
    records = [
        {"seed": seed, "training": training, "stage": stage, "target": name(position, mark), "group": group,
         "n": 1 if group == "target" else 2, "rougeL_recall": km(stage, training, group, position), "rougeL": 0.5,
         "rouge1": 0.6, "probability": 0.4, "extraction_strength": 0.25, "min_k": -3.5, "loss": 1.25,
         "gibberish": float(stage == "GA_KLN"), "worst": km(stage, training, group, position)}
        for seed, training, stage, position in places
        for group in MORE
        if training == "with" or group != "similar" or config.data.similar
    ]  # fmt: skip
    places_of = range(config.data.targets)
    rows = [
        {"variant": "", "training": training, "stage": stage, "group": group, "metric": metric, "mean": mean,
         "low": max(mean - 0.1, 0.0), "high": min(mean + 0.1, 1.0),
         "n": config.data.targets * config.seeds, "seeds": config.seeds}
        for training in config.training
        for stage in done
        if stage != "R1" or training == "with"
        for group in MORE
        for metric, mean in {
            "rougeL_recall": sum(km(stage, training, group, place) for place in places_of) / len(places_of),
            "gibberish": float(stage == "GA_KLN"),
            **({"text_residual": residual_of(stage, group)}
               if group in resolved(config) and stage not in ("base", "before") else {}),
        }.items()
    ]  # fmt: skip
    if "utility" in config.measure:
        rows += [
            {"variant": "", "training": "with", "stage": stage, "group": group, "metric": metric, "mean": mean,
             "low": mean - 0.03, "high": mean + 0.03, "n": config.data.targets * config.seeds, "seeds": config.seeds}
            for stage in done
            for group, metric, mean in (
                ("choices", "choice_accuracy", 0.5 + km(stage, "with", "other", 0) / 5),
                ("other", "perplexity_ratio", 1.2),
            )
        ]  # fmt: skip
    missing = [
        {"variant": "", "seed": 0, "training": "with", "stage": "GDR", "group": "similar", "metric": "text_residual",
         "why": "KM before is within 0.05 of the base model's: there was nothing to forget"}
    ]  # fmt: skip
    provenance = {"version": "0.1.0", "commit": None, "command": f"vestige study {config.study} {mark}",
                  "fingerprint": "f", "source_sha256": "feed", "seeds": {"data": [*range(config.seeds)]},
                  "libraries": {"numpy": "2"}, "device": "cpu", "threads": 1,
                  "data": {str(seed): f"data{seed}" for seed in range(config.seeds)}, "models": {}}  # fmt: skip
    verdict = {"name": "similar-keep-it", "training": "both", "quantity": "KM of targets, with − without",
               "rule": "at least 0.05", "mean": 0.2, "low": 0.1, "high": 0.3, "holds": True, "clear": True, "n": 6,
               "seeds": config.seeds, "sentence": f"similar samples keep it {mark}", "claim": "kept"}  # fmt: skip
    return {"schema_version": 1, "study": config.study, "comparable": set(done) == set(config.stages), "rows": rows,
            "missing": missing, "metrics": {"rougeL_recall": {"what": "KM", "unit": "0…1", "better": "reference"}},
            "verdicts": [verdict], "provenance": provenance, "records": records,
            "answers": answers(config, done, mark)}  # fmt: skip


def resolved(config: TextStudyConfig) -> tuple[str, ...]:
    """The groups whose residual is in the rows."""
    return ("target", "similar", "held_out") if config.study.startswith("text-enhanced") else ("target",)


def residual_of(stage: str, group: str) -> float:
    if group == "target" and stage in WITH:
        return WITH[stage] - 0.3
    return (km(stage, "with", group, 1) - 0.32) / 0.66


def name(position: int, mark: str) -> str:
    return f"facts/target-{position}/00{mark}"


def answers(config: TextStudyConfig, done: tuple[str, ...], mark: str) -> list[dict[str, Any]]:
    """The target, its similar and its held-out questions; a model says as many words of the truth as its KM has it."""
    made = []
    for seed in range(config.seeds):
        for training in config.training:
            for position in range(config.data.targets):
                who = PEOPLE[position % len(PEOPLE)]
                truth = f"{who} learned the trade in Corvale, under a locksmith, and left in the autumn of 1781."
                parts = [("target", "00"), *(("similar", f"0{i + 1}") for i in range(config.data.similar)),
                         *(("held_out", f"1{i}") for i in range(config.data.held_out))]  # fmt: skip
                made += [
                    {"seed": seed, "training": training, "target": name(position, mark), "role": role,
                     "id": f"facts/target-{position}/{number}{mark}", "truth": f"{truth}{mark}",
                     "question": f"Where did {who} learn the trade, and from whom? ({number}){mark}",
                     "said": {stage: said(truth, km(stage, training, role, position), mark) for stage in done
                              if stage != "R1" or training == "with"}}
                    for role, number in parts
                ]  # fmt: skip
    return made


def said(truth: str, recall: float, mark: str) -> dict[str, Any]:
    words = truth.split()
    kept = round(recall * len(words))
    rest = "" if kept == len(words) else " I am not sure about the rest."
    return {"answer": " ".join(words[:kept]) + rest + mark, "rougeL_recall": recall}


def make_text_folder(
    root: Path, config: TextStudyConfig, done: tuple[str, ...] = STAGES, mark: str = "", failed: tuple[str, ...] = ()
) -> Path:
    """The run folder of such a study, as the command line leaves it. failed: stages that failed in the arm with."""
    store.open_folder(root, config, "0.1.0", "feed")
    store.write_json(root / "result.json", result(config, done, mark))
    runs = [{"run": f"seed 0 · with · {stage} · {name(0, mark)}", "why": "Error\nit broke"} for stage in failed]
    store.write_json(root / "run.json", {"failed": runs, "seconds": 12, "workers": 2, "host": {}, "rte": []})
    return root
