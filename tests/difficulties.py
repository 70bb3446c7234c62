"""A made result of a difficulty study, in the engine's layout, its analyses computed by the real ones."""

import numpy as np

from vestige.difficulty import analyse, table
from vestige.store import Store, write_json

ALGORITHMS = ("EU", "FT", "SISA", "GA", "SCRUB")


def record(ids=26, algorithms=ALGORITHMS, seeds=2, doses=(1, 5), name="toy cnn", label="toy"):
    """Samples whose difficulty has a shared part, one of the algorithm's own, and noise of the seed."""
    rng = np.random.default_rng(0)
    names = [f"{label}/{position}" for position in range(ids)]
    shared, mass = rng.normal(size=ids), rng.gamma(1.5, 2, ids)
    result = {
        "schema_version": 1,
        "study": "difficulty",
        "name": name,
        "comparable": True,
        "modality": "image",
        "algorithms": list(algorithms),
        "seeds": list(range(seeds)),
        "ids": names,
        "dosed": names[:8],
        "doses": list(doses),
        "classes": 2,
        "pictures": {"0": "made"},
        "models": [],
        "samples": [],
        "runs": [],
        "missing": [{"dose": 0, "seed": 0, "algorithm": "GA", "id": names[0], "why": "the loss is not finite"}],
        "provenance": {"version": "0", "commit": None, "command": "vestige difficulty --data toy",
                       "config": {"data": {"source": "toy"}}, "fingerprint": "0", "device": "cpu", "threads": 1},
    }  # fmt: skip
    learners = {algorithm: "shards" if algorithm == "SISA" else "one" for algorithm in algorithms}
    own = {algorithm: rng.normal(size=ids) for algorithm in algorithms}
    for dose in (0, *doses):
        rows = range(ids) if dose == 0 else range(len(result["dosed"]))
        for seed in range(seeds):
            for learner in dict.fromkeys(learners.values()):
                result["models"].append({"dose": dose, "seed": seed, "learner": learner, "test_accuracy": 0.91,
                                         "train_accuracy": 0.99})  # fmt: skip
                for row in rows:
                    factors = {"similar_mass": mass[row] + dose, "margin": shared[row] + rng.normal(),
                               "entropy": rng.normal(), "similar_number": float(int(mass[row]))}  # fmt: skip
                    result["samples"].append({
                        "dose": dose, "seed": seed, "learner": learner, "id": names[row], "label": row % 2,
                        "dosed": row < 8, "p_before": 0.95, "p_ref": 0.4 if row != 3 else 0.93, "p_ref_error": 0.05,
                        "p_ref_n": 8, "p_in": 0.9, "margin_before": 3.0, "margin_ref": -0.4, "memorisation": 0.5,
                        "factors": factors if learner == "one" else {},
                    })  # fmt: skip
            for algorithm in algorithms:
                for row in rows:
                    if dose == 0 and seed == 0 and algorithm == "GA" and row == 0:
                        continue
                    push = shared[row] + 0.7 * own[algorithm][row] + 0.4 * rng.normal() + 0.3 * mass[row] + 0.1 * dose
                    h = float(1 / (1 + np.exp(push - 1)))
                    result["runs"].append({
                        "dose": dose, "seed": seed, "algorithm": algorithm, "learner": learners[algorithm],
                        "id": names[row], "p_after": 0.5, "margin_after": 0.0, "test": 0.98, "retained": 0.99, "E": h,
                        "U": 0.98, "H": h, "erasable": row != 3, "length": 0.02, "steps_taken": 5,
                        "symptoms": {"expansion": 10 * push, "steps": None},
                    })  # fmt: skip
    measured = table.measured(result)
    amounts = table.doses(result)
    result["analyses"] = {
        "inequality": analyse.inequality(measured),
        "agreement": analyse.agreement(measured),
        "holding": analyse.holding([measured]),
        "symptoms": analyse.holding([measured], "after"),
        "natural": analyse.natural(measured),
        "constructed": analyse.constructed(amounts) if amounts else {"missing": "no doses were asked for"},
        "predictor": predictor(ids),
    }
    return result


def predictor(n):
    """What `difficulty.predict.evaluate` returns."""

    def auc(value):
        return {"value": value, "low": value - 0.06, "high": min(value + 0.06, 1.0), "n": n}

    def kind(value):
        fpr = np.linspace(0, 1, 12)
        return {"auc": auc(value), "cells": [], "roc": {"fpr": fpr.tolist(), "tpr": (fpr ** (1 / value - 1)).tolist()}}

    def result(value):
        single = [{"factor": "margin", "auc": auc(value - 0.05)}, {"factor": "similar_mass", "auc": auc(0.61)},
                  {"factor": "entropy", "auc": auc(0.5)}]  # fmt: skip
        return {"linear": kind(value), "boosted": kind(value + 0.02), "informed": kind(value + 0.03), "single": single}

    return {
        "factors": ["margin", "similar_mass", "entropy"], "hard": 0.25, "n": n,
        "by": {"sample": result(0.8), "algorithm": result(0.84), "algorithm and sample": result(0.77),
               "data": {"missing": "there is one data set only"}},
    }  # fmt: skip


def folder(root, result, texts=None):
    """A run folder with this result and its samples: small pictures, or texts."""
    ids = result["ids"]
    rng = np.random.default_rng(1)
    facts = {"ids": ids} | ({"texts": dict(zip(ids, texts, strict=True))} if texts else {})
    pictures = rng.random((len(ids), 1, 12, 12)).astype(np.float32)
    Store(root).save("data", "made", facts, {} if texts else {"x": pictures}, {})
    write_json(root / "result.json", result)
    return root
