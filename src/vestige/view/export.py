"""A written copy of all pages: a folder that opens from the disk, with no server."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from vestige.store import MARKER, read_json, write_json
from vestige.types import InputError
from vestige.view.site import Site

MARK = "vestige-view.json"
"""Says that a folder is such a copy, and so may be replaced."""


def export(root: Path, target: Path, *, say: Callable[[str], None]) -> int:
    """Write the pages of all runs below `root` to the folder `target`; how many files were written.

    It is written beside it and then takes its place, so that an old copy stays until the new one is whole. Raises
    InputError for a folder that is not such a copy, and for one that cannot be written.
    """
    site = Site(root, static=True)
    target = target.absolute()
    _check(target, site.index.root)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    old = draft.with_name(f"{draft.name}.old")
    count = 0
    try:
        draft.mkdir(parents=True)
        for path in site.paths():
            answer = site.answer(path)
            if answer is None:
                raise InputError(f"{root} changed while it was read; run the same command again")
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_bytes(answer.body)
            count += 1
            if count % 100 == 0:
                say(f"{count} files")
        write_json(draft / MARK, {"made by": "vestige view --export", "files": count})
        if target.exists():
            os.rename(target, old)
        os.rename(draft, target)
    except OSError as error:
        raise InputError(f"could not write {target}: {error.strerror}; nothing there was changed") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return count


def _check(target: Path, root: Path) -> None:
    """Raise InputError where a copy cannot be put there."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"--export {target} is no folder; name one that does not exist yet")
    if target.resolve() == root or target.resolve() in root.parents:
        raise InputError(f"--export {target} holds the runs themselves; name another folder")
    if (target / MARKER).exists():
        raise InputError(f"--export {target} is a run folder; name another one")
    if target.is_dir() and any(target.iterdir()) and not (target / MARK).is_file():
        raise InputError(f"--export {target} is not empty and vestige view did not write it; name another folder")
    if (target / MARK).is_file():
        read_json(target / MARK)
