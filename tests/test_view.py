"""All runs of a folder as pages: what is listed, what each address answers, who is refused, what is written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from test_report import STAGES, make_folder
from texts import config_of, make_text_folder
from vestige import report, store
from vestige.types import InputError, MissingError
from vestige.view import Site, export, glance, server
from vestige.view.compare import compare, why_not
from vestige.view.downloads import FORMATS
from vestige.view.index import Index, Listed
from viewing import EVIL, copy, make_analysis, make_runs, settle


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("view") / "runs")


@pytest.fixture(scope="module")
def site(runs: Path) -> Site:
    return Site(runs)


def by_path(root: Path) -> dict[str, Listed]:
    return {one.path: one for one in Index(root).runs()}


def text_of(site: Site, path: str) -> str:
    answer = site.answer(path)
    assert answer is not None, path
    return answer.body.decode()


# ---- what is read of a file


def test_the_parts_of_a_file_are_those_that_json_reads(runs: Path) -> None:
    for path in runs.rglob("*.json"):
        if path.parent.name != "broken":
            whole = json.loads(path.read_text())
            found = glance.parts(path.read_bytes())
            assert {key: glance.value(found, key) for key in found} == whole


@pytest.mark.parametrize("record", [{}, {"a": {}}, {"a": [], "b": 'x "y": {\n', "c\\": 1, "ü": [{"b": 2}]}])
def test_any_json_object_is_read(record: dict[str, Any]) -> None:
    for content in (store.to_json(record), json.dumps(record), json.dumps(record, indent=4)):
        found = glance.parts(content.encode())
        assert {key: glance.value(found, key) for key in found} == record


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{\n "a": \n}\n', b"\xff"])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    def read() -> dict[str, Any]:
        found = glance.parts(content)
        return {key: glance.value(found, key) for key in found}

    with pytest.raises(ValueError):  # noqa: PT011
        read()


def test_records_are_found_whole() -> None:
    rows = [{"variant": "a}b{", "group": "target", "n": 1}, {"group": "other", "n": 2}, {"n": 3, "group": "target"}]
    array = glance.parts(store.to_json({"rows": rows, "z": 1}).encode())["rows"]
    assert list(glance.records(array, b'"group": "target"')) == [rows[0], rows[2]]
    assert list(glance.records(array, b'"group": "target"', b'"n": 3')) == [rows[2]]


# ---- the index


def test_every_run_is_listed_with_its_status(runs: Path) -> None:
    found = by_path(runs)
    states = {path: one.status for path, one in found.items()}
    assert states.pop(next(path for path in states if path.startswith("evil"))) == "complete"
    assert states == {"images": "complete", "older/part": "partial", "texts": "complete", "waiting": "stopped",
                      "broken": "unreadable"}  # fmt: skip
    images = found["images"]
    assert (images.study, images.modality, images.model, images.data) == ("image-target", "image", "mlp", "mnist")
    assert (images.held, images.judged) == (1, 1), "a claim that could not be tested does not count"
    assert images.recall == (0.9, 0.85, 0.2)
    assert found["texts"].recall == pytest.approx((0.98, 0.72, 0.37)), "means of three targets"
    assert found["older/part"].recall == (0.9, 0.85, None)
    assert "JSONDecodeError" in found["broken"].why


def test_the_newest_comes_first(runs: Path) -> None:
    finished = [one.finished for one in Index(runs).runs()]
    assert finished == sorted(finished, reverse=True)


def test_a_folder_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_text_folder(tmp_path / "a", config_of())
    index = Index(tmp_path)
    (before,) = index.runs()
    with monkeypatch.context() as patch:
        patch.setattr("vestige.view.index._read", lambda *_: pytest.fail("read again"))
        assert index.runs() == (before,)
    record = store.read_json(tmp_path / "a" / "result.json")
    store.write_json(tmp_path / "a" / "result.json", {**record, "comparable": False})
    assert index.run(before.id) != before
    assert index.runs()[0].status == "partial"
    (tmp_path / "a" / "vestige.json").unlink()
    assert index.run(before.id) is None
    assert index.runs() == ()


def test_a_run_counts_as_running_while_steps_end(tmp_path: Path) -> None:
    root = make_text_folder(tmp_path / "a", config_of())
    (root / "result.json").unlink()
    (root / "models").mkdir()
    assert Index(tmp_path).runs()[0].status == "running"
    settle(tmp_path)
    assert Index(tmp_path).runs()[0].status == "stopped"


def test_links_and_hidden_folders_are_not_followed(tmp_path: Path, runs: Path) -> None:
    root = tmp_path / "some"
    root.mkdir()
    (root / "away").symlink_to(runs)
    make_text_folder(root / ".hidden", config_of())
    assert Index(root).runs() == ()
    real = make_text_folder(root / "real", config_of())
    (real / "result.json").unlink()
    (real / "result.json").symlink_to(runs / "texts" / "result.json")
    assert Index(root).runs()[0].status == "stopped", "a result that is a link is none"


def test_a_run_folder_itself_can_be_shown(runs: Path) -> None:
    (one,) = Index(runs / "texts").runs()
    assert one.path == "texts"


def test_markers_of_any_shape_do_not_stop_the_rest(tmp_path: Path) -> None:
    for number, content in enumerate(("[]", "{}", '{"config": []}', '{"config": {"model": 3, "data": 4}}', "", "\0")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "vestige.json").write_text(content)
    assert len(Index(tmp_path).runs()) == 6
    site = Site(tmp_path)
    for one in site.index.runs():
        assert one.path in text_of(site, f"run/{one.id}/index.html")


@pytest.mark.parametrize(
    "change",
    [{"rows": None}, {"rows": [1, {"metric": "x"}]}, {"verdicts": [{"holds": True}]}, {"verdicts": {}}, {"metrics": []},
     {"provenance": 3}, {"records": [{}], "answers": [{}]}, {"comparable": None}, {"kind": "audit"}, {"kind": ["x"]}],
)  # fmt: skip
def test_a_result_of_any_shape_does_not_stop_the_rest(tmp_path: Path, change: dict[str, Any]) -> None:
    for name in ("a", "b"):
        root = make_text_folder(tmp_path / name, config_of())
        if name == "a":
            store.write_json(root / "result.json", {**store.read_json(root / "result.json"), **change})
    site = Site(tmp_path)
    first, second = sorted(site.index.runs(), key=lambda one: one.path)
    assert "2 runs" in text_of(site, "index.html")
    for path in (f"run/{first.id}/index.html", f"compare/{first.id}-{second.id}.html"):
        assert "All runs" in text_of(site, path)
    site.answer(f"run/{first.id}/table.csv")
    assert second.status == "complete"


def test_a_name_that_is_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    make_text_folder(Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff")), config_of())
    site = Site(tmp_path)
    (one,) = site.index.runs()
    assert "n\N{REPLACEMENT CHARACTER}" in text_of(site, f"run/{one.id}/index.html")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        Index(tmp_path / "none")


# ---- the pages


def test_the_page_of_a_run_is_its_report(runs: Path, site: Site) -> None:
    for path, one in by_path(runs).items():
        if one.has_result and not one.why:
            written = report.page(report.summarise(runs / path))
            shown = text_of(site, f"run/{one.id}/index.html")
            assert shown.split("<main>")[1] == written.split("<main>")[1]


def test_every_page_admits_only_what_it_holds(site: Site) -> None:
    for path in Site(site.index.root, static=True).paths():
        answer = site.answer(path)
        assert answer is not None
        if not path.endswith(".html"):
            assert answer.policy == ""
            continue
        page = answer.body.decode()
        assert answer.policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        (style,) = re.findall("<style>(.*?)</style>", page, re.S)
        assert report.style_hash(style) in answer.policy
        scripts = re.findall("<script>(.*?)</script>", page, re.S)
        assert all(report.style_hash(script) in answer.policy for script in scripts)
        assert page.count("<script") == len(scripts) <= 1
        assert 'style="' not in page
        assert not re.findall(r'(?:src|href|action)="(?:[a-z]+:)?//', page), "everything is relative"


def test_what_comes_from_data_stays_text(site: Site) -> None:
    evil = next(one for one in site.index.runs() if one.path.startswith("evil"))
    for path in ("index.html", f"run/{evil.id}/index.html", f"run/{evil.id}/sample-0.html"):
        page = text_of(site, path)
        assert EVIL not in page
        assert EVIL.replace("/", "") not in page
        assert "&lt;script&gt;" in page


def test_a_sample_stands_at_every_stage(site: Site) -> None:
    runs = {one.path: one for one in site.index.runs()}
    page = text_of(site, f"run/{runs['images'].id}/sample-0.html")
    assert "never/target" in page
    assert "With similar images in training it comes back at before, R0" in page
    assert all(f">{stage}<small>" in page for stage in STAGES)
    similar = text_of(site, f"run/{runs['images'].id}/sample-1.html")
    assert "Similar to the target never/target" in similar
    asked = text_of(site, f"run/{runs['texts'].id}/sample-0.html")
    assert "What the models answer" in asked
    assert "facts/target-0/01" in asked, "its paraphrases too"
    assert "its KM is 0.98 before unlearning and 0.70 after R0" in asked


def test_a_run_without_result_says_so(site: Site) -> None:
    runs = {one.path: one for one in site.index.runs()}
    assert "This run is stopped" in text_of(site, f"run/{runs['waiting'].id}/index.html")
    assert "JSONDecodeError" in text_of(site, f"run/{runs['broken'].id}/index.html")


def test_a_study_whose_files_are_gone_is_shown_plainly(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "a", STAGES)
    next((root / "scores").glob("*/tensors.safetensors")).write_bytes(b"no")
    site = Site(tmp_path)
    (one,) = site.index.runs()
    page = text_of(site, f"run/{one.id}/index.html")
    assert "Its report cannot be drawn" in page
    assert "never_seen_same_class" in page, "its rows are there all the same"
    assert site.answer(f"run/{one.id}/sample-0.html") is None


def test_an_analysis_has_its_own_page(tmp_path: Path) -> None:
    make_analysis(tmp_path / "found")
    site = Site(tmp_path)
    (one,) = site.index.runs()
    assert (one.study, one.status, one.is_study) == ("analysis", "complete", False)
    page = text_of(site, f"run/{one.id}/index.html")
    assert "Do paraphrases lie together?" in page
    assert "All runs" in page


def test_an_audit_counts_records_that_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    store.write_json(tmp_path / "audit" / "vestige.json", {"config": {"data": {"source": "x/mine.npz"}, "model": {}}})
    verdicts = [{"record": "a", "name": "forgotten"}, {"record": "b", "name": "cannot_tell"}]
    store.write_json(tmp_path / "audit" / "result.json", {"kind": "audit", "modality": "image", "verdicts": verdicts})
    site = Site(tmp_path)
    (one,) = site.index.runs()
    assert (one.study, one.data, one.held, one.judged, one.is_study) == ("audit", "mine.npz", 1, 2, False)
    assert "1 of 2<small>forgotten</small>" in text_of(site, "index.html")
    assert "audit" in text_of(site, f"run/{one.id}/index.html")


def test_an_empty_folder_says_how_to_make_a_run(tmp_path: Path) -> None:
    assert "vestige quickstart" in text_of(Site(tmp_path), "index.html")


@pytest.mark.parametrize(
    "path",
    ["", "/", "..", "../index.html", "run", "run/..", "run/../index.html", "run/%2e%2e/index.html", "vestige.json",
     "run/000000000000/index.html", "run/{id}/", "run/{id}/result.json", "run/{id}/../../../etc/passwd",
     "run/{id}/sample--1.html", "run/{id}/sample-999.html", "run/{id}/sample-0.html/..", "run/{id}/table.pkl",
     "run/{id}/index.html\n", "compare/{id}-{id}.html", "compare/{id}-000000000000.html", "run/images/index.html"],
)  # fmt: skip
def test_other_addresses_hold_nothing(site: Site, path: str) -> None:
    images = next(one for one in site.index.runs() if one.path == "images")
    assert site.answer(path.replace("{id}", images.id)) is None


# ---- downloads


def test_downloads_read_back_as_the_same_rows(site: Site) -> None:
    import pyarrow.parquet

    for path in ("images", "texts"):
        one = next(one for one in site.index.runs() if one.path == path)
        record = store.read_json(one.root / "result.json")
        found = {ending: site.answer(f"run/{one.id}/table.{ending}") for ending in FORMATS}
        body = {ending: answer.body for ending, answer in found.items() if answer}
        jsonl = [json.loads(line) for line in body["jsonl"].decode().splitlines()]
        assert [{key: row[key] for key in record["rows"][0]} for row in jsonl] == record["rows"]
        assert {"what", "unit", "better"} <= set(jsonl[0])
        assert pyarrow.parquet.read_table(io.BytesIO(body["parquet"])).to_pylist() == jsonl
        table = list(csv.DictReader(io.StringIO(body["csv"].decode(), newline="")))
        assert table == [{key: "" if value is None else str(value) for key, value in row.items()} for row in jsonl]


def test_csv_keeps_what_would_break_a_line() -> None:
    rows = [{"a": 'x,"y"\r\nz', "b": None}, {"a": EVIL, "b": -0.1}]
    read = list(csv.DictReader(io.StringIO(FORMATS["csv"][1](rows).decode(), newline="")))
    assert read == [{"a": rows[0]["a"], "b": ""}, {"a": EVIL, "b": "-0.1"}]


# ---- comparisons


def test_two_runs_are_matched_number_by_number(tmp_path: Path, runs: Path) -> None:
    copy(runs, "texts", str(tmp_path / "a"))
    other = make_text_folder(tmp_path / "b", config_of(seeds=2, data={"targets": 2}))
    record = store.read_json(other / "result.json")
    record["rows"] = record["rows"][1:]
    record["rows"][0] |= {"mean": 0.9, "low": 0.85, "high": 0.95}
    record["rows"][1] |= {"low": None}
    store.write_json(other / "result.json", record)
    listed = by_path(tmp_path)
    found = compare(listed["a"], listed["b"])
    assert found.why == ""
    keys = [row.key for row in found.rows]
    assert len(keys) == len(set(keys)) == len(record["rows"]) + 1
    gone, first, second = found.rows[:3]
    assert (gone.second.text, gone.difference, gone.apart) == ("–", None, "–")
    was = store.read_json(tmp_path / "a" / "result.json")["rows"][1]["mean"]
    assert first.difference == pytest.approx(0.9 - was)
    assert first.apart == ("yes" if abs(0.9 - was) > 0.15 else "no")
    assert second.apart == "–", "without an interval it cannot be told"
    assert ("data.targets", "3", "2") in found.settings
    assert {key for key, *_ in found.settings} == {"data.targets", "seeds"}
    assert found.claims == (("kept (at least 0.05)", "yes", "yes", "0.20", "0.20"),)
    again = compare(listed["b"], listed["a"])
    assert [row.difference for row in again.rows if row.key == first.key] == [pytest.approx(-first.difference)]


def test_why_runs_cannot_be_compared(runs: Path, tmp_path: Path) -> None:
    listed = by_path(runs)
    assert "share the meaning of recall, not its scale" in why_not(listed["images"], listed["texts"])
    assert "has no result yet" in why_not(listed["texts"], listed["waiting"])
    assert "cannot be read" in why_not(listed["broken"], listed["texts"])
    make_analysis(tmp_path / "found")
    assert "holds no study" in why_not(by_path(tmp_path)["found"], listed["texts"])
    assert why_not(listed["images"], listed["older/part"]) == ""


def test_a_comparison_says_what_to_know_first(site: Site) -> None:
    found = {one.path: one for one in site.index.runs()}
    page = text_of(site, f"compare/{found['images'].id}-{found['older/part'].id}.html")
    assert "older/part is not complete." in page
    other = text_of(site, f"compare/{found['images'].id}-{found['texts'].id}.html")
    assert "cannot be compared" in other
    assert "data.source" in other, "their settings are shown all the same"


# ---- the written copy


def test_the_copy_holds_the_same_pages(runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    count = export(runs, target, say=lambda _: None)
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert len(files) == count + 1
    site = Site(runs)
    for name in files - {"index.html", "vestige-view.json"}:
        answer = site.answer(name)
        assert answer is not None
        assert (target / name).read_bytes() == answer.body
    for name in files:
        if name.endswith(".html"):
            page = (target / name).read_text()
            for link in re.findall(r'<a [^>]*href="([^"#]+)', page):
                assert os.path.normpath(Path(name).parent / link) in files
    assert len([name for name in files if name.startswith("compare/")]) == 2, "of images, of texts"
    assert export(runs, target, say=lambda _: None) == count, "its own copy may be replaced"
    assert [path.name for path in tmp_path.iterdir()] == ["site"], "nothing is left beside it"


def test_the_copy_overwrites_nothing_of_others(runs: Path, tmp_path: Path) -> None:
    full, file, link = tmp_path / "full", tmp_path / "file", tmp_path / "link"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    file.write_text("mine")
    link.symlink_to(full)
    for target, why in ((full, "not empty"), (file, "no folder"), (link, "no folder"), (runs, "runs themselves"),
                        (runs.parent, "runs themselves"), (runs / "texts", "is a run folder")):  # fmt: skip
        before = sorted(target.iterdir()) if target.is_dir() else target.read_text()
        with pytest.raises(InputError, match=why):
            export(runs, target, say=lambda _: None)
        assert (sorted(target.iterdir()) if target.is_dir() else target.read_text()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"full", "file", "link"}


def test_nothing_is_written_below_the_runs(runs: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(runs.rglob("*"))]

    before = state()
    site = Site(runs)
    for path in Site(runs, static=True).paths():
        site.answer(path)
    assert state() == before


# ---- the server


@pytest.fixture(scope="module")
def port(runs: Path) -> int:
    at, ready = server.bind(), threading.Event()
    threading.Thread(target=server.serve, args=(Site(runs), at, ready.set), daemon=True).start()
    assert ready.wait(30)
    found: int = at.getsockname()[1]
    return found


def ask(port: int, path: str, method: str = "GET", host: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": host or f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_the_server_answers_with_a_strict_policy(port: int) -> None:
    status, headers, body = ask(port, "/")
    assert status == 200
    assert b"5 runs" in body or b"6 runs" in body
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert ask(port, "/", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}",
                                  "127.0.0.1.evil.example:{port}", "[::1]:{port}"])  # fmt: skip
def test_other_hosts_are_refused(port: int, host: str) -> None:
    status, headers, body = ask(port, "/", host=host.replace("{port}", str(port)))
    assert status == 403
    assert b"runs" not in body
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_requests_from_other_pages_are_refused(port: int) -> None:
    other = f"http://127.0.0.1:{port + 1}"
    for name, value in (("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", other),
                        ("Sec_Fetch_Site", "cross-site"), ("Sec_Fetch_Site", "same-site")):  # fmt: skip
        assert ask(port, "/", **{name: value})[0] == 403, (name, value)
    assert ask(port, "/", Origin=f"http://127.0.0.1:{port}", Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(port: int, method: str) -> None:
    assert ask(port, "/", method)[0] == 405


@pytest.mark.parametrize(
    "path",
    ["/../vestige.json", "/%2e%2e/%2e%2e/etc/passwd", "/run/../../etc/passwd", "//etc/passwd", "/%00",
     "/run/%2e%2e/vestige.json", "/run/x/index.html", "/images/result.json"],
)  # fmt: skip
def test_no_file_can_be_asked_for(port: int, path: str) -> None:
    status, _, body = ask(port, path)
    assert status == 404
    assert body == b"there is nothing here; all runs stand at /\n"


def test_comparisons_can_be_asked_for_without_scripts(port: int, runs: Path) -> None:
    found = by_path(runs)
    first, second = found["images"].id, found["older/part"].id
    status, headers, _ = ask(port, f"/compare?run={first}&run={second}")
    assert (status, headers["location"]) == (303, f"/compare/{second}-{first}.html")
    assert ask(port, headers["location"])[0] == 200
    assert ask(port, f"/compare?run={first}")[0] == 400
    assert ask(port, "/compare?run=%0d%0aX:1&run=//evil.example")[0] == 400
    assert ask(port, f"/run/{first}/")[0] == 200
    status, headers, _ = ask(port, f"/run/{first}/table.csv")
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert ask(port, f"/run/{first}/table.csv", "HEAD")[2] == b""


def test_it_listens_on_this_machine_only() -> None:
    at = server.bind()
    at.listen()
    assert at.getsockname()[0] == "127.0.0.1"
    with pytest.raises(InputError, match="cannot be used"):
        server.bind(at.getsockname()[1])
    at.close()


def test_a_missing_package_is_named(run: Any, monkeypatch: pytest.MonkeyPatch, runs: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("vestige.view.server.find_spec", lambda name: None if name == "uvicorn" else object())
    status, out, err = run("view", runs)
    assert (status, out) == (3, "")
    assert "pip install 'vestige[view]'" in err
    assert "uvicorn" in err
    with pytest.raises(MissingError):
        server.check_installed()
    status, out, _ = run("view", runs / "waiting", "--export", tmp_path / "copy", "--json")
    assert (status, json.loads(out)["files"]) == (0, 2), "a copy needs no server"


def test_a_folder_that_is_not_there_is_a_usage_error(run: Any) -> None:
    status, out, err = run("view", "nowhere")
    assert (status, out) == (2, "")
    assert "nowhere is not a folder" in err


def test_the_command_serves_until_interrupted(runs: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vestige", "view", str(runs), "--port", str(port), "--no-browser", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    lines = []
    while not lines or lines[-1].strip() != "}":
        lines.append(process.stdout.readline())
        assert lines[-1], "it ended"
    said = json.loads("".join(lines))
    assert said["page"] == f"http://127.0.0.1:{port}/"
    assert ask(port, "/")[0] == 200
    start = time.time()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert time.time() - start < 20


def test_help_does_not_load_the_server() -> None:
    code = "import sys, vestige.cli; sys.exit(bool({'starlette', 'torch', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
