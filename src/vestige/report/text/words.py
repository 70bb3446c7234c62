"""The sentences of a language study's page, composed from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vestige.config import TextStudyConfig
from vestige.report import words
from vestige.report.text.material import TextMaterial
from vestige.report.text.variants import adds, enhanced_methods, plain_and_enhanced, variant
from vestige.report.words import number, plural, signed
from vestige.verify import mean_interval

QUESTIONS = {
    "text-similar": "Does unlearning an answer also remove it from its paraphrases?",
    "text-target": "Do paraphrases in training spoil the unlearning of an answer?",
    "text-heldout": "Does unlearning an answer reach paraphrases that were never trained on?",
    "quickstart-text": "Do paraphrases keep a forgotten answer alive?",
    "text-methods": "Which method makes a language model forget, and only that?",
    "text-enhanced": "Do noise and paraphrases remove what similar samples keep, and at what price?",
    "text-enhanced-equal": "Are noise and paraphrases better where the target is forgotten alike?",
    "text-enhanced-reach": "What does reach the similar samples?",
    "text-enhanced-sweep": "How much noise, and how many paraphrases?",
}
EXPERIMENTS = {"text-similar": "E3", "text-target": "E4", "text-heldout": "E5", "quickstart-text": "E4",
               "text-enhanced": "E7", "text-enhanced-equal": "E7",
               "text-enhanced-reach": "E7", "text-enhanced-sweep": "E7"}  # fmt: skip
"""The number by which this package knows the paper's experiment."""
SAID = {
    "base": "before any fine-tuning",
    "before": "fine-tuned on everything",
    "R0": "fine-tuned again without the target",
    "R1": "fine-tuned again without it and its similar samples",
    "retrain": "fine-tuned again without the target",
    "finetune": "tuned on, without the target",
    "GA": "gradient ascent on the target",
    "GA_KLN": "gradient ascent, others held by KL",
    "GA_GDN": "gradient ascent, others trained on",
    "NPO": "negative preference for the target",
    "NPO_KLN": "negative preference, others held by KL",
    "NPO_GDN": "negative preference, others trained on",
    "GDR": "taught random answers to the target",
    "GDR_KLN": "random answers, others held by KL",
    "GDR_GDN": "random answers, others trained on",
    "TV": "the target’s task vector taken away",
    "SimNPO": "negative preference by length, no reference",
    "DPO": "another answer preferred to the target’s",
    "IdkDPO": "“I don’t know” preferred to the target’s",
    "RMU": "hidden states of the target led astray",
    "UNDIAL": "taught itself, the target’s tokens lowered",
    "WHP": "taught what a model would say that never knew",
}
LEARNED = 0.05
"""By how much fine-tuning must raise KM on the targets; as the residual's denominator."""
FIGURES = {
    "similar": {"llama-3.2-1b": "11", "llama-3.2-3b": "38", "gpt-neo-1.3b": "39", "gpt-neo-2.7b": "40"},
    "arms": {"llama-3.2-3b": "12", "llama-3.2-1b": "46", "opt-1.3b": "49", "gpt-neo-2.7b": "52"},
    "without": {"llama-3.2-3b": "41", "llama-3.2-1b": "44", "opt-1.3b": "47", "gpt-neo-2.7b": "50"},
    "with": {"llama-3.2-3b": "42", "llama-3.2-1b": "45", "opt-1.3b": "48", "gpt-neo-2.7b": "51"},
    "held_out": {"gpt-neo-1.3b": "13", "llama-3.2-1b": "53", "llama-3.2-3b": "54", "gpt-neo-2.7b": "55"},
    "ablation": {"llama-3.2-1b": "14"},
    "enhanced": {"llama-3.2-1b": "17a, and 17c for noise only", "llama-3.2-3b": "17b"},
    "performance": {"llama-3.2-1b": "18", "llama-3.2-3b": "18"},
}
"""Kind of figure → the paper's model → its figure; the model of the first stands in the paper's main part."""


def describe(stage: str, config: TextStudyConfig) -> str:
    """What a stage does, or adds to its method, in a few plain words."""
    return SAID.get(stage) or adds(variant(stage, config)) or words.describe(stage)


def question(study: str) -> str:
    """What the study asks, as the title of its page."""
    return QUESTIONS.get(study, "What does a model still answer after unlearning?")


def kicker(config: TextStudyConfig) -> str:
    """Which experiment this is, on which data and model."""
    parts = (EXPERIMENTS.get(config.study), config.study, config.data.source, config.model.source)
    return " · ".join(part for part in parts if part)


def counterpart(kind: str, config: TextStudyConfig) -> str:
    """Which of the paper's figures one answers: that of the same model, or what comes nearest, said so."""
    known = FIGURES[kind]
    source = config.model.source.lower()
    same = next((figure for model, figure in known.items() if model in source), None)
    if same is not None:
        return f"Counterpart of the paper’s Fig.\u00a0{same}."
    model, figure = next(iter(known.items()))
    return f"Counterpart of the paper’s Fig.\u00a0{figure} (there {model}, on PKU-SafeRLHF)."


def headline(material: TextMaterial) -> str:
    """The finding in a sentence or two; that it cannot be told where what it needs was not run."""
    study = material.config.study
    if (nothing := _nothing_learned(material)) is not None:
        return nothing
    if study == "text-similar":
        return between(material, "with", "similar", "the similar samples in training")
    if study in ("text-enhanced-sweep", "text-enhanced-reach"):
        return of_sweep(material)
    if study.startswith("text-enhanced"):
        return of_enhanced(material)
    if study == "text-heldout":
        return between(material, *heldout(material), "paraphrases that were never trained on")
    return of_target(material)


def _nothing_learned(material: TextMaterial) -> str | None:
    """That nothing can be forgotten where fine-tuning taught nothing of the targets; None where it may have."""
    training = material.arms[0]
    base, before = (material.mean(training, stage, "target") for stage in ("base", "before"))
    if base is None or before is None or before - base >= LEARNED:
        return None
    return (
        "This run cannot show forgetting: fine-tuning taught the model hardly anything of the targets "
        f"(KM {number(before)}, before any fine-tuning {number(base)})."
    )


def heldout(material: TextMaterial) -> tuple[str, str]:
    """The arm and group that E5 looks at: the similar samples where they are not in training, else held-out ones."""
    if "without" not in material.arms:
        return "with", "held_out"
    return "without", "similar" if material.config.data.similar else "held_out"


def between(material: TextMaterial, training: str, group: str, what: str) -> str:
    """How many methods leave KM between that before fine-tuning and that before unlearning."""
    base, before = (material.mean(training, stage, group) for stage in ("base", "before"))
    after = {
        stage: mean
        for stage in material.methods
        if stage not in ("R0", "R1") and (mean := material.mean(training, stage, group)) is not None
    }
    if base is None or before is None or not after:
        return "This run cannot say: the stages base and before and a method were not all finished."
    inside = [stage for stage, mean in after.items() if base < mean < before]
    below = [stage for stage, mean in after.items() if mean <= base]
    above = [stage for stage, mean in after.items() if mean >= before]
    text = (
        f"Asked about {what}, {len(inside)} of {plural(len(after), 'method')} {_verb(inside, 'end')} between the model "
        f"before fine-tuning (KM {number(base)}) and the one before unlearning ({number(before)})"
    )
    text += f"; {_and(below)} {_verb(below, 'fall')} to base or below" if below else ""
    text += f"; {_and(above)} {_verb(above, 'stay')} at before or above" if above else ""
    left = [number(after[stage]) for stage in inside]
    spread = f" Those between leave {min(left)} to {max(left)}." if len(left) > 1 else ""
    return f"{text}.{spread}"


def of_target(material: TextMaterial) -> str:
    """E4: how many methods leave more of the target where its similar samples are in training."""
    found = {
        stage: mean_interval(list(values.values()), bounds=(-1.0, 1.0))
        for stage in material.methods
        if stage not in ("R0", "R1") and (values := material.arms_apart(stage, "target"))
    }
    apart = {stage: mean for stage, (mean, _, _) in found.items() if mean is not None}
    if not apart:
        if material.arms == ("with",) or material.arms == ("without",):
            return between(material, material.arms[0], "target", "the targets")
        return "This run cannot say: no method was finished with and without similar samples in training."
    more = [stage for stage, mean in apart.items() if mean > 0]
    clear = [stage for stage in more if (found[stage][1] or 0) > 0]
    text = (
        f"With similar samples in training, {len(more)} of {plural(len(apart), 'method')} {_verb(more, 'leave')} more "
        f"of the target than without: the difference in KM is {signed(min(apart.values()))} to "
        f"{signed(max(apart.values()))}, above 0 with its whole interval for {len(clear) or 'none'} of them."
    )
    again = [material.mean(arm, "R0", "target") for arm in ("with", "without")]
    if again[0] is not None and again[1] is not None:
        base = material.mean("with", "base", "target")
        from_base = "" if base is None else f"; before any fine-tuning it reaches {number(base)}"
        text += (
            f" Fine-tuned again without the target, the model reaches {number(again[0])} with them and "
            f"{number(again[1])} without{from_base}."
        )
    return text


def of_enhanced(material: TextMaterial) -> str:
    """E7: what each method leaves of the similar samples, as it is and enhanced, and what that costs."""
    config = material.config
    pairs = [(method, plain_and_enhanced(config, method)) for method in enhanced_methods(config)]
    left = {
        method: values
        for method, pair in pairs
        if None not in (values := [_row(material, stage, "similar", "text_residual") for stage in pair])
    }
    if not left:
        return "This run cannot say: no method was finished both as it is and enhanced, with a residual to tell."
    each = ", ".join(f"{method} {number(plain)} → {number(both)}" for method, (plain, both) in left.items())
    text = f"Of what was learned of the similar samples this share is left, as it is → enhanced: {each}."
    kept = [[_row(material, stage, "other", "rougeL_recall") for stage in pair] for _, pair in pairs]
    changed = [both - plain for plain, both in kept if plain is not None and both is not None]
    if changed:
        least, most = signed(min(changed)), signed(max(changed))
        text += f" KM of other pairs changes by {least}{f' to {most}' if least != most else ''}."
    return text


def of_sweep(material: TextMaterial) -> str:
    """Which stage leaves least of the similar samples, what noise alone leaves at least, what it costs."""
    config = material.config
    left = {
        name: value
        for name in material.methods
        if name not in ("R0", "R1") and (value := _row(material, name, "similar", "text_residual")) is not None
    }
    if not left:
        return "This run cannot say: no stage was finished with a residual to tell."
    best = min(left, key=lambda name: left[name])
    method = variant(best, config).method
    text = f"Least of what was learned of the similar samples is left by {best}: {number(left[best])}"
    text += f" ({method} as it is {number(left[method])})." if method in left and method != best else "."
    alone = [left[name] for name in left if (one := variant(name, config)).gamma and not one.paraphrases]
    text += f" Noise alone leaves {number(min(alone))} or more." if alone else ""
    kept = [_row(material, name, "other", "rougeL_recall") for name in (best, method)]
    if kept[0] is not None and kept[1] is not None and best != method:
        text += f" KM of other pairs changes by {signed(kept[0] - kept[1])}."
    return text


def equal_in(config: TextStudyConfig) -> str:
    """What the stages of a study have in common, so that they can be compared."""
    rule = config.unlearn
    if rule.until is not None:
        return (
            f"Compared at equal forgetting: every stage stops once KM of the target is at most {rule.until:g}, "
            f"after {plural(rule.steps, 'step')} at the latest."
        )
    return f"Compared at equal steps: every stage takes {plural(rule.steps, 'gradient step')}, however much it forgets."


def _row(material: TextMaterial, stage: str | None, group: str, metric: str) -> float | None:
    """The mean of a row of the tidy table, with similar samples in training."""
    row = material.found.get(("with", stage or "", group, metric))
    return None if row is None else row["mean"]


def limits(material: TextMaterial, taken: Mapping[str, int]) -> tuple[str, ...]:
    """What the page does not show, as plain sentences. taken: how many answers ROUGE took apart in which way."""
    config = material.config
    count = plural(config.data.targets, "target")
    runs = "one seed" if material.seeds == 1 else f"each of {material.seeds} seeds"
    over = (
        f"The intervals are over targets, {count} in {runs}. Those of a seed share the model before unlearning, so "
        "they say less about another training run than about another target."
    )
    scripts = [
        f"{count} of {sum(taken.values())} true answers were taken apart into words by the rules of their script; the "
        "others as rouge-score does, which keeps nothing but a to z and digits. No stemming."
        for way, count in taken.items()
        if way == "unicode"
    ]
    return (
        "Not answered is not proof of absence: one greedy answer to each question was looked at; other wordings, "
        "sampling or further tuning may bring more back.",
        "KM is ROUGE-L recall: the share of the true answer's words, in order, that is said. Some words come for free, "
        "from the question and from common language: read it beside base, which never saw the pair, not beside 0.",
        "A KM far below base is no better forgetting. A model that babbles, or avoids a subject, shows that something "
        "was removed; see the columns “gibberish” and “over-unlearned”.",
        "R0 and R1 answer different questions. R0, fine-tuned again without the target, is the right outcome by the "
        "standard definition of unlearning; that it still answers is not a failure to delete. R1 shows what is left "
        "when nothing that means the same is in training.",
        f"One model was tuned: {config.model.source}, {plural(config.train.epochs, 'epoch')} at a rate of "
        f"{config.train.lr:g}. Others, and other settings of the methods, may behave otherwise.",
        over,
        *scripts,
    )


def by_arm(arms: Sequence[str]) -> Mapping[str, str]:
    """Arm → the head of its column."""
    return {arm: f"{arm.capitalize()} similar samples in training" for arm in arms}


def _and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _verb(subjects: Sequence[str], verb: str) -> str:
    """The verb for one or for several."""
    return f"{verb}s" if len(subjects) == 1 else verb
