"""Language studies end to end, on a tiny untrained model: plans, results, resuming, claims, bad input."""

import json

import pytest

from vestige import language, studies
from vestige.language import collect
from vestige.language.claims import TextClaim, judge
from vestige.types import InputError, Run

TINY = [
    "model.source=tiny-llama", "data.targets=2", "data.similar=2", "data.held_out=1", "data.spare=0", "data.near=1",
    "data.other=4", "data.never_seen=2", "train.epochs=1", "train.lr=1e-3", "unlearn.steps=2", "ask.max_new_tokens=8",
    "ask.others=2", "seeds=1",
]  # fmt: skip
FEW = [*TINY, "stages=[base, before, R0, R1, GA_GDN, TV]"]


def settings(sets=TINY, study="text-target"):
    return language.configure(study, sets=list(sets))


def flags(sets):
    return [part for one in sets for part in ("--set", one)]


def conduct(out, sets=FEW, **more):
    laboratory = language.open_laboratory(settings(sets), out)
    return studies.conduct(laboratory, workers=1, say=lambda message: None, sum_up=language.result, **more)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    return out, conduct(out)


def test_the_plan_has_one_run_per_target_for_methods_and_one_for_references():
    runs = language.plan(settings())
    assert [run for run in runs if run.stage == "before"] == list(runs[:2])
    assert len([run for run in runs if run.stage == "R1"]) == 1
    assert [run.target for run in runs if (run.stage, run.training) == ("GA_GDN", "with")] == ["1", "2"]
    joint = language.plan(settings([*TINY, "unit=joint"]))
    assert [run.target for run in joint if run.stage == "GA_GDN"] == ["", ""]


def test_all_eight_methods_stand_in_each_of_the_papers_studies():
    for name, arms in (
        ("text-similar", ("with",)),
        ("text-target", ("without", "with")),
        ("text-heldout", ("without",)),
    ):
        made = settings(TINY, name)
        assert made.training == arms
        assert {"GDR", "GDR_KLN", "GDR_GDN", "NPO_KLN", "NPO_GDN", "GA_KLN", "GA_GDN", "TV"} < set(made.stages)


def test_a_study_says_what_each_model_answers(study):
    _, record = study
    assert record["comparable"]
    stages = {one["stage"] for one in record["records"]}
    assert stages == {"base", "before", "R0", "R1", "GA_GDN", "TV"}
    groups = {one["group"] for one in record["records"] if one["stage"] == "GA_GDN"}
    assert groups == {"target", "similar", "held_out", "near", "other"}
    asked = {one["role"] for one in record["answers"]}
    assert asked == {"target", "similar", "held_out"}
    target = next(one for one in record["answers"] if one["role"] == "target" and one["training"] == "with")
    assert set(target["said"]) == {"base", "before", "R0", "R1", "GA_GDN", "TV"}


def test_joint_unlearning_forgets_all_targets_at_once_and_tells_them_apart(tmp_path):
    sets = [*TINY, "stages=[base, before, GA]", "training=[with]", "unit=joint"]
    laboratory = language.open_laboratory(settings(sets), tmp_path / "run")
    for run in laboratory.plan():
        laboratory.measure(run, lambda message: None)
    record = language.result(laboratory, laboratory.plan(), complete=True)
    assert [name for name in record["provenance"]["models"] if "GA" in name] == ["seed 0 · with · GA"]
    assert len({one["target"] for one in record["records"] if one["stage"] == "GA"}) == 2


def test_answers_in_other_scripts_are_counted_and_named(study):
    texts = {0: {"a": ("Who?", "Ада Лавлейс"), "b": ("Who?", "Ada Lovelace")}}
    assert language.studies._words(texts, "auto") == {"unicode": 1, "rouge": 1}
    assert language.studies._words(texts, "rouge") == {"rouge": 2}
    _, record = study
    assert set(record["words"]) == {"rouge"}


def test_a_study_of_the_papers_size_is_planned_without_network(run, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **named: pytest.fail("asked the network"))
    model = "meta-llama/Llama-3.2-3B-Instruct"
    code, out, err = run("study", "text-target", "--preset", "paper-3b", "--model", model, "--dry-run", "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert len(plan["runs"]) == 2 * (3 + 8 * 50) + 1
    data = plan["config"]["data"]
    assert (data["targets"], data["similar"] + 1) == (50, 50)
    assert 50 * (4 + 50) + data["other"] == 4950


def test_rows_hold_km_and_what_changed(study):
    _, record = study
    found = {(row["training"], row["stage"], row["group"], row["metric"]): row for row in record["rows"]}
    km = found["with", "TV", "target", "rougeL_recall"]
    assert (km["n"], km["seeds"]) == (2, 1)
    left, base = found["with", "TV", "target", "km_left"], found["with", "base", "target", "rougeL_recall"]
    assert left["mean"] == pytest.approx(km["mean"] - base["mean"])


def test_the_same_command_resumes_and_gives_the_same_result(study, tmp_path):
    out, record = study
    before = (out / "result.json").read_bytes()
    assert conduct(out) == record
    assert (out / "result.json").read_bytes() == before
    again = tmp_path / "run"
    conduct(again, limit=4)
    conduct(again)
    assert (again / "result.json").read_bytes() == before


def test_a_study_of_other_arms_takes_over_its_runs(study, tmp_path):
    out, _ = study
    from vestige.store import Store

    sets = [*TINY, "stages=[base, before, R0, GA_GDN, TV]"]
    laboratory = language.open_laboratory(settings(sets, "text-similar"), tmp_path / "run")
    studies.adopt(laboratory, Store(out), say=lambda message: None)
    assert all(laboratory.is_done(run) for run in laboratory.plan())


def test_a_claim_is_judged_target_by_target(study):
    out, _ = study
    laboratory = language.open_laboratory(settings(FEW), out)
    taken = collect.take(laboratory, laboratory.plan())
    finished = collect.by_place(collect.measures(taken, collect.means(taken)))
    claim = TextClaim("x", "target", ("with", "R0"), ("without", "R0"), "at least", -1.0, "yes", "no")
    verdict = judge(claim, finished)
    assert (verdict["n"], verdict["seeds"], verdict["sentence"]) == (2, 1, "yes")
    assert verdict["quantity"] == "KM of targets, R0 with − R0 without"
    gone = judge(TextClaim("x", "target", ("with", "NPO"), ("with", "base"), "at least", 0, "yes", "no"), finished)
    assert gone["holds"] is None
    assert gone["sentence"].endswith("NPO with and base with similar samples were not both run")


def test_settings_of_another_method_do_not_rename_a_run():
    run = Run(0, "with", "GA_GDN", target="1")

    def name(sets):
        return language.TextLaboratory(settings(sets), None, "x").model_name(run)

    assert name(TINY) == name([*TINY, "unlearn.methods={TV: {steps: 3}}"])
    assert name(TINY) != name([*TINY, "unlearn.methods={GA_GDN: {steps: 3}}"])


def test_the_command_of_a_result_makes_it_again(study):
    _, record = study
    import shlex

    words = shlex.split(record["provenance"]["command"])
    assert words[:3] == ["vestige", "study", "text-target"]
    sets = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    seeds = int(words[words.index("--seeds") + 1])
    again = language.configure("text-target", sets=sets, seeds=seeds)
    assert again.model_dump(mode="json") == record["provenance"]["config"]


def test_the_command_line_runs_a_study(run, tmp_path):
    sets = [*TINY, "stages=[base, before, GA_GDN]", "training=[with]"]
    code, out, err = run("study", "text-similar", *flags(sets), "--out", "run", "--workers", "1", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["study"] == "text-similar"
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["study", "text-target", "--set", "stages=[before, Unheard]"], 2, "unknown stage 'Unheard'"),
        (["study", "text-target", "--set", "unlearn.rate=3"], 2, "unknown setting 'unlearn.rate'"),
        (["study", "text-target", "--data", "mnist"], 2, "is an image set and this takes text"),
        (["study", "text-target", "--set", "data.similar=30", "--model", "tiny-llama"], 2, "0 of them large enough"),
        (["study", "text-target", "--model", "/no/such/folder"], 2, "/no/such/folder"),
        (["study", "text-target", "--preset", "huge"], 2, "no preset 'huge'"),
        (["study", "image-target", "--model", "tiny-llama"], 2, "is about images"),
        (["quickstart", "--modality", "sound"], 2, "--modality is image or text"),
    ],
)
def test_bad_input_ends_before_anything_is_trained(run, tmp_path, arguments, code, says):
    status, _, err = run(*arguments, "--out", "run")
    assert status == code
    assert says in err
    assert not (tmp_path / "run" / "models").exists()


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="unknown language study"):
        language.configure("text-nothing")


def test_whether_targets_come_back_is_measured_where_asked(tmp_path):
    sets = [*TINY, "stages=[base, before, R0, GA]", "training=[with]", "measure=[answers, returns]", "relearn_steps=2"]
    record = conduct(tmp_path / "run", sets)
    found = {(row["stage"], row["metric"]) for row in record["rows"]}
    assert {("R0", "returned_8bit"), ("GA", "returned_4bit")} <= found
    assert ("before", "returned_8bit") not in found
    told = found | {(one["stage"], one["metric"]) for one in record["missing"]}
    assert {("R0", "relearn_steps"), ("GA", "relearn_steps")} <= told


def test_whether_targets_look_trained_on_is_measured_where_asked(tmp_path):
    sets = [*TINY, "stages=[base, before, GA]", "training=[with]", "measure=[answers, membership]",
            "unlearn.lr=0.01", "unlearn.steps=5"]  # fmt: skip
    record = conduct(tmp_path / "run", sets)
    found = {(row["stage"], row["metric"]): row["mean"] for row in record["rows"]}
    assert all(0 <= found[stage, "loss_auc"] <= 1 for stage in ("base", "before", "GA"))
    assert all(0 <= found[stage, "min_k_auc"] <= 1 for stage in ("base", "before", "GA"))
    assert found["base", "calibrated_auc"] == 0.5  # every target ties with every other pair
    assert found["before", "calibrated_auc"] > 0.5  # trained on, they gain more than pairs that were not
    assert found["GA", "calibrated_auc"] < found["before", "calibrated_auc"]


def test_settings_of_an_unknown_method_are_refused():
    with pytest.raises(InputError, match=r"unlearn\.methods names 'GAGA'"):
        language.plan(settings([*TINY, "unlearn.methods={GAGA: {steps: 3}}"]))


def test_the_head_of_a_language_model_is_split_among_training_pairs(study, run):
    out, _ = study
    code, said, err = run("influence", "--out", out, "--training", "with", "--by", "representer", "--json")
    assert code == 0, err
    for one in json.loads(said)["shares"]:
        assert sum(one["parts"].values()) == pytest.approx(one["margin"])
        assert (one["by"], one["refit"], "of their margins" in one["note"]) == ("representer", True, True)
    code, said, _ = run("influence", "--out", out, "--training", "with", "--stage", "R0", "--by", "representer")
    assert (code, "unexplained" in said) == (0, True)


def test_influence_of_a_language_model_is_told_by_gradients(study, run):
    out, _ = study
    code, said, err = run("influence", "--out", out, "--training", "with", "--json")
    assert code == 0, err
    shares = json.loads(said)["shares"]
    assert [one["stage"] for one in shares] == ["before", "before"]
    assert all(one["by"] == "gradient" and "approximation" in one["note"] for one in shares)
    assert all(one["similarity"]["own"] == pytest.approx(1) for one in shares)
    assert run("influence", "--out", out, "--training", "with")[0] == 0
    for more, says in ((["--by", "exact"], "or --by representer"), (["--stage", "base"], "trained on none"),
                       (["--stage", "R9"], "has no run of R9"), (["--ids", "nobody"], "nobody")):  # fmt: skip
        code, _, err = run("influence", "--out", out, *more)
        assert (code, says in err) == (2, True), err
