"""What enhanced schemes add to language methods: noise, paraphrases, protection, and how much of them is enough."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from test_language import CONFIG, FORGET, RETAIN, pairs, same
from vestige import language, text
from vestige.config import AskConfig, LMConfig, LoRA, TextRecipe, TextStudyConfig, TextUnlearnConfig, TuneConfig
from vestige.language.choose import choose, grid
from vestige.language.runs import check_layers
from vestige.random import stream
from vestige.stages import TextStage, parse_text
from vestige.types import InputError, Run, Samples, Scores
from vestige.unlearn import LANGUAGE_METHODS
from vestige.unlearn.enhance import Enhancement, noisy
from vestige.unlearn.language import learn
from vestige.unlearn.language_task import Task, forgetting

MORE = {
    "pair/0": Samples(
        ("spare/0", "spare/1", "spare/2"),
        np.array(["By whom was the clock built?", "The clock's maker?", "Name who built the clock."], dtype=object),
        np.array(["by Ada Quince", "Ada Quince it was", "Ada Quince"], dtype=object),
    ),
    "pair/3": Samples(
        ("spare/3",), np.array(["By what is it driven?"], dtype=object), np.array(["a stone that falls"], dtype=object)
    ),
}
BOTH = Enhancement(MORE, 0.5)
RECIPE = TextRecipe(
    model=CONFIG,
    train=TuneConfig(epochs=4, lr=1e-2, batch=3),
    ask=AskConfig(max_new_tokens=4),
    unlearn=TextUnlearnConfig(steps=2, lr=1e-3, retain_batch=2, forget_batch=2),
)
TAKES_NOTHING = ("retrain", "finetune")
PROTECTABLE = ("finetune", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "RMU")


@pytest.fixture(scope="module")
def before():
    return learn(pairs(), modality=text, config=RECIPE, seed=0)


@pytest.fixture(scope="module")
def plain(before):
    """Each method as it is, carried out once."""
    return cache(lambda name: apply(name, before))


def setting(**unlearn):
    return RECIPE.model_copy(update={"unlearn": RECIPE.unlearn.model_copy(update=unlearn)})


def apply(name, model, config=RECIPE, seed=0, modality=text, **options):
    return LANGUAGE_METHODS[name](model, FORGET, RETAIN, modality=modality, config=config, seed=seed, **options)


def loud(model, gamma=0.5, sigma="relative", layers=("embed",), seed=0):
    """What noise adds at the embedding in one pass, the states without it, the mask, the losses with it and without."""
    seen = []

    def part(now, samples):
        with text.altered(now, lambda states, mask: (seen.append((states.detach(), mask)), states)[1], ["embed"]):
            return text.losses(now, samples)

    wrap = noisy(text, gamma, sigma=sigma, layers=layers, generator=stream(seed, "unlearn-noise"))
    with torch.no_grad():
        values = wrap(part)(model, pairs())
        clean = part(model, pairs())
    (changed, mask), (plain, _) = seen
    return changed - plain, plain, mask, values, clean


# Noise.


def test_noise_is_of_the_size_that_gamma_says_and_fills_no_place_without_a_token(before):
    by, plain, mask, values, clean = loud(before)
    assert not mask.all()
    assert (by[~mask] == 0).all()
    assert (by[mask] != 0).all()
    rms = plain[mask].square().mean().sqrt()
    assert by[mask].square().mean().sqrt() == pytest.approx(0.5 * float(rms), rel=0.05)
    assert loud(before, sigma="absolute")[0][mask].square().mean().sqrt() == pytest.approx(0.5, rel=0.05)
    assert not torch.equal(values, clean)


def test_relative_noise_grows_with_the_states():
    model = text.build(CONFIG, generator=stream(0, "train"))
    small = loud(model)[0]
    with torch.no_grad():
        model.causal.get_input_embeddings().weight.mul_(3)
    assert torch.allclose(loud(model)[0], 3 * small, rtol=1e-3, atol=1e-4)


def test_one_seed_repeats_and_every_pass_draws_anew(before):
    assert torch.equal(loud(before)[0], loud(before)[0])
    assert not torch.equal(loud(before)[0], loud(before, seed=1)[0])
    wrap = noisy(text, 0.5, sigma="relative", layers=["embed"], generator=stream(0, "n"))(text.losses)
    with torch.no_grad():
        assert not torch.equal(wrap(before, FORGET), wrap(before, FORGET))


@pytest.mark.parametrize("source", ["tiny-llama", "tiny-gpt-neo", "tiny-opt"])
def test_noise_reaches_every_architecture_and_every_layer(source):
    model = text.build(LMConfig(source=source, precision="float32"), generator=stream(0, "train"))
    with torch.no_grad():
        clean = text.losses(model, FORGET)
        for layers in (["embed"], [0], [1], ["embed", 0]):
            wrap = noisy(text, 0.5, sigma="relative", layers=layers, generator=stream(0, "n"))
            assert not torch.equal(wrap(text.losses)(model, FORGET), clean)
            assert torch.equal(text.losses(model, FORGET), clean)  # nothing is left behind


def test_nothing_is_left_behind_by_a_loss_that_fails(before):
    with pytest.raises(ZeroDivisionError):
        noisy(text, 0.5, sigma="relative", layers=["embed"], generator=stream(0, "n"))(lambda *_: 1 / 0)(before, FORGET)
    assert not before._forward_pre_hooks
    assert not before.causal.get_input_embeddings()._forward_hooks


def test_noise_is_in_no_pass_but_those_over_what_is_forgotten(before):
    """By the states themselves: NPO_KLN asks θ_0 of F and R, the model of F and R, and the stop rule asks it too."""
    passes = set()

    class Watching:
        """The modality, noting of each pass what for, of whom, in which model, and whether it had noise."""

        def __getattr__(self, name):
            return getattr(text, name)

        def losses(self, model, samples):
            return self.noted("loss", model, samples, lambda: text.losses(model, samples))

        def hidden(self, model, samples, layer=None):
            return self.noted("states", model, samples, lambda: text.hidden(model, samples, layer))

        def logits(self, model, samples):
            return self.noted("scores", model, samples, lambda: text.logits(model, samples))

        def recover(self, model, samples, *, config):
            scores = self.noted("answers", model, samples, lambda: text.recover(model, samples, config=config))
            return replace(scores, value=np.ones(len(samples)))  # never enough: all steps are taken

        def noted(self, what, model, samples, run):
            kind = "retain" if set(samples.ids) <= set(RETAIN.ids) else "forget"
            which = "before" if model is before else "now"
            table = model.causal.get_input_embeddings()

            def note(_, given, output):
                passes.add((what, kind, which, not torch.equal(output, table.weight[given[0]])))

            hook = table.register_forward_hook(note)
            try:
                return run()
            finally:
                hook.remove()

    config = setting(until=0.0, utility=1.0).model_copy(update={"ask": AskConfig(max_new_tokens=4)})
    apply("NPO_KLN", before, config, modality=Watching(), enhancement=BOTH)
    assert passes == {
        ("loss", "forget", "before", False), ("loss", "forget", "now", True), ("states", "retain", "before", False),
        ("scores", "retain", "now", False), ("answers", "forget", "now", False), ("answers", "retain", "now", False),
    }  # fmt: skip


def test_unknown_layers_are_refused_with_those_that_are_known(before):
    for layers in (["head"], [2], [-1], ["0"]):
        with pytest.raises(InputError, match="embed, and its blocks 0 to 1"):
            apply("GA", before, setting(noise_layers=layers), enhancement=Enhancement(gamma=0.5))
    config = study(["GA~0.5"], "unlearn.noise_layers=[embed, 7]")
    with pytest.raises(InputError, match="no layer 7"):
        check_layers(config)
    check_layers(study(["GA"], "unlearn.noise_layers=[embed, 7]"))
    check_layers(study(["GA~0.5"], "unlearn.noise_layers=[embed, 1]"))


# What is forgotten with the targets.


def test_the_loss_is_that_of_the_target_and_the_mean_of_its_paraphrases(before):
    """α1 · mean over the targets + α2 · mean over their paraphrases (eq. 4), by hand."""
    config = setting(alphas=(2.0, 3.0, 1.0))
    task = Task(before, FORGET, RETAIN, text, config, 0, Enhancement(MORE))
    batch = type("B", (), {"forget": torch.tensor([0])})()
    target, also = forgetting(task, task.nll)(before, batch)
    assert target.item() == pytest.approx(2 * task.nll(before, FORGET.take(["pair/0"])).mean().item())
    assert also.item() == pytest.approx(3 * task.nll(before, MORE["pair/0"]).mean().item(), rel=1e-5)
    assert task.wide.forget.ids == (*FORGET.ids, "spare/0", "spare/1", "spare/2", "spare/3")


@pytest.mark.parametrize("name", LANGUAGE_METHODS)
def test_every_method_takes_noise_and_paraphrases_or_says_why_not(name, before, plain):
    if name in TAKES_NOTHING:
        for enhancement in (Enhancement(gamma=0.5), Enhancement(MORE)):
            with pytest.raises(InputError, match="no loss of its own on what must be forgotten"):
                apply(name, before, enhancement=enhancement)
        return
    after = apply(name, before, enhancement=BOTH)
    assert all(math.isfinite(float(weight.sum())) for weight in after.parameters())
    assert not same(after, plain(name))
    assert same(after, apply(name, before, enhancement=BOTH))


def test_each_part_of_an_enhancement_counts_and_noise_is_drawn_by_the_seed(before, plain):
    """GA draws nothing itself: what differs between two seeds is the noise."""
    noise = Enhancement(gamma=0.5)
    made = [plain("GA"), *(apply("GA", before, enhancement=one) for one in (noise, Enhancement(MORE), BOTH))]
    made.append(apply("GA", before, seed=1, enhancement=noise))
    assert not any(same(one, two) for place, one in enumerate(made) for two in made[:place])


@pytest.mark.parametrize("name", LANGUAGE_METHODS)
def test_nothing_added_is_the_plain_method_to_the_bit(name, before, plain):
    odd = {"alphas": (0.5, 2.0, 3.0), "gamma": 9.0, "paraphrases": 9, "sigma": "absolute", "noise_layers": (0,)}
    nothing = Enhancement({key: found.at(slice(0)) for key, found in MORE.items()}, 0.0)
    assert same(plain(name), apply(name, before, setting(**odd), enhancement=nothing))


def test_paraphrases_make_the_wording_that_was_not_named_less_likely_too(before):
    steps, unseen = setting(steps=20, lr=1e-3), MORE["pair/0"].take(["spare/2"])
    more = Enhancement({"pair/0": MORE["pair/0"].at(slice(2))})
    models = [apply("NPO_GDN", before, steps, enhancement=one) for one in (Enhancement(), more)]
    with torch.no_grad():
        plain, wide = (text.losses(model, unseen) for model in models)
    assert wide > plain


def test_what_is_unlearned_may_not_be_retained(before):
    asked = Samples(("spare/9",), RETAIN.x[:1], np.array(["anything"], dtype=object))
    with pytest.raises(InputError, match="'spare/9' would be forgotten and retained"):
        apply("GA", before, enhancement=Enhancement({"pair/0": asked}))


def test_adapters_learn_under_noise_and_the_base_stays():
    config = RECIPE.model_copy(update={"model": CONFIG.model_copy(update={"lora": LoRA(rank=4, alpha=8)})})
    model = text.build(config.model, generator=stream(0, "train"))
    after = apply("NPO_KLN", model, config, enhancement=BOTH)
    own = dict(after.named_parameters())
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, own[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert not same(after, apply("NPO_KLN", model, config))


# Protection of neighbours.


@pytest.mark.parametrize("name", LANGUAGE_METHODS)
def test_protection_changes_methods_that_look_at_retained_pairs(name, before, plain):
    protected = Enhancement(near=("pair/5",))
    if name not in PROTECTABLE:
        with pytest.raises(InputError, match="no loss on retained pairs"):
            apply(name, before, enhancement=protected)
        return
    assert not same(plain(name), apply(name, before, enhancement=protected))


def test_protected_neighbours_are_in_every_retained_batch_once_and_nothing_else_changes(before):
    seen = {"forget": [], "retain": []}

    class Noting:
        def __getattr__(self, name):
            return getattr(text, name)

        def losses(self, model, samples):
            kind = "retain" if set(samples.ids) <= set(RETAIN.ids) else "forget"
            seen[kind].append(samples.ids)
            return text.losses(model, samples)

    apply("GA_GDN", before, modality=Noting())
    plain = {kind: list(batches) for kind, batches in seen.items()}
    for batches in seen.values():
        batches.clear()
    apply("GA_GDN", before, modality=Noting(), enhancement=Enhancement(near=("pair/5",)))
    assert seen["forget"] == plain["forget"]
    assert all("pair/5" in batch for batch in seen["retain"])
    assert [tuple(name for name in batch if name != "pair/5") for batch in seen["retain"]] == [
        tuple(name for name in batch if name != "pair/5") for batch in plain["retain"]
    ]


# Stages.


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("NPO_GDN", TextStage("NPO_GDN")),
        ("NPO_GDN-1+5", TextStage("NPO_GDN", 5)),
        ("NPO_GDN~0.618", TextStage("NPO_GDN", gamma=0.618)),
        ("GDR-1+5~2", TextStage("GDR", 5, 2.0)),
        ("NPO_GDN-1+5~.1-near", TextStage("NPO_GDN", 5, 0.1, is_protected=True)),
        ("Enhanced GDR_GDN", TextStage("GDR_GDN", 4, 0.3)),
        ("Enhanced GDR_GDN-near", TextStage("GDR_GDN", 4, 0.3, is_protected=True)),
        ("NPO_GDN-apart", TextStage("NPO_GDN", similar="apart")),
        ("NPO_GDN-similar-near", TextStage("NPO_GDN", similar="forgotten", is_protected=True)),
        ("NPO_GDN-1+5~2-apart", TextStage("NPO_GDN", 5, 2.0, similar="apart")),
        ("Enhanced NPO_GDN-apart", TextStage("NPO_GDN", 4, 0.3, similar="apart")),
        ("NPO_GDN-near-apart", TextStage("NPO_GDN-near-apart")),
        ("NPO_GDN-auto0.2", TextStage("NPO_GDN", residual=0.2)),
        ("NPO_GDN-auto2", TextStage("NPO_GDN-auto2")),
        ("Enhanced NPO_GDN-1+3", TextStage("Enhanced NPO_GDN-1+3")),
    ],
)
def test_names_of_stages(name, stage):
    assert parse_text(name, paraphrases=4, gamma=0.3) == stage


TINY = [
    "model.source=tiny-llama", "data.targets=1", "data.similar=2", "data.held_out=1", "data.spare=3", "data.near=1",
    "data.other=4", "data.never_seen=2", "train.epochs=1", "train.lr=1e-3", "unlearn.steps=2", "ask.max_new_tokens=8",
    "ask.others=2", "seeds=1", "training=[with]", "unlearn.paraphrases=2", "unlearn.validation=1",
]  # fmt: skip


def study(stages, *sets) -> TextStudyConfig:
    return language.configure("text-target", sets=[*TINY, f"stages=[{', '.join(stages)}]", *sets])


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ("NPO_GDN-1+4", "unlearns 4 paraphrases .* 3 are spared; raise data.spare"),
        ("Enhanced NPO_GDN", "unlearns 9 paraphrases"),
        ("NPO_GDN-auto0.1", "is chosen by 4 paraphrases"),
        ("retrain~0.5", "stage 'retrain~0.5': retrain has no loss of its own"),
        ("GDR-near", "GDR has no loss on retained pairs"),
        ("TV-1+1-near", "TV has no loss on retained pairs"),
        ("R0~0.5", "unknown stage 'R0~0.5'"),
        ("NPO_GDN~-1", "unknown stage"),
    ],
)
def test_stages_that_cannot_be_are_refused_by_the_plan(stage, says):
    with pytest.raises(InputError, match=says):
        language.plan(study([stage], "unlearn.paraphrases=9", "unlearn.validation=4"))


def test_protection_needs_neighbours():
    with pytest.raises(InputError, match=r"data\.near is 0"):
        language.plan(study(["NPO_GDN-near"], "data.near=0"))


@pytest.mark.parametrize(
    ("sets", "says"),
    [(["data.similar=0"], r"data\.similar is 0"), (["training=[without]"], "add with to training")],
)
def test_what_is_about_similar_samples_needs_some_in_training(sets, says):
    for stage in ("NPO_GDN-apart", "NPO_GDN-similar"):
        with pytest.raises(InputError, match=says):
            language.plan(study([stage], *sets))
    planned = language.plan(study(["before", "NPO_GDN-apart"], "training=[with, without]"))
    assert {run.training for run in planned if run.stage == "NPO_GDN-apart"} == {"with"}


@pytest.mark.parametrize(
    ("stage", "forgets"), [("NPO_GDN", False), ("NPO_GDN-apart", False), ("NPO_GDN-similar", True)]
)
def test_similar_samples_are_retained_or_apart_or_forgotten(stage, forgets, tmp_path, monkeypatch):
    from vestige.unlearn import language as methods

    laboratory = language.open_laboratory(study([stage]), tmp_path / "run")
    samples, split = laboratory.data(0, lambda message: None)
    seen = {}

    def method(model, forget, retain, **_):
        seen.update(forget=forget.ids, retain=retain.ids)
        return model

    monkeypatch.setitem(methods.LANGUAGE_METHODS, "NPO_GDN", method)
    laboratory.model(Run(0, "with", stage, target="1"), samples, split, lambda message: None)
    target, alike = split.target[0], split.all_similar()
    assert sorted(seen["forget"]) == sorted([target, *(alike if forgets else ())])
    assert set(seen["retain"]) == {*split.training("with")} - {target, *(() if stage == "NPO_GDN" else alike)}


def test_plain_stages_keep_their_names_and_enhanced_ones_go_by_what_they_use():
    """The names were written down before there were enhanced stages."""

    def name(stage, *sets):
        return language.TextLaboratory(study([stage], *sets), None, "x").model_name(Run(0, "with", stage, target="1"))

    settings = language.configure("text-target", sets=["data.spare=5"])
    known = {"before": "9ee5f3531d362bc3", "GA_GDN": "51e3ea9867edd805", "TV": "caf07cabe6c9b003"}
    laboratory = language.TextLaboratory(settings, None, "x")
    assert {stage: laboratory.model_name(Run(0, "with", stage, target="1")) for stage in known} == known
    for change in ("gamma=0.3", "paraphrases=1", "sigma=absolute", "noise_layers=[0]", "alphas=[1, 2, 1]"):
        key = change.partition("=")[0]
        assert name("NPO_GDN") == name("NPO_GDN", f"unlearn.{change}")
        assert name("NPO_GDN-near") == name("NPO_GDN-near", f"unlearn.{change}")
        assert name("Enhanced NPO_GDN") != name("Enhanced NPO_GDN", f"unlearn.{change}")
        assert (name("NPO_GDN~0.3") == name("NPO_GDN~0.3", f"unlearn.{change}")) == (key in ("gamma", "paraphrases"))
        assert (name("NPO_GDN-1+2") == name("NPO_GDN-1+2", f"unlearn.{change}")) == (key != "alphas")
        assert name("NPO_GDN-auto0.2") != name("NPO_GDN-auto0.2", f"unlearn.{change}")
    assert name("Enhanced NPO_GDN") != name("Enhanced NPO_GDN", "unlearn.methods={NPO_GDN: {steps: 3}}")
    assert name("Enhanced NPO_GDN") == name("Enhanced NPO_GDN", "unlearn.methods={GA: {steps: 3}}")


def test_a_laboratory_carries_out_enhanced_stages(tmp_path):
    stages = [
        "NPO_GDN",
        "NPO_GDN-1+0",
        "NPO_GDN~0",
        "Enhanced NPO_GDN",
        "NPO_GDN-1+2~0.618",
        "NPO_GDN-near",
        "GA-auto0",
    ]
    config = study(stages)
    laboratory = language.open_laboratory(config, tmp_path / "run")
    runs = {run.stage: run for run in laboratory.plan()}
    samples, split = laboratory.data(0, lambda message: None)
    made = {name: laboratory.model(run, samples, split, lambda message: None) for name, run in runs.items()}
    assert same(made["NPO_GDN"], made["NPO_GDN-1+0"])
    assert same(made["NPO_GDN"], made["NPO_GDN~0"])
    assert same(made["Enhanced NPO_GDN"], made["NPO_GDN-1+2~0.618"])
    assert not same(made["NPO_GDN"], made["Enhanced NPO_GDN"])
    assert not same(made["NPO_GDN"], made["NPO_GDN-near"])
    record = laboratory.choice(runs["GA-auto0"])
    assert record["validation"] == list(split.spare[split.target[0]][2:])
    assert not set(record["validation"]) & set(laboratory.asked(split, runs["GA-auto0"]))
    assert record["tries"][0] == record["tries"][0] | {"paraphrases": 0, "gamma": 0.0}
    assert laboratory.choice(runs["NPO_GDN"]) is None


# Choosing.


class Foretold:
    """The modality, with recall of validation pairs after each step as told, a list per attempt; retained pairs keep 1.

    The first number of each list is that of the model before.
    """

    def __init__(self, *attempts):
        self.told = [list(one) for one in attempts]

    def __getattr__(self, name):
        return getattr(text, name)

    def recover(self, model, samples, *, config):
        if samples.ids[0] in RETAIN.ids:
            return Scores(samples.ids, np.ones(len(samples)), {})
        value = self.told[0].pop(0)
        if not self.told[0]:
            self.told.pop(0)
        return Scores(samples.ids, np.full(len(samples), value), {})


def chosen(before, modality, wanted=0.2, base=0.1, steps=2):
    most = Enhancement({"pair/0": MORE["pair/0"].at(slice(2))}, 0.5)
    return choose(
        LANGUAGE_METHODS["GA"], before, FORGET, RETAIN, most, MORE["pair/0"].take(["spare/2"]), wanted=wanted,
        base=base, modality=modality, config=setting(steps=steps), seed=0,
    )  # fmt: skip


def test_attempts_go_from_mild_to_strong():
    assert grid(5, 0.6) == ((0, 0.0), (0, 0.6), (3, 0.0), (3, 0.6), (5, 0.0), (5, 0.6))
    assert grid(1, 0.0) == ((0, 0.0), (1, 0.0))


def test_the_first_attempt_that_leaves_little_enough_is_taken(before):
    """Base 0.1, before 0.6: a residual of 0.2 is a recall of 0.2. Told: at the start, after each step, at the end."""
    told = Foretold([0.6], [0.6, 0.5, 0.4, 0.4], [0.6, 0.2, 0.2])
    model, tries = chosen(before, told)
    assert [(one.paraphrases, one.gamma, one.steps, one.is_enough) for one in tries] == [
        (0, 0.0, 2, False), (0, 0.5, 1, True)
    ]  # fmt: skip
    assert tries[0].residual == pytest.approx(0.6)
    assert tries[1].residual == pytest.approx(0.2)
    assert same(model, apply("GA", before, setting(steps=1), enhancement=Enhancement(gamma=0.5)))


def test_where_no_attempt_is_enough_the_one_that_leaves_least_is_taken(before):
    told = [[0.6, 0.5, left, left] for left in (0.5, 0.4, 0.3, 0.4, 0.5, 0.5)]
    model, tries = chosen(before, Foretold([0.6], *told))
    assert [one.is_enough for one in tries] == [False] * 6
    least = Enhancement({"pair/0": MORE["pair/0"].at(slice(1))})
    assert same(model, apply("GA", before, setting(steps=2), enhancement=least))


def test_where_nothing_was_known_the_plain_method_is_taken_and_no_residual_is_claimed(before):
    model, tries = chosen(before, Foretold([0.12], [0.05]), steps=2)
    assert [(one.paraphrases, one.gamma, one.residual, one.is_enough) for one in tries] == [(0, 0.0, None, False)]
    assert same(model, apply("GA", before, setting(steps=2)))


def test_an_attempt_that_costs_too_much_ends_within_the_budget(before):
    class Costly(Foretold):
        kept = iter([1.0, 1.0, 0.5, 0.95])  # before; at the start, after a step, at the end

        def recover(self, model, samples, *, config):
            if samples.ids[0] in RETAIN.ids:
                return Scores(samples.ids, np.full(len(samples), next(self.kept, 1.0)), {})
            return super().recover(model, samples, config=config)

    _, tries = chosen(before, Costly([0.6], [0.6, 0.6], [0.1, 0.1]))
    assert not tries[0].is_enough
    assert tries[0].steps == 1
    assert tries[0].loss == pytest.approx(0.05)
    assert tries[1].is_enough
