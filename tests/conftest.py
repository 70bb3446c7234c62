"""Small real data for the tests: digits-like images drawn from a few shapes, no network, no stand-in code."""

import sys

import numpy as np
import pytest
import torch

from vestige.types import Samples


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def shapes(per_class=20, classes=3, size=12, seed=0):
    """Grey images (N, 1, size, size) uint8 of `classes` kinds: noisy bars in different places."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for label in range(classes):
        for _ in range(per_class):
            image = rng.integers(0, 60, (size, size))
            image[:, 2 + 3 * label : 5 + 3 * label] += rng.integers(80, 190, (size, 1))
            images.append(image)
            labels.append(label)
    return np.stack(images).astype(np.uint8)[:, None], np.array(labels)


@pytest.fixture
def browser(tmp_path):
    """A page in Chromium."""
    from browsing import Browser

    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


@pytest.fixture
def pool():
    """60 images of 3 classes, as a reader returns them."""
    x, y = shapes()
    return Samples(tuple(f"toy/{i}" for i in range(len(x))), torch.from_numpy(x), torch.from_numpy(y), 3)


@pytest.fixture
def npz(tmp_path):
    """The same kind of data as a .npz file, large enough for a tiny study."""
    x, y = shapes(per_class=24)
    path = tmp_path / "shapes.npz"
    np.savez(path, x=x[:, 0], y=y)
    return path


TINY = [
    "data.per_class=6",
    "data.targets=2",
    "data.similar=3",
    "data.held_out=2",
    "data.never_seen=15",
    "data.test=9",
    "model.hidden=[24,24]",
    "train.steps=30",
    "recover.steps=20",
    "unlearn.relabel.steps=5",
    "stages=[before,R0,R1,relabel,RF-1+2]",
]
"""Settings under which a study takes seconds."""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; returns (status, stdout, stderr)."""
    from vestige import cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["vestige", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call
