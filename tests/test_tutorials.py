"""Every command of the tutorials is run, in order, in an empty folder, and so are those of the CI example."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
STATUS = re.compile(r"\s+# exit status (\d+)$")
TUTORIALS = ("tutorial-privacy.md", "tutorial-researcher.md")


def steps(name):
    """What a reader does: ("write", file, text) where a block begins with a file's name, ("run", command, status)."""
    for language, block in FENCE.findall((DOCS / name).read_text(encoding="utf-8")):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                found = STATUS.search(line)
                yield "run", STATUS.sub("", line), int(found[1]) if found else 0
        elif language:
            first, _, rest = block.partition("\n")
            yield "write", first.removeprefix("# "), rest


def carry_out(command, status, folder):
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
             "PYTHONPATH": str(DOCS.parent / "src"), "NO_COLOR": "1"}  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, f"{command}\nexit status {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_command_stands_where_it_is_run(name):
    for language, block in FENCE.findall((DOCS / name).read_text(encoding="utf-8")):
        if language == "sh":
            continue
        assert not re.search(r"^(vestige|python) ", block, re.M), "a command outside of a block that is run"
        assert not language or re.match(r"# [\w.-]+\n", block), "a block of code without its file's name"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_runs_as_it_stands(name, tmp_path):
    for kind, what, more in steps(name):
        if kind == "write":
            (tmp_path / what).write_text(more, encoding="utf-8")
        else:
            carry_out(what, more, tmp_path)
    if name == "tutorial-privacy.md":
        (tmp_path / "request.yaml").write_text((tmp_path / "answered.yaml").read_text())
        for line in (line for line in workflow() if line.startswith("vestige ")):
            carry_out(line, 0, tmp_path)


def workflow():
    """The command lines of the CI example."""
    jobs = yaml.safe_load((DOCS / "ci-gate.yml").read_text(encoding="utf-8"))["jobs"]
    return [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_the_example_of_a_gate_in_ci_installs_what_there_is_and_runs_only_vestige():
    extras = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in workflow():
        first, *rest = shlex.split(line)
        assert first in ("pip", "vestige")
        if first == "pip":
            assert set(re.findall(r"\[(.*?)\]", rest[-1])[0].split(",")) <= set(extras)
    assert sum(line.startswith("vestige ") for line in workflow()) == 3
