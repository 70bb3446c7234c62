"""How many unlearning runs a minute: the engine of difficulty studies beside plain loops, and one worker, two, Ray.

    python benchmarks/difficulty.py [--data mnist] [--samples 12] [--no-ray] [--write docs/results/difficulty-engine.md]

All ways do the same runs, of all algorithms, on seed 100: unlearn one sample, look at it after each gradient step, ask
every training and test sample afterwards, and compare with random steps. References, models and factors are made first,
once, and lie there for all but the last plain loop, which trains the model before each run.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from vestige import assets, sisa
from vestige.difficulty import conduct, configure, jobs, open_laboratory
from vestige.difficulty import data as sets
from vestige.difficulty.plan import METHOD_OF, learner_of, name_of, recipe_of
from vestige.modality import modality
from vestige.provenance import host, version
from vestige.random import stream
from vestige.unlearn import METHODS
from vestige.unlearn.methods import Minimised


def quiet(message: str) -> None:
    pass


def clock():
    """Wall and processor seconds so far, those of ended child processes included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.time(), sum(one.ru_utime + one.ru_stime for one in used)])


def random_steps(model, length, at):
    """As long as the run was, in as many random directions as the engine takes."""
    start = [weight.detach().clone() for weight in model.parameters()]
    draw = stream(100, "random steps")
    with torch.no_grad():
        for _ in range(jobs.DIRECTIONS):
            step = [torch.randn(weight.shape, generator=draw) for weight in start]
            whole = math.sqrt(sum(float(part.double().square().sum()) for part in step))
            for weight, origin, part in zip(model.parameters(), start, step, strict=True):
                weight.copy_(origin + part * length / whole)
            at.answers(model)
        for weight, origin in zip(model.parameters(), start, strict=True):
            weight.copy_(origin)


def plain_run(model, right, job, at):
    """One run as one would write it down: the method, and what is measured; the sample's probability afterwards."""
    train, algorithm = at.train, job["algorithm"]
    forget, retain, row = train.take([job["id"]]), train.without([job["id"]]), train.ids.index(job["id"])
    method = METHODS[METHOD_OF.get(algorithm, algorithm)]
    start = [weight.detach().clone() for weight in model.parameters()]
    with torch.no_grad():
        p = torch.softmax(at.room.logits(model, forget), 1)[0, int(forget.y)].item()
    path = jobs.Path(at, forget, row, right, job["p_ref"], start, [p])
    watched = {"watch": path.watch} if isinstance(method, Minimised) else {}
    after = method(model, forget, retain, modality=at.room, config=at.recipe, seed=job["before"]["seed"], **watched)
    margins, now = at.answers(after)
    jobs.ratios(now, right, row, len(train))
    length = math.sqrt(
        sum(float((w.detach() - o).square().sum()) for w, o in zip(after.parameters(), start, strict=True))
    )
    random_steps(model, length, at)
    return float(jobs.probability(margins[row]))


def plain(laboratory, runs, *, cached):
    """Seconds for these runs in one process with torch's own number of threads, and what came out."""
    torch.use_deterministic_algorithms(True)
    room = modality("image")
    train, test = sets.from_entry(*laboratory.read(laboratory.plan.data()))
    start = clock()
    found = []
    for job in runs:
        at = jobs.Place(room, recipe_of(job), train, test)
        if cached:
            arrays = laboratory.read(job["before"]).arrays
            weights = {key[8:]: torch.tensor(value) for key, value in arrays.items() if key[:8] == "weights."}
            model, right = sisa.restore(weights, modality=room, config=at.recipe), arrays["right"]
        else:
            model = sisa.learn(train, modality=room, config=at.recipe, seed=job["before"]["seed"])
            right = at.answers(model)[1]
        found.append(plain_run(model, right, job, at))
    return clock() - start, found


def engine(prepared, folder, config, **kind):
    """Seconds until the study is complete from where the models are there, and its result."""
    shutil.copytree(prepared, folder)
    laboratory = open_laboratory(config, folder)
    start = clock()
    record = conduct(laboratory, say=quiet, **kind)
    return clock() - start, record, (folder / "result.json").read_bytes()


def killed(prepared, folder, config, delay):
    """As `engine` with two workers, of which one is killed after so many seconds."""

    def kill():
        os.kill(min(child.pid for child in multiprocessing.active_children()), signal.SIGKILL)

    timer = threading.Timer(delay, kill)
    timer.start()
    try:
        return engine(prepared, folder, config, workers=2)
    finally:
        timer.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="as of vestige difficulty")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    sets_ = ["references.models=2", "references.folds=2", *options.set]
    config = configure(data=options.data, samples=options.samples, seeds=1, seed=100, sets=sets_)
    assets.locate(options.data)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        laboratory = open_laboratory(config, root / "prepared")
        conduct(laboratory, say=quiet, limit=0)
        data = laboratory.plan.data()
        first = engine(root / "prepared", root / "one", config, workers=1)
        runs = [
            laboratory.plan.unlearn(
                laboratory.plan.before(data, learner_of(row["algorithm"]), 100), row["algorithm"], row["id"],
                next(s["p_ref"] for s in first[1]["samples"] if (s["id"], s["learner"]) == (row["id"], row["learner"])),
            )
            for row in first[1]["runs"]
        ]  # fmt: skip
        assert set(map(name_of, runs)) <= laboratory.journal.names() | _names(root / "one")
        seconds = {"engine, 1 worker": first[0]}
        results = {"engine, 1 worker": first[2]}
        kinds = {"engine, 2 workers": {"workers": 2}}
        if not options.no_ray:
            kinds["Ray on this machine, 2 workers"] = {"workers": 2, "executor": "ray"}
        for number, (name, kind) in enumerate(kinds.items()):
            seconds[name], _, results[name] = engine(root / "prepared", root / f"kind{number}", config, **kind)
        name = "engine, 2 workers, one killed"
        delay = seconds["engine, 2 workers"][0] / 2
        seconds[name], _, results[name] = killed(root / "prepared", root / "killed", config, delay)
        seconds["plain loop, same checkpoints"], found = plain(laboratory, runs, cached=True)
        few = runs[: len(config.algorithms)]
        alone, _ = plain(laboratory, few, cached=False)
        seconds["plain loop, nothing shared"] = alone * len(runs) / len(few)
    gap = max(abs(p - row["p_after"]) for p, row in zip(found, first[1]["runs"], strict=True))
    text = page(options, config, seconds, len(runs), len(few), len(set(results.values())) == 1, gap)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


def _names(folder: Path) -> set[str]:
    from vestige.difficulty.journal import FILE, Journal

    return Journal(folder / FILE).names()


def page(options, config, seconds, count, few, same, gap):
    base = seconds["plain loop, same checkpoints"]
    lines = [
        f"| {name} | {wall:.1f} | {60 * count / wall:.0f} | {base[0] / wall:.2f} | {cpu:.1f} | {base[1] / cpu:.2f} |"
        for name, (wall, cpu) in seconds.items()
    ]
    rows = "\n".join(lines)
    one, two = seconds["engine, 1 worker"], seconds["engine, 2 workers"]
    ray = seconds.get("Ray on this machine, 2 workers")
    told = f"A worker killed half-way cost {seconds['engine, 2 workers, one killed'][0] - two[0]:+.1f} s."
    told += (
        f" Ray takes {ray[0] - two[0]:+.1f} s beside two local workers, its start included." if ray is not None else ""
    )
    machine, load = host(), os.getloadavg()[2]
    return f"""# How fast the difficulty engine is

{count} unlearning runs ({options.samples} samples × {len(config.algorithms)} algorithms, {config.data.train} training
and {config.data.test} test images of {options.data}, {config.model.kind}), seed 100, torch {version("torch")},
{machine["cpus"]} cores ({machine["processor"]}), mean load of the last quarter of an hour {load:.1f};
`python benchmarks/difficulty.py --data {options.data} --samples {options.samples}`. Seconds from models that are there
to the finished result, starting the workers and all analyses included; the loop that shares nothing was timed on
{few} runs. Processor seconds are those of all processes (Ray's own are not seen); they depend less on what else the
machine does.

| way | seconds | runs a minute | × plain loop | processor seconds | × plain loop |
|---|---|---|---|---|---|
{rows}

Two workers are {one[0] / two[0]:.2f} times as fast as one. {told} The result.json of all engine ways
{"is the same to the byte" if same else "DIFFERS"}; the plain loop's probabilities of the forgotten samples differ from
the engine's by at most {gap:.1e}.

The plain loop is one process with torch's own number of threads and the same methods. The engine gains by one thread
per worker, convolutions kept channels last, SSD's importance and the random steps computed once per model, and no NaN
written into fresh memory (torch's help for debugging when algorithms must be deterministic). Several models in one
tensor program (`torch.func.vmap`) were tried and do not pay on such a processor: see docs/log.md.
"""


if __name__ == "__main__":
    main()
