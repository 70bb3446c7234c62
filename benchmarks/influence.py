"""Influence by multipliers, measured: is it exact, whom does it find, what does retraining bear out, how fast is it.

    python benchmarks/influence.py [SECTION …] [--seeds N …] [--json FILE] [--markdown FILE]

Sections: exact, members, large, shares, theorem, deletion, instead. Each replaces its own part of the JSON file; the
page is written from that file. The models are those that quickstart trains (its settings and seeds) where nothing else
is said. Seeds: 0 to 4; of deletion 5 to 9, as its orders were thought of on 0 and 1.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from influence_page import page
from vestige import assets, dataset, image, influence, multipliers, provenance, similar
from vestige.executor import one_thread
from vestige.image.kernel import factors, gram
from vestige.image.objective import Weights, rivals
from vestige.image.span import RowSpace
from vestige.random import stream
from vestige.stages import parse
from vestige.studies import configure
from vestige.train import descend, train
from vestige.types import joined
from vestige.unlearn import perform
from vestige.verify import auc, tpr_at_fpr

POOLS = {}


def draw(data, seed, sets=()):
    """The settings, all samples and the split that quickstart has for this seed."""
    settings = configure("image-target", seed=seed, data=data, sets=list(sets))
    if data not in POOLS:
        POOLS[data] = image.load(assets.locate(settings.data.source))
    return settings, *dataset.entail(settings.data, POOLS[data], modality=image, seed=seed)


def learn(settings, members, seed):
    """A model trained from scratch by the recipe, where it began, and the seconds that it took."""
    model = image.build(settings.model, members, generator=stream(seed, "train"))
    began = influence.Start(copy.deepcopy(model), influence.left_of_start(settings.train, len(members)))
    start = time.perf_counter()
    model = train(model, members, modality=image, config=settings.train)
    return model, began, time.perf_counter() - start


def margins(model, samples):
    return factors(model, samples.x, samples.y).margin.numpy()


# exact: Euler's identity and the decomposition, by length of training.


def exact(options):
    """20 images, one hidden layer of 50, float64: how much of θ is explained, without and with the ReLU's kinks."""
    lines = []
    for seed in options.seeds[:2]:
        settings, samples, split = draw(
            "mnist", seed, ["data.per_class=2", "data.similar=1", "data.targets=1", "model.hidden=[50]"]
        )
        members = samples.take(split.training("without"))
        members, never = replace(members, x=members.x.double()), samples.take(split.never_seen)
        model = image.build(settings.model, members, generator=stream(seed, "train")).double()
        steps = 0
        for more, schedule in ((1000, "constant"), (9000, "constant"), (60000, "cosine"), (60000, "cosine")):
            model = descend(
                model, lambda now, batch, on=members: image.losses(now, on).mean(), steps=more, lr=0.5,
                weight_decay=settings.train.weight_decay, schedule=schedule,
            )  # fmt: skip
            steps += more
            found = influence.explain(model, members)
            own, others = (influence.contributions(found, part) for part in (members, never))
            theory = (1 - torch.exp(-image.losses(model, members)).detach().numpy()) / (
                len(members) * settings.train.weight_decay
            )
            theta = Weights.of(model, torch.float64)
            euler = 2 * found.factors.margin.numpy() - by_hand(found.factors, theta)
            kinks, left, slopes = with_kinks(found.factors, theta)
            lines.append({
                "seed": seed, "steps": steps, "Euler": float(np.abs(euler).max()),
                "members": float(np.abs(own.unexplained).max()), "never seen": float(np.abs(others.unexplained).max()),
                "margin": float(own.margin.mean()), "unexplained": 1 - found.explained, "kinks": kinks,
                "unexplained with kinks": left, "slopes": slopes,
                "λ to theory": float(np.corrcoef(theory, found.multipliers)[0, 1]),
            })  # fmt: skip
            print(lines[-1], flush=True)
    return {"lines": lines}


def by_hand(made, theta):
    """⟨θ, ∇m⟩ layer by layer, from the gradients themselves."""
    first = torch.einsum("nh,nd,hd->n", made.back[0], made.inputs[0], theta.layers[0]) + made.back[0] @ theta.bias
    return (first + torch.einsum("nc,nh,ch->n", made.back[1], made.inputs[1], theta.layers[1])).numpy()


def with_kinks(made, theta, near=1e-6):
    """The same with the slope of every ReLU that stands at 0 left free: how many, what is then unexplained, slopes.

    At a stationary point of a ReLU network many inputs of neurons are exactly 0, where any slope in [0, 1] is a
    gradient. One hidden layer: such a neuron adds u·[x, 1] to its own row, and nothing to the layer above.
    """
    z, u, x = made.reached[0], made.back[1] @ theta.layers[1], made.inputs[0]
    kink = z.abs() < near
    atoms = []
    for i in range(len(z)):
        delta = u[i] * ((z[i] > 0) & ~kink[i])
        upper = torch.outer(made.back[1][i], made.inputs[1][i]).flatten()
        atoms.append(torch.cat([torch.outer(delta, x[i]).flatten(), delta, upper]))
    places = kink.nonzero().tolist()
    for i, neuron in places:
        delta = torch.zeros_like(u[i])
        delta[neuron] = u[i, neuron]
        atoms.append(torch.cat([torch.outer(delta, x[i]).flatten(), delta, torch.zeros_like(upper)]))
    G = torch.stack(atoms)
    flat = torch.cat([theta.layers[0].flatten(), theta.bias, theta.layers[1].flatten()])
    K, b = (G @ G.T).numpy(), (G @ flat).numpy()
    lam = multipliers.solve(K, b)
    slopes = [lam[len(z) + at] / lam[i] for at, (i, _) in enumerate(places)]
    left = 1 + multipliers.objective(K, b, lam) / float(flat @ flat)
    return len(places), left, [float(min(slopes, default=0)), float(max(slopes, default=0))]


# members: the multiplier test beside loss, row space and reconstruction.


def members_test(options):
    lines = []
    for n in (100, 500):
        sets = [f"data.per_class={n // 10}"] + (["model.hidden=[800,800]"] if n == 500 else [])
        for seed in options.seeds[:3]:
            settings, samples, split = draw("mnist", seed, sets)
            arm, never = samples.take(split.training("with")), samples.take(split.never_seen)
            alone = samples.take(split.training("without"))
            stages = {
                "without, before": alone, "with, before": arm, "with, R0": arm.without(split.target),
                "with, R1": arm.without([*split.target, *split.all_similar()]),
            }  # fmt: skip
            for stage, trained_on in stages.items() if n == 100 else list(stages.items())[:3:2]:
                model, began, _ = learn(settings, trained_on, seed)
                lines.append({"n": n, "seed": seed, "model": stage, **tests(model, trained_on, never, began)})
                gone = [name for name in split.target if name not in trained_on.ids]
                if gone:
                    everyone = joined(trained_on, arm.take(gone), never)
                    lam = influence.explain(model, everyone, start=began).multipliers
                    lines[-1]["targets, AUC"] = auc(lam[len(trained_on) : -len(never)], lam[-len(never) :])
                print(lines[-1], flush=True)
    return {"lines": lines}


def tests(model, members, never, began):
    """AUC and TPR at 1 % FPR of each test, with the seconds that the multipliers took."""
    both, n = joined(members, never), len(members)
    start = time.perf_counter()
    alone = influence.explain(model, both)
    seconds = time.perf_counter() - start
    known = influence.explain(model, both, start=began)
    space = RowSpace.of(model)
    scores = {
        "multipliers": alone.multipliers, "start known": known.multipliers,
        "row space": -space.outside((both.x - model.mean).flatten(1)).numpy(),
        "loss": -image.losses(model, both).detach().numpy(),
    }  # fmt: skip
    found = {
        name: [auc(score[:n], score[n:]), tpr_at_fpr(score[:n], score[n:])] for name, score in scores.items()
    }  # fmt: skip
    return found | {
        "explained": influence.explain(model, members).explained,
        "explained, start known": influence.explain(model, members, start=began).explained, "seconds": seconds,
    }  # fmt: skip


# large: 5,000 images.


def large(options):
    settings, samples, split = draw("fmnist", options.seeds[0], ["data.per_class=500", "data.never_seen=1000"])
    members, never = samples.take(split.training("with")), samples.take(split.never_seen)
    model, began, training = learn(settings, members, options.seeds[0])
    found = {"n": len(members), "width": settings.model.hidden[0], "training s": training}
    start = time.perf_counter()
    made = factors(model, members.x, members.y)
    K = gram(made)
    found["kernel s"] = time.perf_counter() - start
    b = influence.Trained.of(model, began).slope(made)
    start = time.perf_counter()
    lam = multipliers.solve(K.numpy(), b)
    found["λ s"] = time.perf_counter() - start
    size = influence.Trained.of(model, began).size
    found |= {
        "explained": -multipliers.objective(K.numpy(), b, lam) / size,
        "violation": multipliers.violation(K.numpy(), b, lam), "support": int((lam > 0).sum()),
    }  # fmt: skip
    part = members.at(slice(0, 500))
    found["autograd"] = per_sample(model, part)
    print(found, flush=True)
    del K
    return found | {"tests": tests(model, members, never, began)}


def per_sample(model, part):
    """The same kernel of fewer samples, from gradients formed one by one: float32, as they would be."""
    start = time.perf_counter()
    rows = []
    for at in range(len(part)):
        f = model(part.x[at : at + 1])
        label = part.y[at : at + 1]
        toward = torch.nn.functional.one_hot(label, f.shape[1]) - rivals(f.detach(), label, "soft")
        grads = torch.autograd.grad((f * toward).sum(), list(model.parameters()))
        rows.append(torch.cat([grad.flatten() for grad in grads]))
    G = torch.stack(rows)
    formed = time.perf_counter() - start
    slow = G @ G.T
    multiplied = time.perf_counter() - start - formed
    start = time.perf_counter()
    fast = gram(factors(model, part.x, part.y))
    closed = time.perf_counter() - start
    return {
        "n": len(part), "gradients s": formed, "product s": multiplied, "closed form s": closed,
        "difference": float((slow - fast).abs().max() / fast.abs().max()),
    }  # fmt: skip


# shares: own, similar, near, other before and after, and what retraining bears out.


def shares(options):
    lines, pairs = [], []
    for data in ("mnist", "fmnist"):
        for seed in options.seeds:
            settings, samples, split = draw(data, seed)
            arm, never = samples.take(split.training("with")), samples.take(split.never_seen)
            targets = arm.take(split.target)
            rest = arm.without([*split.target, *split.all_similar()])
            lot = {"before": arm}
            for kept in range(settings.data.similar, -1, -1):
                copies = arm.take(name for name in split.all_similar() if place(split, name) < kept)
                lot[kept] = joined(rest, copies) if kept else rest
            at, alone = {}, {}
            for stage, trained_on in lot.items():
                model, began, _ = learn(settings, trained_on, seed)
                found = influence.explain(model, trained_on, start=began)
                at[stage] = divided(found, targets, split, influence.tolerance(found, never))
                alone[stage] = influence.irreplaceable(found, split.all_similar(), targets).tolist()
                if stage in ("before", 5, 0):
                    name = {"before": "before", 5: "R0", 0: "R1"}[stage]
                    lines += [
                        {"data": data, "seed": seed, "stage": name, "explained": found.explained, **record(share)}
                        for share in at[stage]
                    ]
            for kept in range(settings.data.similar + 1):
                for share, reference, first, only in zip(at[kept], at[0], at["before"], alone[kept], strict=True):
                    pairs.append({
                        "data": data, "seed": seed, "target": share.name, "kept": kept, "before": first.margin,
                        "share": share.parts["similar"], "irreplaceable": only,
                        "changed": share.margin - reference.margin,
                    })  # fmt: skip
            print(data, seed, flush=True)
    return {"lines": lines, "pairs": pairs}


def place(split, name):
    """The place of a sample among the copies of its target, None for one that is no copy."""
    return next((names.index(name) for names in split.similar.values() if name in names), None)


def divided(found, targets, split, slack):
    kin = {name: {"similar": split.similar[name], "near": split.near[name]} for name in targets.ids}
    return influence.shares(found, targets, kin, slack)


def record(share):
    return {"target": share.name, "margin": share.margin, **share.parts, "ranges": dict(share.ranges)}


# theorem: how much of Inf(x_j) disappears given x_i.


def theorem(options):
    lines = []
    for seed in options.seeds[:2]:
        settings, samples, split = draw("mnist", seed)
        base = samples.take(split.other)
        targets = samples.take(split.target)
        pool = samples.take([*split.refill, *split.never_seen])
        nothing, _, _ = learn(settings, base, seed)
        for name in targets.ids:
            j = targets.take([name])
            alone = margins(learn(settings, joined(base, j), seed)[0], j)[0]
            first = alone - margins(nothing, j)[0]
            for kind, i in partners(j, pool, seed, settings).items():
                other, _, _ = learn(settings, joined(base, i), seed)
                both, began, _ = learn(settings, joined(base, i, j), seed)
                second = margins(both, j)[0] - margins(other, j)[0]
                found = influence.explain(both, joined(base, i, j), start=began)
                one, two = found.factors.norms().numpy()[-2:]
                lines.append({
                    "seed": seed, "j": name, "i": kind, "ssim": float(similar.ssim(i.x, j.x)[0]),
                    "Inf(j)": float(first), "Inf(j|i)": float(second),
                    "cosine": float(found.gram[-2, -1] / np.sqrt(one * two)),
                })  # fmt: skip
                print(lines[-1], flush=True)
    return {"lines": lines}


def partners(j, pool, seed, settings):
    """One x_i for each kind of likeness to x_j; pool: natural images that are not in the base."""
    found = {"exact copy": replace(j, ids=("copy",))}
    for fraction in (0.1, 0.3, 0.7):
        config = settings.data.model_copy(update={"fraction": fraction})
        made = image.make_similar(j, 1, config=config, generator=stream(seed, f"theorem {fraction}"))[0]
        found[f"masked {fraction:g}"] = replace(made, ids=(f"masked/{fraction}",))
    same = pool.take(name for name, y in zip(pool.ids, pool.y.tolist(), strict=True) if y == int(j.y[0]))
    other = pool.without(same.ids)
    for kind, part in (("same class", same), ("other class", other)):
        found[f"nearest, {kind}"] = part.take(similar.top_k(j, part, 1)[j.ids[0]])
        found[f"any, {kind}"] = part.at(slice(0, 1))
    return found


# deletion: how few kept samples must go.


def deletion(options):
    lines = []
    for seed in options.seeds:
        for transform in ("mask", "shift"):
            settings, samples, split = draw("mnist", seed, [f"data.transform={transform}"])
            arm = samples.take(split.training("with"))
            targets, near, test = (samples.take(ids) for ids in (split.target, split.all_near(), split.test))
            kept = arm.without(split.target)
            model, began, _ = learn(settings, kept, seed)
            reference, _, _ = learn(settings, kept.without(split.all_similar()), seed)
            start, end = margins(model, targets), margins(reference, targets)
            first = {"near": margins(model, near).mean(), "test": accuracy(model, test)}
            for order, ranked in orders(model, began, targets, kept, seed).items():
                for k in (1, 3, 5, 7):
                    gone = {name for names in ranked.values() for name in names[:k]}
                    after, _, _ = learn(settings, kept.without(gone), seed)
                    left = near.without(gone)
                    now = margins(after, targets)
                    lines.append({
                        "seed": seed, "transform": transform, "order": order, "k": k,
                        "residual": float((now.mean() - end.mean()) / (start.mean() - end.mean())),
                        "copies": sum(place(split, name) is not None for name in gone) / len(targets),
                        "near": float(margins(after, left).mean() - first["near"]) if len(left) else None,
                        "near gone": len(near) - len(left), "test": accuracy(after, test) - first["test"],
                    })  # fmt: skip
                print(lines[-1], flush=True)
    return {"lines": lines}


def orders(model, began, targets, kept, seed):
    """Order → target → the kept samples, those to delete first in front. The model is R0: it never saw the target."""
    found = influence.explain(model, kept, start=began)
    influential = influence.contributions(found, targets)
    near, far = (torch.nn.functional.normalize(image.embed(model, part).detach()) for part in (targets, kept))
    likeness = (near @ far.T).numpy()
    shuffled = torch.randperm(len(kept), generator=stream(seed, "order")).tolist()
    return {
        "nearest SSIM": similar.top_k(targets, kept, 10),
        "nearest embedding": {
            name: [kept.ids[at] for at in np.argsort(-row, kind="stable")[:10]]
            for name, row in zip(targets.ids, likeness, strict=True)
        },
        "most influence": {name: [other for other, _ in influential.top(name, 10)] for name in targets.ids},
        "least replaceable": influence.least_replaceable(found, targets, 10),
        "random": {name: [kept.ids[at] for at in shuffled[10 * i : 10 * i + 10]] for i, name in enumerate(targets.ids)},
    }


def accuracy(model, samples):
    return float((image.logits(model, samples).argmax(1) == samples.y).float().mean())


# instead: weighing less instead of forgetting, and what is foretold of forgetting k, by stages as studies run them.


def instead(options):
    lines = []
    for seed in options.seeds[:2]:
        for transform in ("mask", "shift"):
            settings, samples, split = draw("mnist", seed, [f"data.transform={transform}"])
            arm, targets = samples.take(split.training("with")), samples.take(split.target)
            how = {"modality": image, "recipe": settings.recipe, "seed": seed}
            before = perform(parse("before"), None, arm, split, **how).model
            told = foretold(before, arm, targets, split)
            for stage in ("R0", "R1", *(f"RF-1+{k}" for k in FORETOLD), *(f"RF-1+5@{weight}" for weight in WEIGHTS)):
                made = perform(parse(stage), before, arm, split, **how)
                found = influence.explain(made.model, arm.take(made.trained_on))
                sizes = dict(zip(found.ids, found.multipliers.tolist(), strict=True))
                lines.append({
                    "seed": seed, "transform": transform, "stage": stage, "targets": list(targets.ids),
                    "margins": margins(made.model, targets).tolist(), "foretold": told.get(stage),
                    "λ": float(np.mean([sizes.get(name, 0.0) for name in split.all_similar()])),
                    "near": accuracy(made.model, samples.take(split.all_near())),
                    "test": accuracy(made.model, samples.take(split.test)),
                })  # fmt: skip
                print(lines[-1], flush=True)
    return {"lines": lines}


FORETOLD = (1, 2, 3, 4)
WEIGHTS = (0.01, 0.1, 0.3)


def foretold(before, arm, targets, split):
    """Stage → the residual that is expected of each target."""
    found = influence.explain(before, arm)
    order = similar.top_k(targets, arm.without(targets.ids), max(FORETOLD))

    def lost(name, gone):
        return float(influence.irreplaceable(found, [*targets.ids, *gone], targets.take([name]))[0])

    told = {f"RF-1+{k}": [] for k in FORETOLD}
    for name in targets.ids:
        alone, most = lost(name, ()), lost(name, split.similar[name])
        for k in FORETOLD:
            told[f"RF-1+{k}"].append(1 - (lost(name, order[name][:k]) - alone) / (most - alone))
    return told


SECTIONS = {
    "exact": exact, "members": members_test, "large": large, "shares": shares, "theorem": theorem,
    "deletion": deletion, "instead": instead,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), choices=[*SECTIONS, []])
    parser.add_argument("--seeds", type=int, nargs="+", help="by default 0 to 4, of deletion 5 to 9")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("docs/results/influence.json"))
    parser.add_argument("--markdown", type=Path, default=Path("docs/results/influence.md"))
    options = parser.parse_args()
    asked = options.seeds
    one_thread()
    torch.set_num_threads(options.threads)
    for name in options.sections:
        start = time.perf_counter()
        options.seeds = asked or list(range(5, 10) if name == "deletion" else range(5))
        found = SECTIONS[name](options)
        found |= {
            "seeds": options.seeds, "threads": options.threads, "took s": round(time.perf_counter() - start, 1),
            "machine": f"{provenance.host()['processor']}, torch {provenance.version('torch')}",
        }  # fmt: skip
        kept = json.loads(options.json.read_text()) if options.json.exists() else {}
        kept[name] = found
        options.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    options.markdown.write_text(page(json.loads(options.json.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
