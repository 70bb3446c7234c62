"""Which planted near-copies of an image does each measure find among all, and what else does it take for one?

    python benchmarks/near_copies.py [SECTION …]     writes docs/results/near-copies.json and near-copies.md

Sections: those of SETS, and candidates (all by default); what is not named stays as it is; page: only write it again.
Settings and taus were chosen on seeds 100 to 104 (--choose); those reported are of seeds from 0 on.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import torch

from vestige import assets, image, index, measures, provenance, similar
from vestige.config import DataConfig
from vestige.random import stream
from vestige.store import read_json, write_json
from vestige.types import Samples, joined

HERE = Path(__file__).parents[1] / "docs" / "results"
# fmt: off
LIGHT = {"mask": {"fraction": 0.1}, "noise": {"sigma": 0.05}, "jpeg": {"quality": 30},
         "brightness": {"brightness": 0.3}, "crop": {"crop": 0.9}, "shift": {"shift": 2}, "blur": {"blur": 1.0}}
STRONG = {"mask": {"fraction": 0.3}, "noise": {"sigma": 0.1}, "jpeg": {"quality": 15},
          "brightness": {"brightness": 0.4}, "crop": {"crop": 0.8}, "shift": {"shift": 3}, "blur": {"blur": 1.5}}
# fmt: on
SETS = {
    "MNIST": ("mnist", LIGHT, 5),
    "Fashion-MNIST": ("fmnist", LIGHT, 5),
    "Fashion-MNIST, stronger": ("fmnist", STRONG, 5),
    "emoji": ("emoji", LIGHT, 2),
}  # fmt: skip
"""Section → its data, how strong the copies are, how many seeds."""
BY = ("ssim", "embedding", "aligned")
TAUS = {"mnist": {"ssim": 0.69, "embedding": 0.92, "aligned": 0.75},
        "fmnist": {"ssim": 0.82, "embedding": 0.99, "aligned": 0.86}}  # fmt: skip
"""Data → measure → where copies found minus strangers taken are most on seeds 100 to 104, light copies."""
TAUS["emoji"] = TAUS["fmnist"]
RECORDS, EACH, NEAREST = 3, 2, 20
STRANGER = "stranger"


def planted(data, kinds, seed):
    """All images with copies of three of them; the rows of these; for each of the three, id of a copy → its kind."""
    samples = image.load(assets.locate(data))
    rows = torch.randperm(len(samples), generator=stream(seed, "near-copies"))[:RECORDS]
    records, copies = image.unit(samples.at(rows)), [{} for _ in range(RECORDS)]
    for kind, strength in kinds.items():
        config = DataConfig.model_validate({"transform": kind, **strength})
        made = image.make_similar(records, EACH, config=config, generator=stream(seed, f"near-copies {kind}"))
        for lot, known in zip(made, copies, strict=True):
            pixels = (lot.x * 255).round().byte()
            samples = joined(samples, Samples(lot.ids, pixels, lot.y, lot.classes, lot.family))
            known |= dict.fromkeys(lot.ids, kind)
    return samples, rows, copies


def looked(data, kinds, seeds):
    """Measure → per record: what random pairs reach, and its 20 nearest as (value, kind or "stranger", id)."""
    found = {by: [] for by in BY}
    for seed in seeds:
        samples, rows, copies = planted(data, kinds, seed)
        null = similar.null_pairs(samples, seed)
        for by in BY:
            (measure,) = measures.build(samples, "image", (by,), targets=RECORDS, say=str).values()
            most, start = float(measure.pairs(*null).max()), time.process_time()
            hits = measure.nearest(rows, NEAREST)
            seconds = round((time.process_time() - start) / RECORDS, 2)
            for at, known in enumerate(copies):
                kin = natural(samples, int(rows[at]))
                near = [
                    (round(value, 4), known.get(name, STRANGER), name)
                    for value, name in ((float(hits.value[row]), samples.ids[hits.position[row]])
                                        for row in (hits.query == at).nonzero().flatten())
                    if name not in kin
                ]  # fmt: skip
                found[by].append({"id": samples.ids[rows[at]], "null": most, "near": near, "cpu_seconds": seconds})
        print(data, seed, {by: lot[-1]["cpu_seconds"] for by, lot in found.items()}, flush=True)
    return found


def natural(samples, row):
    """Ids of a record's natural near-duplicates, where the data know them: neither copies nor strangers."""
    mine = samples.family[row] if samples.family else ""
    return {name for name, family in zip(samples.ids, samples.family, strict=False) if mine and family == mine
            and "~" not in name}  # fmt: skip


def section(name):
    """Per measure: copies before the first stranger, and copies and strangers by the audit's rule and by tau."""
    data, kinds, seeds = SETS[name]
    rows = []
    for by, lot in looked(data, kinds, range(seeds)).items():
        tau = TAUS[data][by]
        names = [[one[1] for one in each["near"]] for each in lot]
        rule = [one for each in lot for one in each["near"] if one[0] > each["null"]]
        over = [one for each in lot for one in each["near"] if one[0] >= tau]
        rows.append({
            "measure": by, "tau": tau, "cpu_seconds": round(sum(each["cpu_seconds"] for each in lot) / len(lot), 2),
            "first": sum(found.index(STRANGER) if STRANGER in found else len(found) for found in names),
            "rule": Counter(one[1] for one in rule), "over": Counter(one[1] for one in over),
        })  # fmt: skip
    return {"rows": rows, "kinds": list(kinds), "each": EACH * RECORDS * seeds}


def candidates():
    """Of the 20 images of a record's class that agree most with it, the share that the search among all finds."""
    samples, rows, _ = planted("fmnist", LIGHT, 0)
    measure, shares = measures.Aligned.of(samples.x), []
    for row in rows:
        mates = ((samples.y == samples.y[row]) & (torch.arange(len(samples)) != row)).nonzero().flatten()
        exact = mates[measure.pairs(row.expand(len(mates)), mates).topk(NEAREST).indices]
        found = measure.nearest(row[None], measures.LIKELY).position
        found = found[torch.isin(found, mates)][:NEAREST]
        shares.append(round(index.recall(found[None], exact[None]), 3))
    return {"shares": shares, "likely": measures.LIKELY}


def choose():
    """Print, for each measure, the tau of TAUS."""
    for data in ("mnist", "fmnist"):
        for by, lot in looked(data, LIGHT, range(100, 105)).items():
            near = [one for each in lot for one in each["near"]]
            gain = {tau: sum(-1 if one[1] == STRANGER else 1 for one in near if one[0] >= tau)
                    for tau in (step / 100 for step in range(30, 100))}  # fmt: skip
            tau = max(gain, key=lambda tau: (gain[tau], tau))
            print(data, by, tau, f"{gain[tau]} of {len(lot) * len(LIGHT) * EACH}", flush=True)


FRONT = """# Near-copies of images

`python benchmarks/near_copies.py`. In each seed three records are drawn, and two copies of each kind of each are added
to the set. Of each record the 20 nearest are looked at, as `vestige audit` does. *First*: copies that stand before the
first stranger, so at precision 1. *Rule*: more alike than any of 2,000 random pairs, the audit's; *tau*: at least that,
chosen on seeds 100 to 104 of the same set (emoji: those of Fashion-MNIST). Every other image counts as a stranger, a
natural near-duplicate too; emoji of the record's own family count as neither."""
FOOT = """One thread on a busy machine: CPU seconds are not those of idle cores."""


def page(record):
    """docs/results/near-copies.md"""
    parts = [FRONT]
    for name, (data, kinds, seeds) in SETS.items():
        if name in record:
            strengths = ", ".join(f"{kind} {next(iter(strength.values())):g}" for kind, strength in kinds.items())
            each, many = record[name]["each"], len(image.load(assets.locate(data)))
            parts += [f"## {name}", table(record[name]),
                      f"{many:,} images, {seeds} seeds; {each * len(kinds)} copies, {each} of a kind: "
                      f"{strengths}. Of each kind, copies that reach tau."]  # fmt: skip
    if "candidates" in record:
        found = record["candidates"]
        shares = ", ".join(f"{share:.2f}" for share in found["shares"])
        parts += ["## Candidates", f"`aligned` compares all in coarse steps, at most {2 * found['likely']} in fine "
                  "ones. Of the 20 garments of a record's class that agree most with it, all compared in fine steps, "
                  f"it finds {shares} (the records of seed 0)."]  # fmt: skip
    return "\n\n".join([*parts, f"{provenance.host()['processor']}. {FOOT}"]) + "\n"


def table(found):
    kinds = found["kinds"]
    heads = ["measure", "first", "rule: copies", "strangers", "tau", "copies", "strangers", *kinds, "CPU s a record"]
    rows = [heads, ["---" for _ in heads]]
    for row in found["rows"]:
        by_rule, by_tau = ([sum(row[way].get(kind, 0) for kind in kinds), row[way].get(STRANGER, 0)]
                           for way in ("rule", "over"))  # fmt: skip
        rows.append([row["measure"], row["first"], *by_rule, f"{row['tau']:.2f}", *by_tau,
                     *(row["over"].get(kind, 0) for kind in kinds), row["cpu_seconds"]])  # fmt: skip
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SETS)}, candidates; or page")
    parser.add_argument("--choose", action="store_true", help="only print the taus that suit seeds 100 to 104")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.choose:
        choose()
        return
    file = HERE / "near-copies.json"
    chosen = given.sections or [*SETS, "candidates"]
    for name in chosen if chosen != ["page"] else ():
        found = candidates() if name == "candidates" else section(name)
        write_json(file, (read_json(file) if file.is_file() else {}) | {name: found})
        (HERE / "near-copies.md").write_text(page(read_json(file)), encoding="utf-8")
    if chosen == ["page"]:
        (HERE / "near-copies.md").write_text(page(read_json(file)), encoding="utf-8")


if __name__ == "__main__":
    main()
