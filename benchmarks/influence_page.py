"""The page of benchmarks/influence.py, written from its numbers."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from vestige.verify import mean_interval

PARTS = ("own", "similar", "near", "other", "start", "unexplained")


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def spread(values, digits=2):
    mean, low, high = mean_interval(values)
    return f"{mean:.{digits}f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if low is not None else "")


def groups(lines, *keys):
    found = {}
    for line in lines:
        found.setdefault(tuple(line[key] for key in keys), []).append(line)
    return found


def foot(name, found):
    return (
        f"\n\n`python benchmarks/influence.py {name}`; seeds {', '.join(map(str, found['seeds'][: found['used']]))}; "
        f"{found['took s']:.0f} s; {found['threads']} thread on a shared machine ({found['machine']})."
    )


def exact(found):
    rows = [
        [one["seed"], one["steps"], f"{one['Euler']:.0e}", f"{one['members']:.0e}", f"{one['never seen']:.2f}",
         f"{one['unexplained']:.1e}", one["kinks"], f"{one['unexplained with kinks']:.1e}",
         f"{one['slopes'][0]:.2f}…{one['slopes'][1]:.2f}" if one["kinks"] else "–", f"{one['λ to theory']:.4f}"]
        for one in found["lines"]
    ]  # fmt: skip
    heads = ["seed", "steps", "Euler", "members", "never seen", "unexplained", "at the kink",
             "unexplained, slopes free", "slopes", "λ to theory"]  # fmt: skip
    return (
        "## Is it exact?\n\n20 MNIST images, 784-50-10, float64, full-batch descent at rate 0.5 (cosine to 0 "
        "from 10,000 "
        "steps on). Euler: largest |⟨θ, ∇m⟩ − L·m|. members, never seen: the largest part of a margin that the "
        "decomposition leaves, in logits (margins are about 7). unexplained: 1 − the share of ‖θ‖² that Σ λ∇m "
        "explains. "
        "λ to theory: correlation of λ with (1 − p)/(n·wd).\n\n" + table(heads, rows) + "\n\nEuler's identity "
        "and the "
        "sum hold to rounding at any time; for members the parts do too. What stays unexplained at convergence "
        "is the "
        "ReLU's kink: at the limit, about 200 pairs of a neuron and an image have an input of exactly 0, where every "
        "slope in [0, 1] is a gradient. With those slopes left free, θ is explained to about 1e-6, and the "
        "slopes that "
        "come out lie in [0, 1], as theory has it. With the usual slope 0, the parts of samples that were never "
        "trained "
        "on keep an error of a few tenths of a logit, which is shown." + foot("exact", {**found, "used": 2})
    )


def members(found):
    rows = []
    for (n, model), lines in groups(found["lines"], "n", "model").items():
        cells = [
            f"{np.mean([one[test][0] for one in lines]):.4f}, {np.mean([one[test][1] for one in lines]):.2f}"
            for test in ("multipliers", "start known", "row space", "loss")
        ]
        gone = [one["targets, AUC"] for one in lines if "targets, AUC" in one]
        rows.append([n, model, len(lines), *cells, f"{np.mean([one['explained'] for one in lines]):.2f}",
                     f"{np.mean([one['explained, start known'] for one in lines]):.2f}",
                     f"{np.mean(gone):.2f}" if gone else "–",
                     f"{np.mean([one['seconds'] for one in lines]):.2f}"])  # fmt: skip
    heads = ["n", "model", "draws", "multipliers", "start known", "row space", "loss", "explained", "start known",
             "forgotten targets", "seconds"]  # fmt: skip
    return (
        "## Who was trained on?\n\nMNIST, the models that quickstart trains (n = 500: 784-800-800-10). Each "
        "cell: AUC, "
        "TPR at 1 % FPR of members against 300 never-seen images, λ fitted to all of them together. start known: the "
        "weights before training taken out of θ. forgotten targets: AUC of the three targets against never-seen "
        "images "
        "in a model that was not trained on them. seconds: kernel and λ, one thread of a busy machine.\n\n"
        + table(heads, rows)
        + "\n\nReconstruction on models of the same settings and seeds: AUC 0.91–0.95, TPR 0.69–0.74 at n = 100 "
        "in 7–9 s, 0.68–0.71, "
        "0.09–0.13 at n = 500 in 22–48 s ([recovery](recovery.md)). At n = 100 the multipliers and the row "
        "space find "
        "members alike; at n = 500 both miss some 30 % at 1 % FPR. Of the forgotten targets, whose images still come "
        "back (NCC 0.82), λ says rightly that they were not in training." + foot("members", {**found, "used": 3})
    )


def large(found):
    slow = found["autograd"]
    by_hand = slow["gradients s"] + slow["product s"]
    tests = ", ".join(
        f"{name} {found['tests'][name][0]:.3f}, {found['tests'][name][1]:.3f}"
        for name in ("multipliers", "start known", "row space", "loss")
    )
    return (
        f"## 5,000 images\n\nFashion-MNIST, 784-{found['width']}-{found['width']}-10, quickstart's recipe. "
        f"Kernel of all "
        f"{found['n']:,} images {found['kernel s']:.1f} s, λ {found['λ s']:.1f} s (one thread; our bar was "
        f"60 s on two "
        f"cores); {found['support']} λ above 0; breach of the minimum's conditions {found['violation']:.0e}; "
        f"{100 * found['explained']:.0f} % of θ explained.\n\nAgainst gradients formed one by one by autograd and "
        f"multiplied (float32), on {slow['n']} of the images: {slow['gradients s']:.2f} + "
        f"{slow['product s']:.2f} s against "
        f"{slow['closed form s']:.3f} s (float64): {by_hand / slow['closed form s']:.0f} times; largest difference "
        f"{slow['difference']:.0e} of the largest entry. At 5,000 the gradients alone would take 6.6 GB and were not "
        "formed.\n\nMembers against 1,000 never-seen images (AUC, TPR at 1 % FPR): "
        f"{tests}. After 1,000 steps this network is far from having settled, and a member looks much like a "
        "never-seen image: none of these tests has power here." + foot("large", {**found, "used": 1})
    )


def shares(found):
    rows = []
    for (data, stage), lines in groups(found["lines"], "data", "stage").items():
        unit = np.mean([one["margin"] for one in found["lines"] if (one["data"], one["stage"]) == (data, "before")])
        ranges = {part: np.mean([one["ranges"][part] for one in lines], axis=0) for part in ("own", "similar")}
        told = {part: f" ({low:.1f}…{high:.1f})" for part, (low, high) in ranges.items() if high > 0}
        rows.append([data, stage, spread([one["margin"] for one in lines]),
                     *(spread([one[part] for one in lines]) + told.get(part, "") for part in PARTS),
                     f"{100 * np.mean([one['similar'] for one in lines]) / unit:.0f} %"])  # fmt: skip
    agree = []
    for data, lines in groups(found["pairs"], "data").items():
        for least in (0, 1):
            some = [one for one in lines if one["kept"] >= least]
            changed = [one["changed"] for one in some]
            both = [[one[key] for one in some] for key in ("share", "irreplaceable")]
            errors = (f"{np.mean(np.subtract(told, changed)):+.1f}" for told in both)
            agree.append([data[0], f"{least}…5", len(some), *(f"{spearmanr(told, changed)[0]:.2f}" for told in both),
                          *errors])  # fmt: skip
        within = {
            key: np.mean([
                spearmanr([one[key] for one in part], [one["changed"] for one in part])[0]
                for part in groups(lines, "seed", "target").values()
            ])
            for key in ("share", "irreplaceable")
        }  # fmt: skip
        agree.append([data[0], "0…5, within a target", 15, *(f"{within[key]:.2f}" for key in within), "–", "–"])
    return (
        "## Own, similar, near, others\n\nQuickstart's models, 5 seeds × 3 targets, in logits [95 % t interval "
        "over the 15 "
        "targets] (range in which own and similar can be told apart, mean of its ends). last: what similar samples "
        "carry as a share of the mean margin before.\n\n"
        + table(["data", "stage", "margin", *PARTS, "similar / before"], rows)
        + "\n\nRetraining without the target loses what it carried itself, and its similar samples take that over; "
        "without them too, the margin falls to what the class gives. On Fashion-MNIST own and similar can "
        "hardly be told apart before "
        "(own anywhere between 0 and 6 logits): there only their sum is known.\n\n"
        "### Does retraining bear it out?\n\nModels without the targets and with the first 0 … 5 similar "
        "samples of each: "
        "by how much the margin differs from that with none, against what the model before that deletion says. "
        "share: "
        "what the similar samples carry. irreplaceable: what remains of it once θ is explained anew without them "
        "(`influence.irreplaceable`). Spearman, then the mean error in logits.\n\n"
        + table(
            ["data", "similar samples", "n", "ρ share", "ρ irreplaceable", "error share", "error irreplaceable"], agree
        )
        + "\n\nFor one target the share orders the numbers of copies almost perfectly. Over targets it does not: it "
        "counts what similar samples carry now, not that natural neighbours take over once they are gone. What is "
        "irreplaceable foretells, without any retraining, for which targets and how many copies it matters most "
        "(our bar: ρ 0.9); it is some 3 logits too small, as a network that never saw the copies learns other features."
        + foot("shares", {**found, "used": 5})
    )


def theorem(found):
    rows = []
    for (kind,), lines in groups(found["lines"], "i").items():
        gone = [1 - one["Inf(j|i)"] / one["Inf(j)"] for one in lines]
        fails = sum(value < 0 for value in gone)
        rows.append([kind, spread([one["ssim"] for one in lines]), spread([one["cosine"] for one in lines]),
                     spread([one["Inf(j)"] for one in lines]), spread([one["Inf(j|i)"] for one in lines]),
                     spread(gone), f"{fails} of {len(lines)}"])  # fmt: skip
    gone = [1 - one["Inf(j|i)"] / one["Inf(j)"] for one in found["lines"]]
    rho = {key: spearmanr([one[key] for one in found["lines"]], gone)[0] for key in ("cosine", "ssim")}
    heads = ["x_i", "SSIM", "cosine of gradients", "Inf(x_j)", "Inf(x_j | x_i)", "gone", "fails"]
    return (
        "## Theorem 1, measured\n\nInf(x_j; M | x_i) < Inf(x_j; M): the paper proves it where the interaction "
        "is positive, "
        "and does not measure it. Here Inf(x_j) is by how much training on x_j raises its margin: four networks "
        "each, without both, "
        "with either, with both, beside the same 82 MNIST images. gone: 1 − Inf(x_j | x_i)/Inf(x_j) "
        "[95 % t interval over pairs]; fails: pairs where x_i makes x_j matter more.\n\n"
        + table(heads, rows)
        + f"\n\nWhat disappears grows with likeness (Spearman {rho['cosine']:.2f} with the cosine of the two "
        f"gradients, "
        f"{rho['ssim']:.2f} with SSIM, n = {len(gone)}). The assumption of positive interaction fails for "
        f"look-alikes of "
        "another class: their gradients point apart, and x_j then matters as much or more."
        + foot("theorem", {**found, "used": 2})
    )


REACHED = 0.05
"""Residual at which a model counts as R1."""


def deletion(found):
    rows, gain, needed, first, ks = [], [], [], {}, (1, 3, 5, 7)
    residuals = {(one["transform"], one["order"], one["k"], one["seed"]): one["residual"] for one in found["lines"]}
    seeds = sorted({one["seed"] for one in found["lines"]})
    for (transform, order), lines in groups(found["lines"], "transform", "order").items():
        by_k = groups(lines, "k")
        rows.append([transform, order, *(spread([one["residual"] for one in by_k[k,]]) for k in ks),
                     f"{np.mean([one['copies'] for one in by_k[5,]]):.1f}",
                     *(f"{np.mean([100 * one['test'] for one in by_k[k,]]):+.1f}" for k in (5, 7))])  # fmt: skip
    for transform, order in groups(found["lines"], "transform", "order"):
        if order in ("nearest SSIM", "least replaceable"):
            enough = [[k for k in ks if residuals[transform, order, k, seed] <= REACHED] for seed in seeds]
            first[transform, order] = [one[0] if one else ks[-1] + 1 for one in enough]
            needed.append([transform, order, *(str(one[0]) if one else f"above {ks[-1]}" for one in enough)])
    pairs = list(zip(first["shift", "least replaceable"], first["shift", "nearest SSIM"], strict=True))
    sooner, later = (sum(np.sign(theirs - ours) == sign for ours, theirs in pairs) for sign in (1, -1))
    for transform in dict.fromkeys(one["transform"] for one in found["lines"]):
        less = [
            [residuals[transform, "nearest SSIM", k, seed] - residuals[transform, "least replaceable", k, seed]
             for seed in seeds]
            for k in ks
        ]  # fmt: skip
        gain.append([transform, *(spread(one) for one in less)])
    heads = ["similar samples", "order", *map(str, ks), "copies in 5", "test, 5", "test, 7"]
    return (
        "## In which order to delete?\n\nFrom R0, the k kept samples that come first for each of three targets "
        "are deleted and the network trained anew. Residual: the targets' mean margin between R1 (0) and R0 (1); "
        "below 0, less is left than in R1, as natural neighbours went too. test: accuracy against R0 in percentage "
        "points (1,000 images). Mean [95 % t interval] over seeds; the orders were thought of on seeds 0 and 1.\n\n"
        + table(heads, rows)
        + "\n\nResidual in the order nearest SSIM less that in the order least replaceable, paired by seed:\n\n"
        + table(["similar samples", *map(str, ks)], gain)
        + f"\n\nHow many of these numbers of deletions it took until R1 was reached (residual at most {REACHED}, a "
        "level set once these residuals had been seen):\n\n"
        + table(["similar samples", "order", *(f"seed {seed}" for seed in seeds)], needed)
        + "\n\nMost influence is not the best order: a natural image of the class often carries more of the target's "
        "margin than any single copy, and costs accuracy when it goes, but others replace it. Least replaceable "
        "(`influence.least_replaceable`, stages RF-inf+k: greedily those without which the others can carry least) "
        "mends that where SSIM does not see what repeats the target: of shifted copies it reaches R1 with fewer "
        f"deletions in {sooner} of {len(seeds)} seeds and with more in {later}. "
        "Where SSIM finds the copies themselves (masked ones), 5 "
        "deletions are R1 and no order can do better; there it is worse. Its price is accuracy, since "
        "what it takes beside copies are the images that the class can least do without. Past R1 every "
        "order takes natural neighbours, and accuracy with them." + foot("deletion", {**found, "used": len(seeds)})
    )


def instead(found):
    lines = {(one["transform"], one["stage"], one["seed"]): one for one in found["lines"]}
    seeds = sorted({one["seed"] for one in found["lines"]})

    def every(transform, stage, field):
        return np.array([lines[transform, stage, seed][field] for seed in seeds], dtype=float)

    def residuals(transform, stage):
        now, start, end = (every(transform, name, "margins") for name in (stage, "R0", "R1"))
        return ((now - end) / (start - end)).flatten()

    rows, errors = [], {}
    for transform in dict.fromkeys(one["transform"] for one in found["lines"]):
        for stage in dict.fromkeys(one["stage"] for one in found["lines"]):
            told = "–"
            if lines[transform, stage, seeds[0]]["foretold"]:
                expected = every(transform, stage, "foretold").flatten()
                errors.setdefault(transform, []).extend(expected - residuals(transform, stage))
                told = f"{expected.mean():.2f}"
            change = [
                100 * (every(transform, stage, key) - every(transform, "R0", key)).mean() for key in ("near", "test")
            ]
            rows.append([transform, stage, spread(every(transform, stage, "margins").flatten()),
                         spread(residuals(transform, stage)), told, f"{every(transform, stage, 'λ').mean():.3f}",
                         *(f"{value:+.1f}" for value in change)])  # fmt: skip
    heads = ["similar samples", "stage", "margin", "residual", "foretold", "λ of copies", "near", "test"]
    missed = "; ".join(
        f"{name}: on average {np.mean(error):+.2f}, at most {np.abs(error).max():.2f} off"
        for name, error in errors.items()
    )
    return (
        "## Weighing less instead of forgetting; how many to forget\n\nMNIST, stages of a study from one model before, "
        f"{len(seeds)} seeds × 3 targets. residual: of each target's margin, R0 is 1 and R1 0 [95 % t interval over "
        "targets]. foretold: the same from the model before alone (`influence.choose_k`, stages RF-auto). λ of copies: "
        "mean multiplier, 0 where they are gone. near, test: accuracy against R0 in percentage points.\n\n"
        + table(heads, rows)
        + "\n\nWeighing less removes far less than the weight says: at stationarity λ = w (1 − p) / (Σ w · wd), and a "
        "sample of a smaller weight w is fitted less, so 1 − p grows and makes up for most of it. "
        f"What is foretold against what retraining leaves, single targets: {missed}. It errs on the side of forgetting "
        "more; of shifted copies SSIM finds few, and what goes instead are images of the class."
        + foot("instead", {**found, "used": 2})
    )


PAGES = {
    "exact": exact,
    "members": members,
    "shares": shares,
    "large": large,
    "theorem": theorem,
    "deletion": deletion,
    "instead": instead,
}


def page(record):
    parts = [make(record[name]) for name, make in PAGES.items() if name in record]
    return "\n\n".join(["# Influence, exactly", "What `vestige.influence` says, and what bears it out.", *parts]) + "\n"
