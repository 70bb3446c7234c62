"""The request file: YAML or JSON in, a checked request out; every message names the line that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vestige.audit import gate
from vestige.config import AuditRequest
from vestige.types import InputError

Place = tuple[str | int, ...]
"""Where a value stands: ("data", "source"), ("records", 2)."""


@dataclass(frozen=True)
class Written:
    """A request and the file that it stands in. lines: where each value stands, from 1."""

    request: AuditRequest
    path: Path
    lines: Mapping[Place, int]

    def at(self, *place: str | int) -> str:
        """ "file:line" of a value, or of the nearest one around it that is written."""
        return _at(self.path, self.lines, place)

    def wrong(self, place: Place, what: str) -> InputError:
        """The error that names the line of a value."""
        return InputError(f"{self.at(*place)}: {'.'.join(map(str, place))}: {what}")

    def beside(self, name: str) -> Path:
        """A file or folder that the request names: from where the command runs, else from the request's folder."""
        there = self.path.parent / name
        return there if not Path(name).exists() and there.exists() else Path(name)


def read(path: Path) -> Written:
    """The request in a file. Raises InputError with file, line, what was found and what to do."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; write an example with: vestige audit init {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    # JSON may be indented by tabs, YAML may not; of JSON the two are one character each.
    text = text.replace("\t", " ") if path.suffix == ".json" else text
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: this is not YAML or JSON: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: this is not YAML or JSON: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}:1: a request must be a mapping of settings; see: vestige audit init")
    lines: dict[Place, int] = {}
    content = _plain(node, (), lines, path)
    try:
        written = Written(AuditRequest.model_validate(content), path, lines)
    except ValidationError as error:
        raise InputError(_messages(error, path, lines)) from None
    try:
        gate.parse(written.request.gate)
    except InputError as error:
        raise InputError(f"{written.at('gate')}: {error}") from None
    return written


def _plain(node: yaml.Node, place: Place, lines: dict[Place, int], path: Path, around: tuple[int, ...] = ()) -> Any:
    """What a node says, as plain values; notes where each stands. around: the nodes that it lies in.

    Raises InputError for a key that comes twice, and for an alias of what it stands in, which would have no end.
    """
    lines[place] = node.start_mark.line + 1
    if id(node) in around:
        raise InputError(f"{path}:{node.start_mark.line + 1}: this holds an alias of itself; write it out")
    around = (*around, id(node))
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in found:
                raise InputError(f"{path}:{line}: {key} is given a second time; leave one of them out")
            found[key] = _plain(value, (*place, key), lines, path, around)
            lines[*place, key] = line
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, (*place, at), lines, path, around) for at, value in enumerate(node.value)]
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}:{node.start_mark.line + 1}: {getattr(error, 'problem', error)}") from None


def _messages(error: ValidationError, path: Path, lines: Mapping[Place, int]) -> str:
    found = []
    for one in error.errors(include_url=False):
        place = tuple(one["loc"])
        known = tuple(part for at, part in enumerate(place) if (*_known(place[:at], lines), part) in lines)
        name = ".".join(map(str, known if known else place)) or "the request"
        what = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            name, what = ".".join(map(str, place)), "there is no such setting; leave it out, or see: vestige audit init"
        elif one["type"] == "missing":
            name, what = ".".join(map(str, place)), "is needed and was not given; see: vestige audit init"
        elif isinstance(one["input"], str | int | float | bool):
            what = f"{what}; found {one['input']!r}"
        found.append(f"{_at(path, lines, known)}: {name}: {what}")
    return "\n".join(dict.fromkeys(found))


def _known(place: Place, lines: Mapping[Place, int]) -> Place:
    """A place as it is written: pydantic puts the names of a union's members between."""
    known: Place = ()
    for part in place:
        if (*known, part) in lines:
            known = (*known, part)
    return known


def _at(path: Path, lines: Mapping[Place, int], place: Place) -> str:
    while place and place not in lines:
        place = place[:-1]
    return f"{path}:{lines.get(place, 1)}"


EXAMPLES = {
    "image": """\
# A deletion request for an image classifier. It runs as it is: vestige audit {path}
data:
  source: mnist        # a known name, an IDX file, .npz, or a folder with one sub-folder per class
  per_class: 60        # only the first 60 of each class were trained on; the rest serves as never-seen records
model:
  network: {{kind: mlp, hidden: [100, 50], init_scale: 0.02}}   # or cnn, resnet18
  recipe: {{steps: 30, lr: 0.1, batch: 50, momentum: 0.9, schedule: cosine, weight_decay: 0.0005}}
  # Instead of both lines, your own module:function, found beside this file. train(samples, seed) → nn.Module;
  # samples.x is float32 (N, C, H, W) in [0, 1], samples.y int64 (N,). It runs your code.
  # train: my_training:train
  # weights: model.safetensors      # the model before, if it is there already
records: [mnist/12, mnist/525]      # what must be forgotten, by id
scope: exact           # similar: also what repeats these records
policy: keep           # of similar records of other owners: keep, ask, remove
similar: {{by: aligned, k: 20}}
method: auto           # retraining where that can be done; or a name as in docs/methods.md
utility: 0.02          # at most so much accuracy may be lost
gate: forgotten == records and utility_drop <= utility
references: 12         # models trained for comparison, without the records, and without what is similar too
seed: 0
""",
    "text": """\
# A deletion request for a causal language model. It runs as it is: vestige audit {path}
data:
  source: facts        # questions and answers: JSONL, CSV, Parquet, or a folder of these
  first: 8             # only the first 8 were trained on; the rest serves as never-seen records
  # Where the training data is not there, these two instead, no tune, and records as pairs:
  # controls: never.jsonl  # pairs that the model surely never saw, best of the records' form: the null of every test
  # retain: kept.jsonl     # pairs that it answers, and should go on answering
model:
  language: {{source: tiny-llama, precision: float32}}   # what tuning started from: folder, hub name, GGUF
  tune: {{epochs: 10, lr: 0.01, batch: 8}}               # how; leave it out if that cannot be done again
  # weights: folder    # the fine-tuned model, if it is there already
records: [{record}]    # what must be forgotten: ids, or pairs as {{question: …, answer: …}}
scope: exact           # similar: also what repeats these records
policy: keep           # of similar records of other owners: keep, ask, remove
similar: {{by: lexical, k: 10}}
method: auto           # retraining where that can be done; or a name as in docs/methods.md
utility: 0.1           # at most so much recall on other pairs may be lost
gate: forgotten == records and utility_drop <= utility
references: 4          # models tuned for comparison, without the records, and without what is similar too
seed: 0
""",
}
"""Modality → an example with every setting that most requests need."""


def write_example(path: Path, modality: str) -> Path:
    """Write the commented example of a modality. Raises InputError where the file is there, or for another modality."""
    if modality not in EXAMPLES:
        raise InputError(f"--modality is image or text, got {modality!r}")
    record = ""
    if modality == "text":
        from vestige import assets
        from vestige.text import records as pairs

        record = next(iter(pairs(assets.locate("facts")))).id
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLES[modality].format(path=path, record=record))
    except FileExistsError:
        raise InputError(f"{path} is there already and is not overwritten; name another file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    return path
