"""Planted cases: does the audit give each the right verdict? Run: python benchmarks/audit.py images (texts, …).

The other kinds: `texts`, `"texts without data"` (--first 70) and `"language model"` (--seeds 3 --references 8).

A record is planted that training shows (`audit_images`, `audit_texts`), in two cases with near-copies of it. Seven
models are then judged, each made by somebody whom the audit does not know (method: given): never trained on it; hidden
in three ways, until it is answered as by models that never saw it (last layer edited, output filter, suppressed by
training); over-unlearned by long gradient ascent; retrained with the near-copies; retrained without them. Settings were
chosen on seeds 100–119; seeds 60–79 are for the report (those below were seen while it was made). "Cannot tell"
counts as wrong. What was judged is kept in the JSON file, and not judged again: the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import audit_images
import audit_texts
from influence_page import table
from vestige import provenance
from vestige.audit import texts
from vestige.audit.material import Material
from vestige.audit.request import Written
from vestige.audit.steps import Audit
from vestige.audit.verdict import WORDS
from vestige.config import AuditRequest
from vestige.store import Store, write_json, write_text
from vestige.verify import share_interval

EXPECTED = {
    "never trained on it": "forgotten",
    "hidden: last layer edited": "in_model",
    "hidden: output filter": "in_model",
    "hidden: suppressed": "in_model",
    "over-unlearned": "over_unlearned",
    "retrained, near-copies kept": "carried",
    "retrained without near-copies": "forgotten",
}
BLIND = "texts without data"
WITHOUT_DATA = {**EXPECTED, "retrained, near-copies kept": "still_known", "as it was": "still_known"}
"""Without training data it cannot be said whose doing it is: *cannot tell*, but still known."""
REAL = "language model"
ROOMS = {"images": ("image", audit_images), **dict.fromkeys(("texts", BLIND, REAL), ("text", audit_texts))}
REQUESTS = {"images": audit_images.REQUEST, "texts": audit_texts.REQUEST, BLIND: audit_texts.BLIND,
            REAL: audit_texts.REAL}  # fmt: skip
SAID = {**WORDS, "still_known": "cannot tell whose doing, but still known"}
OUT = Path(__file__).parents[1] / "docs" / "results" / "audit-planted.json"
HEAD = """# Does the audit give planted cases the right verdict?

A record is planted, and seven models are judged by `vestige audit` (method: given), each beside models trained \
without the record, and as many without its near-copies too. *Images*: MNIST, 600 images, one more under the label \
of the class that it looks least like, in the last two cases with 4 near-copies under that label; an MLP \
784-100-50-10. *Texts*: `tiny-llama` trained from scratch on 12 of the package's invented facts and one more, in the \
last two cases with 4 rewordings of its question. *Texts without data*: the same models, and one handed back as it \
was, judged beside never-seen facts alone, with the 12 facts as pairs to retain; nobody knows of the rewordings \
(looked at before: seeds 100 and 101). What hides the record does so until it is answered as by models that never \
saw it. *Language model*: SmolLM2-135M-Instruct, fine-tuned for 6 epochs on the same kind of 13 facts, in the last \
two cases with the rewordings. One verdict is right, *cannot tell* is wrong. Settings were chosen on seeds 100–119. \
Three things were mended after images of other seeds had been judged, and fresh seeds were taken each time: an \
answer below all intervals goes before other tests (line 2 of the rule; 26 of 28 right on seeds 0–3), a record that \
the model is very sure of can be hidden too (line 7; 55 of 56 on seeds 20–27), a rise must stand out beside both \
kinds of models (line 5; 138 of 140 on seeds 40–59, each case 19 or 20 of 20). Beside controls, line 2 was changed \
after *texts without data* of seeds 60–65 (46 of 48 right, over-unlearned 4 of 6). The tests were changed after \
language models of seeds 60 (5 of 7 right, half-way through a change), 61 and 62 (13 of 14): `noised` is new. Then \
the language model was judged on fresh seeds, all others again on the same ones (images and texts 140 of 140 and \
texts without data 79 of 80 before, too). In brackets: 95 %, Wilson.
"""


def judge(name: str, seed: int, folder: Path, references: int) -> dict[str, Any]:
    """Case → its verdict, for one seed."""
    modality, room = ROOMS[name]
    record, never, planted = room.cases(*_arguments(name, seed, references))
    found = {}
    for case in _expected(name):
        trained, make = planted[case]
        model = make()
        written, more = _written(name, seed, references, case, record.ids), []
        source = f"{seed}-{len(trained)}"
        if name == BLIND:
            usual = _written("texts", seed, references, case, record.ids)
            more, trained = [room.subject(usual, None).learn(trained, seed)], room.without_copies(trained)
        material = Material(modality, trained, never, record.ids, source)
        audit = Audit(written, material, room.subject(written, model, *more), Store(folder / str(seed)), {})
        report = audit.report(lambda message: None)
        (verdict,), (evidence,) = report["verdicts"], report["evidence"]
        numbers = {one["test"]: [one["value"], one["before"], *one["hid"]] for one in evidence["readings"]}
        said = "still_known" if report["numbers"]["still_known"] else verdict["name"]
        found[case] = {"name": said, "reason": verdict["reason"], "left": verdict["left"],
                       "kept": len(report["found"]["kept"]), "after, before, hid": numbers}  # fmt: skip
    return found


def _written(name: str, seed: int, references: int, case: str, records: tuple[str, ...]) -> Written:
    usual = REQUESTS[name]
    request = {**usual, "model": {**usual["model"], "after": f"planted:{case}"}, "records": records, "policy": "keep",
               "method": "given", "seed": seed, "references": references}  # fmt: skip
    return Written(AuditRequest.model_validate(request), Path("planted.yaml"), {})


def _arguments(name: str, seed: int, references: int) -> tuple[Any, ...]:
    learned = "texts" if name == BLIND else name
    return (seed,) if name == "images" else (seed, _written(learned, seed, references, "none", ("planted",)))


def _expected(name: str) -> dict[str, str]:
    """Case → the right verdict."""
    return WITHOUT_DATA if name == BLIND else EXPECTED


def page(content: dict[str, Any]) -> str:
    """content: as the JSON file has it."""
    parts = [HEAD]
    for name, found in content.items():
        seeds = dict(sorted(found["seeds"].items(), key=lambda item: int(item[0])))
        rows = []
        for case, expected in _expected(name).items():
            lot = [one[case]["name"] for one in seeds.values()]
            right, n = lot.count(expected), len(lot)
            share, low, high = share_interval(right, n)
            wrong = ", ".join(f"{SAID[one]} (seed {seed})" for seed, one in zip(seeds, lot, strict=True)
                              if one != expected)  # fmt: skip
            spread = f"{share:.2f} [{low:.2f}, {high:.2f}]"
            rows.append((case, SAID[expected], f"{right} of {n}", spread, wrong or "–"))
        beside = f"{texts.CONTROLS} controls" if name == BLIND else f"{found['references']} references"
        parts.append(
            f"## {name.capitalize()}\n\n"
            + table(("case", "right verdict", "right", "share", "wrong verdicts"), rows)
            + f"\n\nSeeds {', '.join(seeds)}; {beside}; {found['seconds']:.0f} s of processor time, one thread on a "
            f"shared machine ({found['machine']}). `python benchmarks/audit.py {shlex.quote(name)} --first "
            f"{min(map(int, seeds))} --seeds {len(seeds)} --references {found['references']}`.\n"
        )
        missed = [(seed, case, one["reason"]) for seed, cases in seeds.items() for case, one in cases.items()
                  if one["name"] != _expected(name)[case]]  # fmt: skip
        if missed:
            parts.append("The reasons of wrong verdicts:\n\n" + table(("seed", "case", "reason"), missed) + "\n")
    return "\n".join(parts)


def _kept(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(ROOMS))
    parser.add_argument("--network", choices=tuple(audit_images.NETWORKS), default="mlp", help="of images")
    parser.add_argument("--first", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--references", type=int, default=12)
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file; the page is written beside it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    audit_images.KIND[0] = given.network
    machine = f"{provenance.host()['processor']}, torch {provenance.version('torch')}"
    for seed in range(given.first, given.first + given.seeds):
        if str(seed) in _kept(given.out).get(given.what, {"seeds": {}})["seeds"]:
            continue
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            said = judge(given.what, seed, Path(folder), given.references)
        took = time.process_time() - start
        content = _kept(given.out)  # another process may have added to it meanwhile
        usual = {"references": given.references, "machine": machine, "seconds": 0.0, "seeds": {}}
        found = content.setdefault(given.what, usual)
        found["seeds"][str(seed)] = said
        found["seconds"] += took
        write_json(given.out, content)
        write_text(given.out.with_suffix(".md"), page(content))
        wrong = [f"{case}: {one['name']} ({one['reason']})" for case, one in said.items()
                 if one["name"] != _expected(given.what)[case]]  # fmt: skip
        print(f"seed {seed}: {took:.0f} s, {len(wrong)} wrong; {'; '.join(wrong)}", flush=True)


if __name__ == "__main__":
    main()
