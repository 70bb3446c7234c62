"""The user's own code and weights: `module:function` that trains or returns a network, and files without pickle."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vestige.audit.request import Written
from vestige.store import digest
from vestige.types import InputError, Samples, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

FEW = 2
"""Records of each class that a training function is tried on before anything else."""
FAILS = (Exception, SystemExit)
"""What the user's code may raise: a script that ends with exit() must not end the audit, least of all with status 0."""


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
    except FAILS as error:
        raise InputError(f"{name!r}: importing {module} fails: {_said(error)}") from error
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
    except FAILS as error:
        raise InputError(f"{name}(samples, seed) fails: {_said(error)} (called with {len(samples)} records)") from error
    return classifier(model, samples, f"{name}(samples, seed)")


def returned(name: str, folder: Path, samples: Samples) -> nn.Module:
    """What the user's `module:function` returns, a network that takes these images. Raises InputError otherwise."""
    make = function(name, folder)
    try:
        model = make()
    except FAILS as error:
        raise InputError(f"{name}() fails: {_said(error)}") from error
    return classifier(model, samples, f"{name}()")


def classifier(model: Any, samples: Samples, name: str, *, finite: bool = True) -> nn.Module:
    """A network that answers these images with (N, classes) numbers, in evaluation mode, or InputError.

    finite: whether it must not answer with NaN or infinity; what a method made of a network may.
    """
    import torch
    from torch import nn

    if not isinstance(model, nn.Module):
        raise InputError(f"{name} should return a torch.nn.Module, it returns {type(model).__name__}")
    model.eval()
    few = samples.x[:FEW]
    try:
        with torch.no_grad():
            out = model(few)
    except FAILS as error:
        raise InputError(f"the network of {name} does not take images {tuple(few.shape)}: {_said(error)}") from error
    if not isinstance(out, torch.Tensor) or out.shape != (len(few), samples.classes):
        found = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise InputError(
            f"the network of {name} should answer {len(few)} images with logits ({len(few)}, {samples.classes}), it "
            f"answers with {found}"
        )
    if finite and not out.isfinite().all():
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
    is_pickle = content.startswith((b"\x80", b"PK")) and not _has_header(content)
    if is_pickle and not allow_pickle:
        raise InputError(
            f"{path} is a pickle, which may run code when it is read; save it as safetensors, or set "
            "model.allow_pickle: true, by which torch's reader of plain tensors takes it"
        )
    try:
        # as bytes, since torch goes by the ending of a file's name
        found = torch.load(BytesIO(content), map_location="cpu", weights_only=True) if is_pickle else load(content)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as weights: {first_line(error)}") from None
    except Exception as error:
        raise InputError(f"{path} holds more than tensors, and is not read: {first_line(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InputError(f"{path} should hold a state dict: names and tensors, nothing else")
    return found


def code(written: Written) -> dict[str, str]:
    """SHA-256 of each file of the user's own that a request names: modules with what they import, and weights.

    Of what a module imports, what lies in the request's folder, as it is written; nothing is run. File → digest.
    """
    asked, folder = written.request.model, written.path.parent
    files: list[Path] = []
    for name in (asked.train, asked.after):
        if name and ":" in name:
            _imported(name.partition(":")[0], folder, files)
    for named in (asked.weights, asked.after, asked.language.source if asked.language else None):
        if named and (place := written.beside(named)).exists():
            files += sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]
    return {_beside(file, folder): digest(file) for file in files}


def _imported(module: str, folder: Path, files: list[Path]) -> None:
    """Add the file of a module in this folder, and of those in it that it imports, each once."""
    place = folder / module.replace(".", "/")
    path = next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
    if path is None or path in files:
        return
    files.append(path)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it says so
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            root = ".".join([*base, *([node.module] if node.module else [])])
            named = [root, *(f"{root}.{one.name}" if root else one.name for one in node.names)]
        else:
            continue
        for one in named:
            parts = one.split(".")
            for size in range(1, len(parts) + 1):
                _imported(".".join(parts[:size]), folder, files)


def _beside(file: Path, folder: Path) -> str:
    """A file's name as the request could write it."""
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _has_header(content: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and the header."""
    return 8 + int.from_bytes(content[:8], "little") <= len(content) and content[8:9] == b"{"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
