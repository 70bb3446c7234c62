"""Run what docs/results/ reports, and write it there: tables, result.json, the paper-size report.

    python benchmarks/results.py [NAME …]    names: those of STUDIES and BENCHMARKS below; default all

Each study runs in a fresh folder under runs/results/, through the command line, as a user would run it.
Wall time and the memory of the whole process tree are measured from outside.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from vestige.difficulty.journal import FILE, Journal
from vestige.provenance import host
from vestige.report import difficulty
from vestige.terminal import with_interval

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "results"
DIFFICULTY = "--samples 100 --seeds 3 --algorithms FT,GA,NegGrad+,relabel,SCRUB,SSD"
STUDIES = {
    "quickstart": "quickstart",
    "small-mnist": "study image-target --preset small --data mnist --seeds 5",
    "small-fmnist": "study image-target --preset small --data fmnist --seeds 5",
    "similar-mnist": "study image-similar --preset small --data mnist --seed 10 --seeds 5",
    "similar-fmnist": "study image-similar --preset small --data fmnist --seed 10 --seeds 5",
    "enhanced-mnist": "study image-enhanced --preset small --data mnist --seed 10 --seeds 5",
    "enhanced-fmnist": "study image-enhanced --preset small --data fmnist --seed 10 --seeds 5",
    "dose-mnist": "study image-dose --preset small --data mnist",
    "paper-mnist": "study image-target --preset paper --data mnist --seed 20",
    "paper-similar-mnist": "study image-similar --preset paper --data mnist --seed 20",
    "paper-enhanced-mnist": "study image-enhanced --preset paper --data mnist --seed 20",
    "paper-fmnist": "study image-target --preset paper --data fmnist --seed 20",
    "paper-similar-fmnist": "study image-similar --preset paper --data fmnist --seed 20",
    "paper-enhanced-fmnist": "study image-enhanced --preset paper --data fmnist --seed 20",
    "small-emoji": "study image-target --preset small --data emoji --seed 10 --seeds 3",
    "similar-emoji": "study image-similar --preset small --data emoji --seed 10 --seeds 3",
    "enhanced-emoji": "study image-enhanced --preset small --data emoji --seed 10 --seeds 3",
    "methods-mnist": "study image-methods --preset small --data mnist --seeds 5",
    "quickstart-text": "quickstart --modality text",
    "text-target": "study text-target --preset small",
    "text-similar": "study text-similar --preset small",
    "text-heldout": "study text-heldout --preset small",
    "text-enhanced": "study text-enhanced --preset small",
    "text-enhanced-equal": "study text-enhanced-equal --preset small --seeds 1",
    "text-enhanced-reach": "study text-enhanced-reach --preset small",
    "text-enhanced-sweep": "study text-enhanced-sweep --preset small",
    "difficulty-mnist": f"difficulty --data mnist --model cnn {DIFFICULTY} --set doses=[2,10] --set dosed=10",
    "difficulty-fmnist": f"difficulty --data fmnist --model cnn {DIFFICULTY} --set doses=[2,10] --set dosed=10",
    "difficulty-reviews": f"difficulty --data reviews --model words {DIFFICULTY} --set doses=[2,10] --set dosed=10",
    "difficulty-joined": "difficulty join runs/results/difficulty-mnist runs/results/difficulty-fmnist",
}
SHARED = {
    "enhanced-mnist": "similar-mnist", "enhanced-fmnist": "similar-fmnist", "similar-emoji": "small-emoji",
    "enhanced-emoji": "small-emoji", "paper-similar-mnist": "paper-mnist", "paper-enhanced-mnist": "paper-mnist",
    "paper-similar-fmnist": "paper-fmnist", "paper-enhanced-fmnist": "paper-fmnist",
    "text-similar": "text-target", "text-heldout": "text-target", "text-enhanced-equal": "text-enhanced",
    "text-enhanced-reach": "text-enhanced",
}  # fmt: skip
"""Study → one with runs in common, which are taken over from there where they stand."""
RESUMED = ("dose-mnist", *(name for name in STUDIES if name.startswith(("text-", "difficulty-"))))
"""Studies of hours: what an earlier call has finished stands, and what all steps took is told from their run.json."""
PAGES = ("paper-mnist", "small-emoji", "text-target", "text-enhanced")
"""Studies whose report is kept too."""
BENCHMARKS = ("reconstruction", "recovery", "influence")
COLUMNS = (
    ("target", "ncc", "NCC target"), ("target", "residual", "residual"), ("similar", "ncc", "NCC similar"),
    ("near", "ncc", "NCC near"), ("other", "ncc", "NCC other"), ("never_seen_same_class", "ncc", "NCC null"),
    ("held_out", "ncc", "NCC held-out"), ("target", "ssim", "SSIM target"), ("member", "auc", "AUC members"),
    ("member", "tpr_at_1pct_fpr", "TPR at 1 % FPR"), ("target", "span_auc", "span AUC target"),
    ("member", "span_auc", "span AUC members"), ("model", "forget_accuracy", "accuracy on targets"),
    ("model", "near_accuracy", "accuracy on near"), ("model", "test_accuracy", "test accuracy"),
    ("model", "constructed_copies", "copies among the k"),
)  # fmt: skip
OUTPUT_COLUMNS = (
    ("model", "UA", "UA"), ("model", "RA", "RA"), ("model", "TA", "TA"), ("model", "near_accuracy", "accuracy on near"),
    ("target", "mia_efficacy", "MIA-efficacy"), ("vs_R0", "average_gap", "average gap to R0"),
    ("vs_R1", "average_gap", "to R1"), ("vs_R0", "tow", "ToW to R0"), ("vs_R0", "js", "JS to R0"),
    ("vs_R1", "js", "JS to R1"), ("vs_R0", "activation_distance", "activation distance to R0"),
    ("vs_R0", "residual_knowledge", "residual knowledge to R0"), ("target", "zrf", "ZRF"),
    ("target", "relearn_time", "relearn time"), ("target", "loss_auc", "loss AUC"), ("target", "lira_auc", "LiRA AUC"),
    ("target", "rmia_auc", "RMIA AUC"), ("member", "lira_auc", "LiRA AUC of members"),
    ("member", "lira_tpr_at_1pct_fpr", "LiRA TPR at 1 % FPR of members"), ("target", "u_lira_auc", "U-LiRA AUC"),
    ("target", "klom", "KLOM"), ("target", "forgetting_quality", "forgetting quality"), ("model", "rte", "RTE"),
)  # fmt: skip


TEXT_COLUMNS = (
    ("target", "rougeL_recall", "KM target"), ("similar", "rougeL_recall", "similar"),
    ("held_out", "rougeL_recall", "held-out"), ("near", "rougeL_recall", "near"), ("other", "rougeL_recall", "other"),
    ("target", "km_left", "target − base"), ("similar", "km_left", "similar − base"),
    ("target", "text_residual", "residual target"), ("similar", "text_residual", "residual similar"),
    ("held_out", "text_residual", "residual held-out"), ("choices", "choice_accuracy", "multiple choice"),
    ("choices", "perplexity_ratio", "its perplexity, × before"), ("other", "perplexity_ratio", "that of other pairs"),
    ("target", "probability", "probability target"), ("target", "extraction_strength", "extraction strength"),
    ("target", "min_k", "min-k % of the target"),
    ("target", "loss_auc", "loss AUC"), ("target", "min_k_auc", "min-k AUC"),
    ("target", "calibrated_auc", "calibrated AUC"),
    ("other", "gibberish", "gibberish among others"),
)  # fmt: skip


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a study does not outlive this
    DOCS.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or [*STUDIES, *BENCHMARKS]:
        if name in BENCHMARKS:
            script = [sys.executable, f"benchmarks/{name}.py", "--markdown", str(DOCS / f"{name}.md")]
            subprocess.run(script, check=True, cwd=ROOT)
        else:
            study(name, STUDIES[name])


def study(name: str, arguments: str) -> None:
    out = ROOT / "runs" / "results" / name
    if name not in RESUMED:
        shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "vestige", *arguments.split(), "--out", str(out), "--json"]
    shared = out.parent / SHARED[name] if name in SHARED else None
    if shared and shared.is_dir():
        command += ["--reuse", str(shared)]
    start = time.time()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, sum(resident(pid) for pid in family(process.pid)))
            time.sleep(0.1)
    finally:
        process.terminate()
    seconds = time.time() - start
    if process.returncode:
        sys.exit(f"{arguments} ended with status {process.returncode}")
    record = json.loads((out / "result.json").read_text(encoding="utf-8"))
    run = json.loads((out / "run.json").read_text(encoding="utf-8")) if (out / "run.json").exists() else {}
    taken = f" beside the runs shared with {SHARED[name]}" if "--reuse" in command else ""
    machine = f"{host()['cpus']} cores, {host()['processor']}"
    cost = (
        f"{seconds:.0f} s{taken} and at most {peak / 2**20:.0f} MB resident over the process tree, start-up included; "
        f"{machine}."
    )
    if name in RESUMED and run:
        spent = [json.loads(file.read_text(encoding="utf-8"))["seconds"] for file in out.glob("*/[!.]*/run.json")]
        spent += Journal(out / FILE).seconds().values() if (out / FILE).exists() else []
        side = "on a shared machine"
        if record.get("study") != "difficulty":
            side = f"{run['workers']} of them side by side {side}"
        cost = f"{sum(spent):.0f} s summed over {len(spent)} steps, {side}; {machine}."
    if record.get("study") == "difficulty":
        written = difficulty_page(name, arguments, record, cost)
        shutil.copy(out / "difficulty.html", DOCS / f"{name}.html")
    else:
        written = page(name, arguments, record, cost, run["rte"])
    (DOCS / f"{name}.md").write_text(written, encoding="utf-8")
    shutil.copy(out / "result.json", DOCS / f"{name}.json")
    if name in PAGES:
        shutil.copy(out / "report.html", DOCS / f"{name}.html")


def page(name: str, arguments: str, record: dict, cost: str, times: list[dict]) -> str:
    config = record["provenance"]["config"]
    seeds, about_text = config["seeds"], config["modality"] == "text"
    interval = "t interval over the seeds' means" if seeds > 1 else "interval over the samples of one seed"
    paired = "stages paired by sample; n = samples × seeds"
    null = "Null: never-seen images of the targets' classes."
    if about_text:
        interval, paired = (
            "t interval over targets, those of a seed share a fine-tuning",
            "paired by target; n = targets",
        )
        null = "KM: ROUGE-L recall of the true answer in what the model says."
    lines = [f"# {name}", "", f"`vestige {arguments}`", "", cost, ""]
    if record["verdicts"]:
        lines += ["## Verdicts", ""]
        lines += ["| claim | quantity | mean [95 %] | bar | holds |", "|---|---|---|---|---|"]
    for verdict in record["verdicts"]:
        holds = {True: "yes", False: "no", None: "not computed"}[verdict["holds"]]
        holds += ", whole interval" if verdict["clear"] else ""
        lines.append(f"| {verdict['claim']} | {verdict['quantity']} | {cell(verdict)} | {verdict['rule']} | {holds} |")
    counted = record["verdicts"] or [row for row in record["rows"] if row["group"] == "target"] or record["rows"]
    ns = ", ".join(dict.fromkeys(str(one["n"]) for one in counted))
    lines += ["", f"95 % {interval}; {paired}: {ns}.", "", "## Table", ""]
    found_rows = [*record["rows"], *times]
    metrics = {row["metric"] for row in found_rows}
    columns = TEXT_COLUMNS if "rougeL_recall" in metrics else OUTPUT_COLUMNS if "UA" in metrics else COLUMNS
    if about_text:  # utility is not asked for in every study
        columns = tuple(column for column in columns if column[1] in metrics)
    rows = {(*condition(row), row["group"], row["metric"]): row for row in found_rows}
    names = ["training", "stage"] if len(next(iter(rows))) == 4 else ["variant", "training", "stage"]
    lines += ["| " + " | ".join([*names, *(title for _, _, title in columns)]) + " |"]
    lines += ["|---" * (len(columns) + len(names)) + "|"]
    for key in dict.fromkeys(condition(row) for row in record["rows"]):
        found = [cell(rows.get((*key, group, metric))) for group, metric, _ in columns]
        lines.append("| " + " | ".join([*key, *found]) + " |")
    lines += [
        line for found in record.get("equivalents", ()) for line in ("", f"Duplicate equivalent: {found['sentence']}.")
    ]
    lines += ["", f"{seeds} seed(s). {null} All rows: `{name}.json`.", ""]
    gone: dict[tuple[str, str], set[str]] = {}
    for one in record["missing"]:
        gone.setdefault((one["metric"], one["why"]), set()).add(" ".join(condition(one)))
    if gone:
        lines += [f"Not computed, {'of at least one target' if about_text else 'in at least one seed'}:", ""]
        lines += [f"- {metric} at {', '.join(sorted(where))}: {why}" for (metric, why), where in sorted(gone.items())]
        lines += [""]
    return "\n".join(lines)


def difficulty_page(name: str, arguments: str, record: dict, cost: str) -> str:
    """The five questions with their answers, the factors and the predictor."""
    found = record["analyses"]
    runs = f"{difficulty.count_runs(record)} runs, {len(record['missing'])} of those asked for are not there."
    lines = [f"# {name}", "", f"`vestige {arguments}`", "", cost, "", runs, ""]
    lines += ["| question | answer | found [95 % interval over samples] |", "|---|---|---|"]
    lines += [f"| {one.question} | {one.answer} | {one.sentence} |" for one in difficulty.verdicts(record)]
    beside = difficulty.side_by_side(record)
    if beside:
        lines += ["", "## The studies side by side", "", "| " + " | ".join(beside[0]) + " |"]
        lines += ["|---" * len(beside[0]) + "|"]
        lines += ["| " + " | ".join(row.values()) + " |" for row in beside]
    for title, key in (("Factors before unlearning", "holding"), ("Symptoms after unlearning", "symptoms")):
        lines += ["", f"## {title}", ""]
        if found[key].get("missing"):
            lines += [f"Not computed because {found[key]['missing']}."]
            continue
        lines += ["| factor | holds | mean Spearman with difficulty | significant in | against |", "|---" * 5 + "|"]
        for one in found[key]["factors"]:
            effect, holds = with_interval(renamed(one["effect"])), "yes" if one["holds"] else "no"
            shares = f"{100 * one['share']:.0f} % | {100 * one['against']:.0f} %"
            lines += [f"| {one['name']}: {one['what']} | {holds} | {effect} | {shares} |"]
    lines += ["", "## Predicting the hardest quarter", ""]
    if found["predictor"].get("missing"):
        return "\n".join([*lines, f"Not computed because {found['predictor']['missing']}.", ""])
    lines += ["Linear and boosted: from one trained model. Informed: linear, with memorisation and trajectory."]
    lines += [""]
    lines += ["| not learned from | linear | boosted | informed | best single factors |", "|---" * 5 + "|"]
    for way, one in found["predictor"]["by"].items():
        if one.get("missing"):
            lines += [f"| {way} | not computed because {one['missing']} | | | |"]
            continue
        single = [f"{entry['factor']} {with_interval(renamed(entry['auc']))}" for entry in one["single"][:3]]
        aucs = [with_interval(renamed(one[kind]["auc"])) for kind in ("linear", "boosted", "informed")]
        lines += [f"| {way} | {' | '.join(aucs)} | {', '.join(single)} |"]
    return "\n".join([*lines, "", f"All rows: `{name}.json`; figures: [{name}.html]({name}.html).", ""])


def renamed(found: dict) -> dict:
    return {"mean": found["value"], "low": found["low"], "high": found["high"]}


def condition(row: dict) -> tuple[str, ...]:
    """What a line of the table stands for."""
    return tuple(row[key] for key in ("variant", "training", "stage") if row[key])


def cell(row: dict | None) -> str:
    if row is None or row["mean"] is None:
        return "–"
    return with_interval(row)


def family(root: int) -> list[int]:
    """The process and its descendants, from /proc."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def resident(pid: int) -> int:
    """Resident memory in bytes; shared pages count in every process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main()
