"""The page of an audit: its result.json → the plain record that every page is drawn from. Needs no torch.

What must not be said: that anything is certified, verified as deleted, or gone. It says what was tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vestige.audit.verdict import FEWEST, WORDS, Evidence, Reading, of_json
from vestige.config import AuditRequest, to_yaml
from vestige.report import page
from vestige.report.record import (
    Cell,
    ChartRow,
    Figure,
    Listing,
    Null,
    Point,
    Recovered,
    RowChart,
    Section,
    Segment,
    Sheet,
    Stack,
    StackChart,
    Summary,
    Table,
    TableRow,
)
from vestige.report.words import interval as between
from vestige.report.words import number, plural
from vestige.store import read_json, write_text

Record = Mapping[str, Any]

DRAWN = 8
"""Records whose pictures and tests are drawn; the tables have all."""
FAR = 6.0
"""Half widths of the interval up to which a mark is drawn."""
PICTURES = 6
TESTS = {
    "answer": "how sure the model is of it",
    "probe": "its last layer fitted anew",
    "head": "under the head that tuning started from",
    "rebound": "rise while trained on others",
    "noised": "the answer with noise on the weights",
    "rounded": "the answer with weights of 4 bits",
}
"""Test → what it looks at, in a few words."""
RECALL = "Recall: how much of the answer it gives when asked, ROUGE-L; no verdict rests on it. "
PARTS = (
    ("own", "the record itself"), ("similar", "its similar records"), ("near", "its neighbours"),
    ("other", "all others"), ("unexplained", "unexplained"),
)  # fmt: skip
"""The parts of a margin, and who carries them."""


def write(root: Path) -> Path:
    """Write report.html in the folder of a request. Returns its path."""
    path = root / "report.html"
    run = read_json(root / "run.json") if (root / "run.json").is_file() else {}
    write_text(path, page(summarise(read_json(root / "result.json"), run)))
    return path


def write_found(root: Path, record: Record) -> Path:
    """Write found.html in the folder of a request, what `Audit.shown` says: before anything is trained."""
    path = root / "found.html"
    made, waiting = record["provenance"], record["found"]["ask"]
    asks = f"{plural(len(waiting), 'similar record')} of other owners: decide on each." if waiting else ""
    summary = Summary(
        title="What repeats the records?",
        kicker="audit · before anything is trained",
        headline=record["foreseen"]["outcome"],
        deck="Nothing was forgotten yet. The same request, carried out, goes on from here.",
        banners=(asks,) if asks else (),
        sections=(_asked(record), _found(record), _fates(record)),
        tidy=(),
        gaps=(),
        missing=(),
        limits=(_searched(record),),
        configuration=to_yaml(AuditRequest.model_validate(record["request"])),
        provenance=(("vestige", made["version"]), ("SHA-256 of the data", made["source_sha256"])),
        command=f"{made['command']} --until find",
        version=made["version"],
    )
    write_text(path, page(summary))
    return path


def summarise(record: Record, run: Record) -> Summary:
    """The record of the page."""
    made = record["provenance"]
    return Summary(
        title="Were the records forgotten?",
        kicker=f"audit · request {record['number']}",
        headline=headline(record),
        deck=_deck(record),
        banners=_banners(record),
        sections=(_asked(record), _verdicts(record), _found(record), _fates(record), *_foreseen(record), _tests(record),
                  *_shares(record), _cost(record), _hashes(record)),
        tidy=(),
        gaps=(),
        missing=(),
        limits=limits(record),
        configuration=to_yaml(AuditRequest.model_validate(record["request"])),
        provenance=_provenance(record, run),
        command=made["command"],
        version=made["version"],
    )  # fmt: skip


def headline(record: Record) -> str:
    """What came of it, in one sentence."""
    count, told = len(record["verdicts"]), record["numbers"]
    parts = [f"{told[name]} {words}" for name, words in WORDS.items() if told[name]]
    if told["forgotten"] == count:
        it = "the record" if count == 1 else f"all {count} records"
        return f"In every test that was made, the model treats {it} like something that it was never trained on."
    if count == 1:
        words = record["verdicts"][0]["words"]
        if _still_known(record):
            return "The model still knows the record; whether of itself or by similar records cannot be told."
        return f"The record is {words}." if not told["cannot_tell"] else "Whether it was forgotten cannot be told."
    known = f" (still known: {_still_known(record)})" if _still_known(record) else ""
    return f"Of {plural(count, 'record')} to forget: {', '.join(parts)}{known}."


def _still_known(record: Record) -> int:
    """Records that are still known, of those of which whose doing it is cannot be told."""
    return int(record["numbers"].get("still_known", 0))


def limits(record: Record) -> tuple[str, ...]:
    """What was not tested, and what these tests cannot show, as plain sentences."""
    found = [
        "These are tests, and there are others. A test that finds nothing is not proof that nothing is there: another "
        "attack, more steps of training, or more knowledge of the data may find what these did not.",
        "Only this model was asked. Backups, caches, models made from it and copies of the data were not.",
    ]
    if record["null"] == "references":
        found.append(
            f"Each interval comes from {record['references']} models trained anew. With so few, about 1 in 100 records "
            "lies outside by chance in a model that is quite like them, more where they are not normally distributed."
        )
    else:
        found.append(
            "No other model could be trained, so the records stand beside matched records that this model never saw. "
            "How well they match decides how much this is worth, and whether a record or its similar ones are the "
            "reason for what is left cannot be told."
        )
    if record["found"]["kept"]:
        found.append(
            f"{plural(len(record['found']['kept']), 'similar record')} stayed in training, by scope and policy of the "
            "request. What they teach about the forgotten records remains, however well the rest is done."
        )
    found.append(_searched(record))
    if record["modality"] == "image":
        found.append("Nobody tried to reconstruct an image from the weights.")
    if record["utility"]["before"] is None:
        found.append(f"What the model lost elsewhere was not measured: there are no {record['utility']['on']}.")
    if record["method"] == "given":
        found.append("The model was made by somebody else. What was done to it is not known, only how it behaves.")
    return tuple(found)


def _searched(record: Record) -> str:
    """What the search for similar records cannot find."""
    if record["found"]["searched"]:
        return (
            "Similar is what one measure says, beside random pairs of the data. A record that repeats the content in "
            "another form was not looked for."
        )
    return (
        "There was no training data. Similar records were not looked for, and nothing here says whether the model "
        "learned the same from others. That it never saw the matched records is what the request says; nobody checked."
    )


def _deck(record: Record) -> str:
    gate = record["gate"]
    holds = {True: "holds", False: "does not hold", None: "cannot be told"}[gate["holds"]]
    return f"The gate ({gate['expression']}) {holds}."


def standstill(record: Record) -> str:
    """A sentence on a model after that is the model before, as far as its answers show; "" where it is another."""
    if not record.get("unmoved"):
        return ""
    found = "The model after answers everything as the model before does, to the bit"
    if record["method"] in ("given", "retrain"):
        return f"{found}: as far as these tests see, it is the same model."
    budget = (record["request"]["unlearn"] or {}).get("utility")
    allowed = record["request"]["utility"] if budget is None else budget
    return (
        f"{found}: either no step of {record['method']} kept within the budget (utility: {allowed:g}), or it found "
        "nothing to change. Try a smaller rate, a larger budget or another method."
    )


def _banners(record: Record) -> tuple[str, ...]:
    found = [standstill(record)] if standstill(record) else []
    if record["numbers"]["cannot_tell"] > _still_known(record):
        found.append("Of some records it cannot be told whether they were forgotten. That is not a pass.")
    if record["found"]["ask"]:
        found.append("Owners of similar records were not asked.")
    if not record["found"]["searched"]:
        found.append("Similar records were not looked for: there is no training data.")
    return tuple(found)


def _asked(record: Record) -> Section:
    request, names = record["request"], record["asked"]
    scope = {"exact": "the records themselves", "similar": "the records and what repeats them"}[request["scope"]]
    gone = record["already_removed"]
    data = request["data"]
    if record["found"]["searched"]:
        source = (
            f"similar records of other owners: {request['policy']}. Trained on were "
            f"{plural(record['trained_on'], 'record')} of {data['source']}."
        )
    else:
        source = (
            f"there is no training data. By the request, the model never saw what is in {data['controls']}, and should "
            f"go on answering what is in {data['retain']}."
        )
    earlier = f" {plural(len(gone), 'record')} had been removed by earlier requests." if gone else ""
    return Section(
        "asked",
        "What was asked",
        f"To forget {plural(len(names), 'record')}: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}. Scope: "
        f"{request['scope']} ({scope}); {source}{earlier} "
        + ("It was made by somebody else; this audit judges it."
           if record["method"] == "given" else f"The method is {record['method']}."),
    )  # fmt: skip


def _verdicts(record: Record) -> Section:
    tests = dict.fromkeys(one["test"] for evidence in record["evidence"] for one in evidence["readings"])
    beside = (
        f"Beside {record['references']} models trained without it"
        if record["null"] == "references"
        else "Beside matched records that the model never saw"
    )
    rows, said = [], record.get("recall")
    for at, (verdict, evidence) in enumerate(zip(record["verdicts"], record["evidence"], strict=True)):
        known = of_json(evidence)
        readings = {one.test: one for one in known.readings}
        left = Cell("–") if verdict["left"] is None else Cell(
            number(verdict["left"]), between(verdict["low"], verdict["high"])
        )  # fmt: skip
        recall = [Cell(number(said[at]["after"]), gap=f"before {number(said[at]['before'])}")] if said else []
        cells = [Cell(verdict["words"]), left, *recall, *(_cell(known, readings.get(test)) for test in tests)]
        rows.append(TableRow(beside, verdict["record"], verdict["reason"], tuple(cells)))
    return Section(
        "verdicts",
        "Verdict on each record",
        "Each number stands with where models (or records) that know nothing of it lie, all of them in 99 of 100 "
        "cases. Below: the "
        "model before.",
        table=Table(("Verdict", "Left of it", *(["Recall"] if said else []), *(name.capitalize() for name in tests)),
                    tuple(rows), (), "Record"),
        reads="Left of it: 0 as if never trained on, 1 as before; – where the model before does not stand out, so that "
        f"there is no unit. {RECALL if said else ''}"
        + " ".join(f"{name.capitalize()}: {TESTS.get(name, name)}." for name in tests)
        + " The rule that leads from these numbers to a verdict stands in docs/methods.md, word for word.",
    )  # fmt: skip


def _cell(evidence: Evidence, one: Reading | None) -> Cell:
    if one is None or one.value is None:
        return Cell("–")
    low, high = evidence.interval(one.null) if len(one.null) >= FEWEST else (None, None)
    before = "" if one.before is None else f"before {number(one.before)}"
    return Cell(number(one.value), between(low, high), gap=before)


def _found(record: Record) -> Section:
    found, contents = record["found"], record["contents"]
    if not found["searched"]:
        texts = [(name, *(contents[name][part] for part in ("question", "answer"))) for name in record["asked"]]
        heads = ("Record", "Question", "Answer")
        return Section("found", "What was found", f"{found['rule'].capitalize()}.",
                       listing=Listing("The records", heads, tuple(texts)))  # fmt: skip
    rows = []
    for target in found["records"]:
        for one in target["neighbours"][: max(PICTURES, sum(one["similar"] for one in target["neighbours"]))]:
            rows.append((target["id"], one["id"], one["similarity"], one["random_pairs_reaching"], one["similar"],
                         *_words(contents, one["id"])))  # fmt: skip
    text = record["modality"] == "text"
    heads = ("Record", "Its neighbour", found["by"], "Random pairs reaching it", "Similar", *(["Text"] if text else []))
    alike = len({one["id"] for target in found["records"] for one in target["neighbours"] if one["similar"]})
    figures: tuple[Figure, ...] = ()
    if not text:
        figures = (Figure(
            "neighbours", "The records and their nearest neighbours",
            f"Nearest first, by {found['by']}; {plural(found['searched'], 'record')} were searched.", (_sheet(record),),
        ),)  # fmt: skip
    return Section(
        "found",
        "What was found",
        f"{plural(alike, 'similar record')} of {plural(len(found['records']), 'record')} to forget: {found['rule']}. "
        f"Half of {found['null']['pairs']:,} random pairs reach {found['by']} {number(found['null']['median'])}, the "
        f"most alike of them {number(found['null']['largest'])}.",
        figures=figures,
        listing=Listing("Every neighbour with its similarity", heads, tuple(rows)),
    )


def _words(contents: Record, name: str) -> tuple[str, ...]:
    one = contents.get(name, {})
    return (f"{one['question']} {one['answer']}",) if "question" in one else ()


def _sheet(record: Record) -> Sheet:
    contents = record["contents"]
    rows = []
    for target in record["found"]["records"][:DRAWN]:
        names = [target["id"], *(one["id"] for one in target["neighbours"][:PICTURES])]
        cells = tuple(
            (name, Recovered("original", pixels=np.array(contents[name]["pixels"], np.uint8)))
            for name in names
            if name in contents
        )
        rows.append((target["id"].rpartition("/")[2], f"label {target['label']}", cells))
    heads = (("Record", ""), *((f"Nearest {at}", "") for at in range(1, PICTURES + 1)))
    return Sheet(0, (), heads, tuple(rows))


def _fates(record: Record) -> Section:
    found = record["found"]
    fates: dict[str, tuple[str, str, str]] = {}
    for target in found["records"]:
        for one in target["neighbours"]:
            if one["similar"] or one["fate"] == "removed":
                fates.setdefault(one["id"], (one["id"], one["fate"], one["why"]))
    asked = [(name, "removed", "it was to be forgotten") for name in record["asked"]]
    rows = asked + [row for name, row in fates.items() if name not in record["asked"]]
    also = len(found["removed"]) - len(record["asked"])
    more = f" and {also} similar to them" if also else ""
    done = "verdicts" in record
    taken = "taken out of training" if done else "to be taken out of training"
    taken = f"{plural(len(found['removed']), 'record')} {taken}: {len(record['asked'])} asked for{more}. "
    return Section(
        "fates",
        "What was removed, what stayed, and why" if done else "What would be removed, what would stay, and why",
        (taken if found["searched"] else "") + record["foreseen"]["outcome"],
        listing=Listing(
            f"{plural(len(rows), 'record')} and what {'became' if done else 'becomes'} of each",
            ("Record", "Fate", "Why"), tuple(rows),
        ),
    )  # fmt: skip


def _foreseen(record: Record) -> tuple[Section, ...]:
    """How hard each record was expected to be; nothing of an audit that did not ask."""
    told = record["foreseen"].get("difficulty")
    if told is None:
        return ()
    title = "What was expected"
    if "missing" in told:
        return (Section("foreseen", title, f"How hard each record will be to forget was not told: {told['missing']}."),)
    rows = [(one["id"], one["chance"], one["harder_than"]) for one in told["records"]]
    heads = ("Record", "Chance to be hard", "Share of the others that it is harder than")
    listing = Listing(f"{plural(len(rows), 'record')}, the likeliest to be hard first", heads, tuple(rows))
    return (Section("foreseen", title, told["reads"], listing=listing),)


def _tests(record: Record) -> Section:
    rows = []
    beside = "models without it, 99 %" if record["null"] == "references" else "matched records, 99 %"
    for evidence in map(of_json, record["evidence"][:DRAWN]):
        for one in evidence.readings:
            if one.value is None or len(one.null) < FEWEST:
                continue
            low, high = evidence.interval(one.null)
            points = [Point("after", _units(one.value, low, high), None, None, 1, 1)]
            if one.before is not None and not one.before_null:
                points.append(Point("before", _units(one.before, low, high), None, None, 1, 1))
            what = f"{evidence.record}: {TESTS.get(one.test, one.test)}"
            rows.append(
                ChartRow(one.test.capitalize(), what, tuple(points), Null(-1.0, 0.0, 1.0, len(one.null), beside))
            )
    chart = RowChart(
        "In half widths of the interval",
        (("after", "the model that is judged"), ("before", "the model before")),
        tuple(rows),
        2.0,
    )
    return Section(
        "tests",
        "The tests, record by record",
        figures=(
            Figure(
                "tests", "Where the model lies beside its null",
                f"−1 to 1: the prediction interval, 99 % for all tests of a record. Marks "
                f"beyond {FAR:g} are drawn at {FAR:g}; the table above "
                "has the numbers.", (chart,) if rows else (), why="" if rows else "no test could be made",
            ),
        ),
    )  # fmt: skip


def _units(value: float, low: float, high: float) -> float:
    return max(-FAR, min(FAR, (value - (low + high) / 2) / ((high - low) / 2)))


def _shares(record: Record) -> tuple[Section, ...]:
    """Whose doing each record's margin is, before and after; nothing of an audit that did not ask."""
    told = record.get("shares")
    if told is None:
        return ()
    title = "Whose doing it is"
    if "missing" in told:
        return (Section("shares", title, f"Who carries what is left was not told: {told['missing']}."),)
    pairs = list(zip(told["before"], told["after"], strict=True))
    times = ("before", "after")
    bars = [_bar(when, one) for pair in pairs[:DRAWN] for when, one in zip(times, pair, strict=True)]
    heads = ("Record", "Model", "Margin", *(words.capitalize() for _, words in PARTS), "Itself between",
             "Similar between", "Explained")  # fmt: skip
    rows = [_carried(when, one) for pair in pairs for when, one in zip(times, pair, strict=True)]
    return (
        Section(
            "shares",
            title,
            "How sure the model is of a record, its margin, split among the records that it was trained on. No verdict "
            "rests on this.",
            figures=(Figure("shares", "Who carries each record's margin", _how(told),
                            (StackChart("In logits", PARTS, tuple(bars)),)),),
            listing=Listing("The parts as numbers", heads, tuple(rows)),
        ),
    )  # fmt: skip


def _how(told: Record) -> str:
    """By what the parts were found, and how they are to be read."""
    first = told["before"][0]
    warnings = dict.fromkeys(one["warning"] for when in told.values() for one in when if one.get("warning"))
    said = [
        first.get("note") or "the weights are a sum of what each training record pulled them to: exact for this "
        "network where it is trained to an end, and the table says how much of them that explains",
        "The margin after is split among the records that stay: what the record itself may have left in the model is "
        "unexplained there",
        *(["Near-copies pull at the weights nearly alike: the table says between which ends a part can lie"]
          if first["ranges"] else []),
        *(warning[0].upper() + warning[1:] for warning in warnings),
    ]  # fmt: skip
    return f"How: {'. '.join(said)}."


def _bar(when: str, one: Record) -> Stack:
    """The bar of one record in one model."""
    segments = tuple(
        Segment(Point(part, one["parts"][part], None, None, 1, 1), *one["ranges"].get(part, ()))
        for part, _ in PARTS if not one["why"]
    )  # fmt: skip
    return Stack(one["target"], f"the model {when}", segments, one["why"])


def _carried(when: str, one: Record) -> tuple[object, ...]:
    """The line of one record in one model, in logits."""
    ends = (one["ranges"].get(part) for part in ("own", "similar"))
    return (one["target"], when, one["margin"], *(one["parts"][part] for part, _ in PARTS),
            *(f"{number(pair[0])} to {number(pair[1])}" if pair else None for pair in ends),
            f"{100 * max(one['explained'], 0):.0f} %")  # fmt: skip


def _cost(record: Record) -> Section:
    utility, request = record["utility"], record["request"]
    what = "recall" if record["modality"] == "text" else "accuracy"
    said = f"What the model lost on {utility['on']} was not measured: there are none."
    if utility["before"] is not None:
        drop = utility["before"] - utility["after"]
        kept = "within" if drop <= request["utility"] else "beyond"
        said = (
            f"On {utility['n']} {utility['on']}, mean {what} was {number(utility['before'], 3)} before and is "
            f"{number(utility['after'], 3)} now: {kept} the budget of {number(request['utility'], 3)}."
        )
    rows = [(one["record"], *(one["near_accuracy"] or (None, None))) for one in record["evidence"]]
    none = " Where no numbers stand, none of the nearest records has its label." if any(
        one["near_accuracy"] is None for one in record["evidence"]
    ) else ""  # fmt: skip
    return Section(
        "cost",
        "What it cost",
        said + " Damage shows first on the retained neighbours of what was forgotten." + none,
        listing=Listing(
            f"Mean {what} on each record’s retained neighbours", ("Record", "Before", "After"), tuple(rows)
        ),
    )


def _hashes(record: Record) -> Section:
    hashes = record["hashes"]
    rows = [("data", hashes["data"]), *hashes["code"].items(), *hashes["files"].items()]
    return Section(
        "hashes",
        "Hashes",
        "With these, anyone who has the folder can compute the verdicts again: vestige audit check result.json. They "
        "show accidents and careless changes; they are no signature.",
        listing=Listing(f"SHA-256 of {len(rows)} files and data sets", ("What", "SHA-256"), tuple(rows)),
    )


def _provenance(record: Record, run: Record) -> tuple[tuple[str, str], ...]:
    made = record["provenance"]
    libraries = ", ".join(f"{name} {version}" for name, version in made["libraries"].items() if version)
    rows = [
        ("vestige", made["version"]),
        ("Commit", made["commit"] or "not known: not run from a checkout"),
        ("Request", record["hashes"]["request"]),
        ("SHA-256 of the data", made["source_sha256"]),
        ("Starts from", f"request {record['after_request']}" if record["after_request"] else "the original model"),
        ("Method", record["method"]),
        ("Libraries", libraries),
        ("Device", f"{made['device']}, {made['threads']} thread"),
        ("Finished", run.get("finished")),
        ("Machine", run.get("processor")),
    ]
    return tuple((name, str(value)) for name, value in rows if value)
