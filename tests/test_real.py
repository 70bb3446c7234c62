"""Real MNIST, the real command line."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from vestige import assets, image
from vestige.studies import configure

pytestmark = pytest.mark.timeout(900)  # the quickstart takes a minute on two free cores, several on busy ones


def test_mnist_is_what_it_should_be():
    samples = image.load(assets.locate("mnist"))
    assert samples.x.shape == (5000, 1, 28, 28)
    assert torch.bincount(samples.y).tolist() == [500] * 10
    assert samples.x.max() == 255


def command(out, *more):
    return [sys.executable, "-m", "vestige", "quickstart", "--out", str(out), *more]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart") / "out"
    done = subprocess.run(command(out, "--json"), capture_output=True, text=True, check=True)
    return out, json.loads(done.stdout)


@pytest.mark.slow
def test_quickstart_shows_the_finding(quickstart):
    out, record = quickstart
    assert record == json.loads((out / "result.json").read_text())
    holds = {verdict["name"]: verdict["holds"] for verdict in record["verdicts"]}
    for name in ("retraining-forgets-alone", "similar-samples-keep-it", "they-are-the-reason", "five-mend-it"):
        assert holds[name] is True, name
    members = [row for row in record["rows"] if (row["group"], row["metric"]) == ("member", "auc")]
    assert len(members) == 9
    assert min(row["low"] for row in members) > 0.75
    null = [row for row in record["rows"] if (row["group"], row["metric"]) == ("never_seen", "ncc")]
    assert all(row["n"] >= 300 for row in null)


@pytest.mark.slow
def test_quickstart_killed_anywhere_ends_with_the_same_result(quickstart, tmp_path):
    out, _ = quickstart
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    for patience in (3, 6, 9, 12, 15):
        process = subprocess.Popen(command(tmp_path / "killed"), **quiet)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command(tmp_path / "killed"), check=True, **quiet)
    assert (tmp_path / "killed" / "result.json").read_bytes() == (out / "result.json").read_bytes()


@pytest.mark.slow
def test_the_page_opens_in_a_real_browser(quickstart, tmp_path):
    """Chromium shows the page without a refusal by its own content policy and without asking the network."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    out, _ = quickstart
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    done = subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--window-size=1200,3000",
         f"--screenshot={tmp_path / 'page.png'}", (out / "report.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "Refused" not in done.stderr
    assert (tmp_path / "page.png").stat().st_size > 50_000


@pytest.mark.slow
def test_fashion_mnist_as_debian_lays_it(tmp_path):
    if assets.KNOWN["fmnist"].find() is None:
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    settings = configure("image-target", data="fmnist")
    assert settings.data.fraction == 0.1
    samples = image.load(assets.locate("fmnist"))
    assert samples.x.shape == (60_000, 1, 28, 28)
    assert torch.bincount(samples.y).tolist() == [6000] * 10


@pytest.mark.slow
def test_shadow_models_find_members_and_nothing_in_retrained_ones(tmp_path):
    """Without similar samples: LiRA finds what a model trained on; U-LiRA tells before from never trained, not R0."""
    sets = ("training=[without]", "stages=[before,R0]")
    command = [sys.executable, "-m", "vestige", "study", "image-methods", "--seed", "100", "--seeds", "1", "--json"]
    command += ["--out", str(tmp_path / "out"), *(part for item in sets for part in ("--set", item))]
    record = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = {(row["stage"], row["group"], row["metric"]): row for row in record["rows"]}
    assert found["before", "member", "lira_auc"]["low"] > 0.85
    assert found["before", "member", "lira_auc"]["mean"] > found["before", "member", "loss_auc"]["mean"]
    assert found["before", "target", "u_lira_auc"]["mean"] > 0.9
    assert 0.2 < found["R0", "target", "u_lira_auc"]["mean"] < 0.8


@pytest.mark.slow
def test_search_among_sixty_thousand():
    """Exact search is brute force; the two-stage search finds what it finds."""
    from vestige.image import lowpass, search
    from vestige.image.ssim import ssim_matrix
    from vestige.index import recall

    if assets.KNOWN["fmnist"].find() is None:
        pytest.skip("Fashion-MNIST is not installed")
    x = image.load(assets.locate("fmnist")).x
    rows = torch.arange(0, 60_000, 3000)
    exact = search.nearest(x[rows], x, 10, skip=rows)
    scores = ssim_matrix(x[rows[:2]].float() / 255, x.float() / 255)
    scores[range(2), rows[:2]] = -1
    brute = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :10]
    assert torch.equal(exact.position.view(-1, 10)[:2], brute)
    quick = lowpass.build(x).nearest(x[rows], x, 10, skip=rows)
    assert recall(quick.position.view(-1, 10), exact.position.view(-1, 10)) >= 0.99
