"""Analyse the similarity of real data, and write what was found to docs/results/: a page of tables and figures each.

    python benchmarks/analysis.py [mnist] [emoji] [facts] [--label-url URL --label-model NAME]

Each analysis runs in runs/results/, through the command line; one that was made there by the same command resumes. The
label flags are for facts: an OpenAI-compatible endpoint that labels its topics, as `transformers serve` or Ollama.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from vestige.report.analysis import write_figures
from vestige.terminal import with_interval

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "results"
ANALYSES = {
    "mnist": ("--data mnist --preset paper --set data.targets=10", ("pixels", "efficientnet-lite0")),
    "emoji": ("--data emoji", ("pixels", "efficientnet-lite0")),
    "facts": ("--data facts", ("minilm",)),
}
"""Name → flags, and the encoders through which it is seen."""
FIGURES = {
    "mnist": {"map": "Every image on a map; green: one target and its similar samples, red: its class"},
    "emoji": {"heat-ssim": "SSIM of three targets and their families, all pairs"},
    "facts": {
        "map": "Every text on a map, coloured by topic",
        "lengths": "Words of questions and answers in the largest topics",
    },
}
"""Name → the figures shown, and what they show."""
SAID = {
    "mnist": "Similar samples: 30 % of 2×2 blocks masked, five a target; the training set *with* them, 50 a class.",
    "emoji": "Similar samples: the other members of a family, which differ in skin tone; one member is the target.",
    "facts": "Similar samples: hand-written paraphrases of one fact; one of them is the target.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*ANALYSES, []], default=list(ANALYSES))
    parser.add_argument("--label-url")
    parser.add_argument("--label-model")
    asked = parser.parse_args()
    for name in asked.names:
        flags, encoders = ANALYSES[name]
        labels = []
        if name == "facts" and asked.label_url:
            labels = ["--label-url", asked.label_url, "--label-model", asked.label_model, "--label-timeout", "120"]
        folders = [analyse(name, flags.split(), encoder, labels) for encoder in encoders]
        records = [json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in folders]
        times = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in folders]
        figures(name, folders[-1])
        (DOCS / f"analysis-{name}.md").write_text(page(name, records, times[-1]["host"]), encoding="utf-8")


def analyse(name: str, flags: list[str], encoder: str, labels: list[str]) -> Path:
    folder = ROOT / "runs" / "results" / f"analysis-{name}-{encoder}"
    command = [sys.executable, "-m", "vestige", "data", "analyse", *flags, "--encoder", encoder, *labels]
    subprocess.run([*command, "--out", str(folder)], check=True, cwd=ROOT)
    return folder


def figures(name: str, folder: Path) -> None:
    drawn = folder / "figures"
    write_figures(folder, drawn)
    for figure in FIGURES[name]:
        (DOCS / f"analysis-{name}-{figure}.svg").write_text((drawn / f"{figure}.svg").read_text(encoding="utf-8"))


def page(name: str, records: list[dict], host: dict) -> str:
    first = records[0]
    similar = sum(len(group["similar"]) for group in first["groups"])
    size = f"{len(first['samples']):,} samples, {len(first['groups'])} targets with {similar:,} similar samples."
    lines = [f"# Analysis of similarity: {name}", ""]
    lines += [*(f"`{record['provenance']['command']}`  " for record in records), "", f"{SAID[name]} {size}", ""]
    lines += ["| measure | " + " | ".join(f"{r['encoder']['name']} | null" for r in records) + " | n |"]
    lines += ["|---" * (2 * len(records) + 2) + "|"]
    for place, measure in enumerate(first["measures"]):
        found = [record["measures"][place] for record in records]
        cells = [text for one in found for text in (with_interval(one), with_interval(one["null"]))]
        lines.append(f"| {measure['name']} | {' | '.join(cells)} | {measure['n']} |")
    null, among = first["measures"][0]["null"], "all texts" if name == "facts" else "a class"
    how = f"null: who belongs to whom shuffled {null['draws']} times within {among}, mean and middle 95 % of draws"
    cards = "Cards: [methods](../methods.md#analysis-of-similarity)."
    lines += ["", f"Mean over the targets with its 95 % t interval; {how}. {cards}", ""]
    lines += [f"- Through {record['encoder']['what']}: {beyond(record)}" for record in records] + [""]
    for figure, what in FIGURES[name].items():
        lines += [f"![{what}](analysis-{name}-{figure}.svg)", ""]
    if "topics" in first:
        lines += topics(first)
    lines += [f"{host['cpus']} cores, {host['processor']}. `python benchmarks/analysis.py {name}` makes this page.", ""]
    return "\n".join(lines)


def beyond(record: dict) -> str:
    """Which measures tell the similar samples from chance."""
    more = {
        one["name"]: one["mean"] < one["null"]["low"] if one["name"] == "rank" else one["mean"] > one["null"]["high"]
        for one in record["measures"]
    }
    told, untold = (", ".join(name for name, is_more in more.items() if is_more is kind) for kind in (True, False))
    return f"beyond the null by {told or 'no measure'}" + (f"; not beyond it by {untold}." if untold else ".")


def topics(record: dict) -> list[str]:
    labels, table = record["labels"], record["topics"]
    alone = sum(one["topic"] < 0 for one in record["samples"])
    lines = [f"{len(table)} topics; {alone} texts in none."]
    if labels["asked"]:
        lines[0] += (
            f" {labels['asked']} was asked for labels over HTTP: {labels['by_model']} were taken, "
            f"{labels['topics'] - labels['by_model']} topics fell back to their keywords."
        )
    lines += ["", "| topic | texts | label | by | keywords | question words, mean (variance) | answer words |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for one in table:
        words = [f"{one[key]['mean']:.1f} ({one[key]['variance']:.1f})" for key in ("question_words", "answer_words")]
        by = one["by"] + (f": {one['why']}" if one["why"] else "")
        label, why, keys = (text.replace("|", "\\|") for text in (one["label"], by, ", ".join(one["keywords"][:5])))
        lines.append(f"| {one['topic']} | {one['count']} | {label} | {why} | {keys} | {words[0]} | {words[1]} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
