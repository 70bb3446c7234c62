"""An audit that is killed, or is not alone, ends in the same report."""

import errno
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from test_audit import write
from vestige.audit import conduct, folder
from vestige.audit.request import read
from vestige.types import InputError

KILLS = 50


def audit(path, out):
    """A whole audit, or what is left of it."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - of a process of its own, until it ends
    with conduct.opened(read(path), out) as one:
        conduct.conclude(one, lambda message: None)


def begun(path, out):
    job = multiprocessing.get_context("fork").Process(target=audit, args=(path, out))
    job.start()
    return job


def result(root):
    return next(root.glob("001-*/result.json")).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_at_random_moments_resume_to_the_same_report(npz, tmp_path):
    path = write(tmp_path / "request.yaml")
    start = time.perf_counter()
    begun(path, tmp_path / "whole").join()
    took = time.perf_counter() - start
    wanted = result(tmp_path / "whole")
    killed, rng, hit, stood = tmp_path / "killed", np.random.default_rng(0), 0, []
    while hit < KILLS:
        job = begun(path, killed)
        time.sleep(rng.uniform(0, took))
        os.kill(job.pid, signal.SIGKILL)
        job.join()
        there = list(killed.glob("001-*/*/[!.]*"))
        log = killed / folder.LOG
        if job.exitcode == -signal.SIGKILL and not (log.exists() and '"finished"' in log.read_text()):
            hit += 1
            stood.append(len(there))
        begun(path, killed).join()
        assert result(killed) == wanted
        shutil.rmtree(killed)
    print(f"{KILLS} kills; finished steps that they left: {sorted(stood)}")


def test_references_side_by_side_give_the_same_report(npz, tmp_path, run):
    path = write(tmp_path / "request.yaml")
    assert run("audit", path, "--out", "one")[0] == run("audit", path, "--out", "two", "--workers", "2")[0]
    assert result(tmp_path / "one") == result(tmp_path / "two")


def test_the_second_of_two_audits_is_refused_or_waits(tmp_path):
    root = tmp_path / "audit"
    code = (
        "import sys; from vestige.audit import folder; from pathlib import Path\n"
        f"with folder.locked(Path({str(root)!r}), wait=len(sys.argv) > 1): print('in')"
    )
    with folder.locked(root, wait=False):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"another audit is at work in {root} (process {os.getpid()})" in done.stderr
        waiting = subprocess.Popen([sys.executable, "-c", code, "wait"], stdout=subprocess.PIPE, text=True)
        time.sleep(1.0)
        assert waiting.poll() is None
    assert waiting.communicate(timeout=60)[0] == "in\n"


def test_a_full_disk_loses_nothing_that_was_finished(run, npz, tmp_path, monkeypatch):
    path = write(tmp_path / "request.yaml")
    writes, room = [], math.inf

    def limited(method):
        def call(self, *arguments, **named):
            writes.append(self)
            if len(writes) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
            return method(self, *arguments, **named)

        return call

    for name in ("write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, limited(getattr(Path, name)))
    status = run("audit", path, "--out", "whole")[0]
    wanted, total = result(tmp_path / "whole"), len(writes)
    for share in (0.3, 0.7, 1.0):
        writes, room = [], round(share * (total - 1))
        full, out, err = run("audit", path, "--out", "full")
        assert (full, out) == (2, "")
        assert "No space left on device" in err
        kept = {file: file.read_bytes() for file in (tmp_path / "full").glob("001-*/*/[!.]*/*")}
        assert not list((tmp_path / "full").glob("001-*/*/.*"))
        room = math.inf
        assert run("audit", path, "--out", "full")[0] == status
        assert result(tmp_path / "full") == wanted
        assert all(file.read_bytes() == content for file, content in kept.items())
        shutil.rmtree(tmp_path / "full")


def test_two_audits_on_one_folder_lose_nothing(npz, tmp_path):
    """Two requests at once, of which one waits: both are logged, the second starts from what the first left."""
    paths = [write(tmp_path / "first.yaml", "shapes/0"), write(tmp_path / "second.yaml", "shapes/25")]
    errors = []

    def one(path):
        try:
            with conduct.opened(read(path), tmp_path / "audit", wait=True) as opened:
                conduct.conclude(opened, lambda message: None)
        except InputError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    lot = folder.active(tmp_path / "audit")
    assert [(one.number, one.parent, one.finished is not None) for one in lot] == [(1, 0, True), (2, 1, True)]
