"""Small records of analyses for the tests of the page: as `vestige data analyse` writes them, made by hand."""

import json

import numpy as np

from vestige.report.analysis import page

NULL = {"mean": 0.1, "low": 0.0, "high": 0.2, "draws": 200}


def record(modality, question="Who built the tide clock?"):
    """30 samples: two targets with three similar samples each, and 22 others."""
    rng = np.random.default_rng(0)
    groups = [
        {"target": f"set/{t}", "similar": [f"set/{t + n}" for n in (1, 2, 3)], "ranks": [1, 2, 4]} for t in (0, 4)
    ]
    own = {name: group["target"] for group in groups for name in group["similar"]}
    samples = []
    for row in range(30):
        name = f"set/{row}"
        role = "similar" if name in own else "target" if row in (0, 4) else "other"
        one = {"id": name, "role": role, "of": own.get(name)}
        if modality == "text":
            one |= {"question": f"{question} {row}", "answer": "A clockmaker did.", "topic": row % 3 - 1}
        else:
            one |= {"class": row % 2, "cluster": row % 2}
        samples.append(one | {"x": float(rng.normal() * 20), "y": float(rng.normal() * 20)})
    names = [
        "purity",
        "rank",
        "silhouette",
        *(["same_topic", "whole_topic"] if modality == "text" else ["same_cluster"]),
    ]
    measures = [
        {"name": name, "unit": "0…1", "better": "1: all", "what": "a share", "mean": 0.9, "low": None, "high": None,
         "n": 2, "null": NULL, "values": [0.8, 1.0]}
        for name in names
    ]  # fmt: skip
    ids = ["set/0", "set/1", "set/2", "set/3"]
    heat = [
        {"by": by, "ids": ids, "values": [[1.0 if a == b else 0.5 for a in ids] for b in ids]}
        for by in ("cosine", "lexical" if modality == "text" else "SSIM")
    ]
    words = {"mean": 5.0, "variance": 2.5, "least": 3, "most": 8, "counts": [3, 4, 8]}
    parts = {"clusters": 2}
    if modality == "text":
        table = [
            {"topic": topic, "count": 10, "label": label, "by": by, "why": why, "keywords": ["tide", "clock"],
             "question_words": words, "answer_words": words}
            for topic, label, by, why in [
                (0, "Tide clocks", "model", ""), (1, "tide, clock", "keywords", "it was down")
            ]
        ]  # fmt: skip
        parts = {"topics": table, "labels": {"asked": "tiny", "by_model": 1, "topics": 2}}
    return {
        "schema_version": 1, "kind": "analysis", "modality": modality, "comparable": True,
        "encoder": {"name": "pixels", "what": "raw pixels", "width": 144}, "made": "masked", "map": "UMAP",
        "measures": measures, "groups": groups, "heat": heat, **parts, "samples": samples,
        "provenance": {"version": "0", "commit": None, "command": "vestige data analyse", "fingerprint": "0",
                       "source_sha256": "0", "device": "cpu", "threads": 1, "libraries": {"torch": "2"},
                       "config": {"seed": 0, "data": {"source": "toy"}}},
    }  # fmt: skip


def pictures(made):
    rng = np.random.default_rng(1)
    return {one["id"]: rng.integers(0, 256, (1, 12, 12), dtype=np.uint8) for one in made["samples"]}


def write_page(folder, modality, **changes):
    """The page of such a record, written; returns its path and the record."""
    made = record(modality, **changes)
    json.dumps(made, allow_nan=False)
    path = folder / f"{modality}.html"
    path.write_text(page(made, pictures(made) if modality == "image" else {}), encoding="utf-8")
    return path, made
