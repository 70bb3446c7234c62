"""Every tuned method against R0, on seeds that no setting was chosen on: the gap, and the time beside retraining.

    python benchmarks/methods.py mnist-cnn [--seeds 0 1 2] [--markdown docs/results/methods-mnist-cnn.md]
    python benchmarks/methods.py fmnist-resnet18

A random tenth of the training images is forgotten. The gap is the mean of five absolute differences to R0
(vestige.tune). Rows to compare with: doing nothing, and R0 retrained from another seed, the gap that chance
leaves. CPU times of one thread, in the same run. SISA is another model before: it is compared with its own R0.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import torch

from vestige import assets, image, presets, provenance, tune
from vestige.config import Sisa, UnlearnConfig
from vestige.executor import one_thread
from vestige.sisa import learn
from vestige.studies import configure
from vestige.types import Samples
from vestige.unlearn import METHODS

RUNS = {
    "mnist-cnn": ("mnist", ["model.kind=cnn"]),
    "fmnist-resnet18": (
        "fmnist", ["model.kind=resnet18", "model.width=8", "data.per_class=30", "data.test=500"],
    ),
}  # fmt: skip
COLUMNS = ("gap", "UA", "RA", "TA", "MIA", "p", "time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    one_thread()
    source, sets = RUNS[options.run]
    settings = configure("image-target", data=source, sets=sets, base=tune.SIZE)
    samples = image.load(assets.locate(source))
    rows: dict[str, list[dict[str, float]]] = {}
    own, shares, cases = [], [], []
    for seed in options.seeds:
        case = tune.prepare(settings, samples, seed)
        here, sets_of_case = case.reference, (case.forget, case.retain, case.test, image)
        shares.append(f"{here.forget:.2f}, {here.retain:.2f}, {here.test:.2f}, {here.unseen:.2f}, {here.p.mean():.2f}")
        again = learn(case.retain, modality=image, config=settings.recipe, seed=seed + 1000)
        rows.setdefault("nothing", []).append(differences(case.nothing, here, 0.0))
        rows.setdefault("R0, other seed", []).append(differences(tune.behaviour(again, *sets_of_case), here, 1.0))
        own.append(sharded(settings, case))
        cases.append(case)
        print(f"seed {seed}: trained, retrained, and the same in shards", file=sys.stderr, flush=True)
    for name, entry in presets.read(presets.FILE)[settings.model.kind]["methods"].items():
        unlearn = UnlearnConfig.model_validate({presets.SETTINGS[name]: entry["settings"]})
        recipe = settings.recipe.model_copy(update={"unlearn": unlearn})
        for case in cases:
            after, seconds = tune.apply(name, recipe, case, image)
            rows.setdefault(name, []).append(differences(after, case.reference, seconds / case.seconds))
        print(f"{name}: {mean(row['gap'] for row in rows[name]):.3f}", file=sys.stderr, flush=True)
    text = page(options, settings, rows, own, shares)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


def differences(after: tune.Behaviour, reference: tune.Behaviour, share: float) -> dict[str, float]:
    return {"gap": after.gap(reference), **after.differences(reference), "time": share}


def sharded(settings, case: tune.Case) -> dict[str, float]:
    """SISA: its test accuracy and cost, for the whole tenth and for one sample."""
    config = settings.recipe.model_copy(update={"train": settings.train.model_copy(update={"sisa": Sisa()})})
    ask = {"modality": image, "config": config, "seed": case.seed}
    x, y = (torch.cat([getattr(part, name) for part in (case.forget, case.retain)]) for name in "xy")
    members = Samples(case.forget.ids + case.retain.ids, x, y, case.forget.classes)

    def clocked(work):
        start = time.process_time()
        return work(), time.process_time() - start

    before, seconds = clocked(lambda: learn(members, **ask))
    scratch, _ = clocked(lambda: learn(case.retain, **ask))
    after, many = clocked(lambda: METHODS["SISA"](before, case.forget, case.retain, **ask))
    one = case.forget.ids[:1]
    _, single = clocked(lambda: METHODS["SISA"](before, members.take(one), members.without(one), **ask))
    pairs = zip(after.state_dict().values(), scratch.state_dict().values(), strict=True)
    sets = (case.forget, case.retain, case.test, image)
    ours, theirs, was = (tune.behaviour(model, *sets) for model in (after, scratch, before))
    return {
        "same": float(all(torch.equal(a, b) for a, b in pairs)),
        "gap": ours.gap(theirs),
        "before": was.gap(theirs),
        "test": ours.test,
        "plain": case.reference.test,
        "many": many / seconds,
        "one": single / seconds,
        "train": seconds / case.seconds,
    }


def page(options, settings, rows, own, shares) -> str:
    kind = settings.model.kind
    entries = presets.read(presets.FILE)[kind]["methods"]
    images = settings.data.per_class * 10
    command = f"python benchmarks/methods.py {options.run} --seeds {' '.join(map(str, options.seeds))}"
    network = ", ".join(f"{key} {value}" for key, value in settings.model.model_dump(mode="json").items())
    recipe = ", ".join(f"{key} {value}" for key, value in settings.train.model_dump(exclude_defaults=True).items())
    lines = [f"# Methods on {options.run}", "", f"`{command}`", ""]
    lines += [
        f"{images} training images of {settings.data.source}, {round(tune.FORGET * images)} drawn at random to "
        f"forget, {settings.data.test} to test; {network}; {recipe}. Settings from `presets.yaml`, found on other "
        f"seeds by `vestige tune`. Differences to R0, mean ± standard deviation over {len(options.seeds)} seeds; gap: "
        "the mean of the five. MIA: the share of the forgotten that a loss threshold takes for non-members. p: the "
        "true class's probability on the forgotten, sample by sample. time: CPU time as a share of retraining's in the "
        f"same run. {provenance.host()['processor']}, one thread.",
        "",
    ]
    lines += ["| method | gap | ΔUA | ΔRA | ΔTA | ΔMIA | Δp | time | settings |", "|---" * 9 + "|"]
    first = {name: rows[name] for name in ("nothing", "R0, other seed")}
    rest = sorted((name for name in rows if name not in first), key=lambda name: mean(row["gap"] for row in rows[name]))
    for name in (*first, *rest):
        cells = [spread([row[column] for row in rows[name]]) for column in COLUMNS]
        used = ", ".join(f"{key} {value:g}" for key, value in entries.get(name, {}).get("settings", {}).items())
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {used or '–'} |")
    lines += ["", f"R0 itself, by seed (accuracy on forgotten, retained, test; MIA; p): {'; '.join(shares)}.", ""]

    def of(name: str) -> str:
        return spread([row[name] for row in own])

    lines += [
        "SISA (5 shards × 3 slices, the same recipe; another model before, so beside the table): equal to its own R0 "
        f"to the bit in {sum(row['same'] for row in own):.0f} of {len(own)} seeds, gap {of('gap')}, doing nothing "
        f"{of('before')}. Test accuracy {of('test')}, one ordinary model {of('plain')}. Time as a share of training "
        f"the ensemble: {of('many')} for the whole tenth, which touches every shard, {of('one')} for one sample. "
        f"Training the ensemble takes {of('train')} times as long as one ordinary model.",
        "",
    ]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


if __name__ == "__main__":
    main()
