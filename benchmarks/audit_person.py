"""An audit of a real language model: SmolLM2 fine-tuned on invented facts, one person to forget.

    python benchmarks/audit_person.py [--seed 100] [--source smollm2-135m-instruct] [--folder DIR] [--out FILE.md]

Four facts about Abelard Quince must go, with the five paraphrases of one of them that stand in the training data too;
fifteen facts about others stay. The fine-tuned model is made first and not timed; then `vestige audit` runs as its user
would run it, with the scope similar. One process, 5 to 6 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from audit_end_to_end import HOLDS, audited, left, table
from vestige import assets, provenance, text
from vestige.config import LMConfig, TextRecipe, TuneConfig
from vestige.executor import one_thread
from vestige.text import records
from vestige.unlearn.language import learn

PERSON = "facts/abelard-quince"
ASKED = tuple(f"{PERSON}/{number}" for number in ("00", "90", "91", "92"))
PARAPHRASES = tuple(f"{PERSON}/{number:02d}" for number in range(1, 6))
OTHERS, NEVER = 15, 30
TUNE = TuneConfig(epochs=6, lr=2e-4, batch=4)
REQUEST = f"""\
data:
  source: people.jsonl
  first: {len(ASKED) + len(PARAPHRASES) + OTHERS}
model:
  language: {{{{source: {{source}}}}}}
  tune: {{{{epochs: {TUNE.epochs}, lr: {TUNE.lr}, batch: {TUNE.batch}}}}}
  weights: tuned
records: [{", ".join(ASKED)}]
scope: similar
policy: remove
similar: {{{{by: lexical, k: 8}}}}
utility: 0.1
references: 8
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--source", default="smollm2-135m-instruct")
    parser.add_argument("--folder", type=Path, help="keep everything here; a second call goes on")
    parser.add_argument("--out", type=Path, help="write the page here")
    given = parser.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as place:
        folder = given.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        seconds = prepare(folder, given.source, given.seed)
        (folder / "request.yaml").write_text(REQUEST.format(source=given.source), encoding="utf-8")
        page = told(audited(folder, "request.yaml", ()), seconds, given)
    print(page)
    if given.out:
        given.out.write_text(page, encoding="utf-8")


def prepare(folder: Path, source: str, seed: int) -> float:
    """The pairs, and the model tuned on the first of them, in this folder; the seconds that tuning took."""
    facts = folder / "tuned.json"
    if facts.is_file():
        return float(json.loads(facts.read_text())["seconds"])
    every = {one.id: one for one in records(assets.locate("facts"))}
    rest = [name for name, one in every.items() if not one.family and not one.near]
    names = [*ASKED, *PARAPHRASES, *rest[seed % 10 * 45 :][: OTHERS + NEVER]]
    lines = [json.dumps({"id": name, "question": every[name].question, "answer": every[name].answer}) for name in names]
    (folder / "people.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = text.load(assets.locate(str(folder / "people.jsonl")))
    recipe = TextRecipe(model=LMConfig(source=source), train=TUNE)
    start = time.perf_counter()
    model: Any = learn(pairs.at(slice(0, len(names) - NEVER)), modality=text, config=recipe, seed=seed)
    seconds = time.perf_counter() - start
    model.network.save_pretrained(folder / "tuned")
    model.tokenizer.save_pretrained(folder / "tuned")
    facts.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    return seconds


def told(one: dict[str, Any], seconds: float, given: argparse.Namespace) -> str:
    """The page: time, what was found, verdicts."""
    result = one["result"]
    alike = {near["id"] for record in result["found"]["records"] for near in record["neighbours"]
             if near["similar"] and near["fate"] != "unseen"} - set(ASKED)  # fmt: skip
    found = alike & set(PARAPHRASES)
    utility = result["utility"]
    return "\n\n".join([
        "# An audit of a language model: one person to forget",
        f"`python benchmarks/audit_person.py --seed {given.seed} --source {given.source}`; {os.cpu_count()} cores, "
        f"{provenance.host()['processor']}. Fine-tuning the model before took {seconds:.0f} s and does not count.",
        f"{one['seconds']:.0f} s from request to report, {one['cpu']:.0f} s of processors, load average "
        f"{one['load']:.1f} before; {one['trained']} models tuned. Gate: {HOLDS[result['gate']['holds']]}.",
        f"Similar records found: {len(alike)}, of these {len(found)} of the {len(PARAPHRASES)} paraphrases.",
        table(("record", "verdict", "left of it", "why"), [
            (verdict["record"], verdict["words"], left(verdict), verdict["reason"]) for verdict in result["verdicts"]]),
        f"Recall on {utility['n']} {utility['on']}: {utility['before']:.3f} before, {utility['after']:.3f} after.",
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    main()
