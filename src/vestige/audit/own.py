"""The user's own code and weights: `module:function` that trains or returns a network, and files without pickle."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vestige.audit.request import Written
from vestige.store import digest
from vestige.types import InputError, Samples

if TYPE_CHECKING:
    from torch import Tensor, nn

FEW = 2
"""Records of each class that a training function is tried on before anything else."""


def function(name: str, folder: Path) -> Callable[..., Any]:
    """What `module:function` names, the module found beside the request or where Python looks. This runs its code.

    Raises InputError where there is no such module or function, or where importing it fails.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise InputError(f"{name!r} should be module:function, as my_training:train")
    where = str(folder.resolve())
    if where not in sys.path:
        sys.path.insert(0, where)
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise InputError(f"{name!r}: {error}; it is looked for in {where} and where Python looks") from None
    except Exception as error:
        raise InputError(f"{name!r}: importing {module} fails: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise InputError(f"{name!r}: {module} has no function {attribute}")
    made: Callable[..., Any] = found
    return made


def trained(train: Callable[..., Any], samples: Samples, seed: int, name: str) -> nn.Module:
    """What train(samples, seed) returns, checked. Raises InputError where it fails or returns anything else.

    It gets a copy of the samples, since it may change them in place.
    """
    try:
        model = train(replace(samples, x=samples.x.clone(), y=samples.y.clone()), seed)
    except Exception as error:
        raise InputError(f"{name}(samples, seed) fails: {type(error).__name__}: {error}") from error
    return classifier(model, samples, f"{name}(samples, seed)")


def classifier(model: Any, samples: Samples, name: str) -> nn.Module:
    """A network that answers these images with (N, classes) finite numbers, in evaluation mode, or InputError."""
    import torch
    from torch import nn

    if not isinstance(model, nn.Module):
        raise InputError(f"{name} should return a torch.nn.Module, it returns {type(model).__name__}")
    model.eval()
    few = samples.x[:FEW]
    try:
        with torch.no_grad():
            out = model(few)
    except Exception as error:
        raise InputError(
            f"the network of {name} does not take images {tuple(few.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(out, torch.Tensor) or out.shape != (len(few), samples.classes):
        found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise InputError(
            f"the network of {name} should answer {len(few)} images with logits ({len(few)}, {samples.classes}), it "
            f"answers with {found}"
        )
    if not out.isfinite().all():
        raise InputError(f"the network of {name} answers with numbers that are not finite")
    return model


def few_of_each(samples: Samples) -> Samples:
    """The first records of each class, on which a training function is tried."""
    chosen, counts = [], dict.fromkeys(range(samples.classes), 0)
    for name, label in zip(samples.ids, samples.y.tolist(), strict=True):
        if counts[label] < FEW:
            counts[label] += 1
            chosen.append(name)
    return samples.take(chosen)


def read_weights(path: Path, *, allow_pickle: bool) -> dict[str, Tensor]:
    """The weights in a file. Raises InputError for a pickle that was not allowed by name, and for damaged files.

    An allowed pickle is read by torch's restricted reader, which builds tensors and runs nothing.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise InputError(f"there are no weights {path}")
    content = path.read_bytes()
    is_pickle = content.startswith((b"\x80", b"PK"))
    if is_pickle and not allow_pickle:
        raise InputError(
            f"{path} is a pickle, which may run code when it is read; save it as safetensors, or set "
            "model.allow_pickle: true, by which torch's reader of plain tensors takes it"
        )
    try:
        # as bytes, since torch goes by the ending of a file's name
        found = torch.load(BytesIO(content), map_location="cpu", weights_only=True) if is_pickle else load(content)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as weights: {_first_line(error)}") from None
    except Exception as error:
        raise InputError(f"{path} holds more than tensors, and is not read: {_first_line(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{path} should hold a state dict: names and tensors, nothing else")
    return found


def code(written: Written) -> str:
    """SHA-256 over the user's own modules and weights that a request names, "" where it names none."""
    import importlib.util

    asked, total = written.request.model, hashlib.sha256()
    named = [name for name in (asked.train, asked.after) if name and ":" in name]
    for name in named:
        where = str(written.path.parent.resolve())
        if where not in sys.path:
            sys.path.insert(0, where)
        module = importlib.util.find_spec(name.partition(":")[0])
        if module is not None and module.origin:
            total.update(Path(module.origin).read_bytes())
    weights = [name for name in (asked.weights, asked.after, asked.language and asked.language.source) if name]
    there = [place for name in weights if (place := written.beside(name)).exists()]
    for place in there:
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        total.update("".join(digest(file) for file in files if file.is_file()).encode())
    return total.hexdigest() if named or there else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
