"""The pages of all runs in a real Chromium: by mouse and by keyboard, served and from the disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from browsing import needs_chromium
from texts import config_of, make_text_folder
from vestige import store
from vestige.view import Site, export, server
from viewing import make_runs, settle

pytestmark = needs_chromium
MANY = 450


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("view") / "runs")


def serve(root: Path) -> str:
    at, ready = server.bind(), threading.Event()
    threading.Thread(target=server.serve, args=(Site(root), at, ready.set), daemon=True).start()
    assert ready.wait(30)
    return f"http://127.0.0.1:{at.getsockname()[1]}/"


@pytest.fixture(scope="module")
def served(runs: Path) -> str:
    return serve(runs)


@pytest.fixture(scope="module", params=["served", "from the disk"])
def address(request: pytest.FixtureRequest, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the table of all runs stands."""
    if request.param == "served":
        return str(request.getfixturevalue("served"))
    copy = tmp_path_factory.mktemp("copy") / "site"
    export(runs, copy, say=lambda _: None)
    return (copy / "index.html").as_uri()


def names(browser: Any) -> list[str]:
    """The runs that are shown, in order."""
    found: list[str] = browser.ask("[...document.querySelectorAll('tbody tr')].filter(r => !r.hidden)"
                                   ".map(r => r.querySelector('a').textContent)")  # fmt: skip
    return [name[:4] for name in found]


def title(browser: Any) -> str:
    found: str = browser.ask("document.querySelector('h1').textContent")
    return found


def choose(browser: Any, name: str, value: str) -> None:
    """Set a filter, as its user would."""
    browser.ask(f"(() => {{ const one = document.querySelector('[data-filter={name}]'); one.value = '{value}'; "
                "one.dispatchEvent(new Event('input')); })()")  # fmt: skip


def head(name: str) -> str:
    return f"document.querySelector('th[data-key={name}] button')"


def nothing_wrong(browser: Any, address: str) -> None:
    """No complaint in the console, and nothing was asked of anyone else."""
    assert browser.complaints() == []
    home = address.rsplit("/", 1)[0]
    assert [url for url in browser.asked() if not url.startswith((home, "data:"))] == []


def test_sort_by_any_column(browser: Any, address: str) -> None:
    browser.open(address)
    start = names(browser)
    assert start[:4] == ["evil", "text", "part", "imag"], "the newest first, what never finished last"
    assert browser.ask("document.querySelector('th[data-key=when]').getAttribute('aria-sort')") == "descending"
    browser.click(*browser.middle("th[data-key=run] button"))
    by_name = names(browser)
    assert by_name == sorted(by_name)
    assert browser.ask("document.querySelector('th[data-key=run]').getAttribute('aria-sort')") == "ascending"
    browser.click(*browser.middle("th[data-key=run] button"))
    assert names(browser) == by_name[::-1]
    browser.ask(f"{head('r1')}.click()")
    values = browser.ask("[...document.querySelectorAll('tbody tr')].map(r => r.cells[8].textContent)")
    assert values == ["0.37", "0.37", "0.20", "–", "–", "–"], "numbers: the largest first, none last"
    nothing_wrong(browser, address)


def test_the_address_keeps_what_was_chosen(browser: Any, address: str) -> None:
    browser.open(address)
    browser.ask(f"{head('run')}.click()")
    browser.ask("document.querySelector('[type=search]').focus()")
    browser.call("Input.insertText", text="TEXT-target complete")
    assert names(browser) == ["text"]
    assert browser.ask("document.querySelector('.count').textContent") == "1 of 6 rows"
    kept = browser.ask("location.href")
    assert "q=TEXT-target+complete" in kept
    browser.open("about:blank")
    browser.open(kept)
    assert names(browser) == ["text"]
    assert browser.ask("document.querySelector('[type=search]').value") == "TEXT-target complete"
    assert browser.ask("document.querySelector('th[data-key=run]').getAttribute('aria-sort')") == "ascending"
    nothing_wrong(browser, address)


def test_filter_by_study_and_status(browser: Any, address: str) -> None:
    browser.open(address)
    choose(browser, "study", "image-target")
    assert sorted(names(browser)) == ["imag", "part"]
    choose(browser, "status", "partial")
    assert names(browser) == ["part"]
    choose(browser, "study", "")
    choose(browser, "status", "unreadable")
    assert names(browser) == ["brok"]
    nothing_wrong(browser, address)


def test_compare_two_runs(browser: Any, address: str) -> None:
    browser.open(address)
    assert browser.ask("document.querySelector('#compare button').disabled")
    for name in ("images", "part"):
        box = f"[...document.querySelectorAll('tbody tr')].find(r => r.cells[1].textContent.startsWith('{name}'))"
        browser.ask(f"{box}.querySelector('input').click()")
    assert browser.ask("[...document.querySelectorAll('input[name=run]')].filter(b => !b.disabled).length") == 2
    browser.follow(lambda: browser.ask("document.querySelector('#compare button').click()"))
    assert "images beside part" in title(browser)
    assert "both were made with the same settings" in browser.ask("document.body.textContent")
    total = browser.ask("document.querySelectorAll('.numbers tbody tr').length")
    browser.ask(f"{head('size')}.click()")
    sizes = browser.ask("[...document.querySelectorAll('.numbers tbody tr')].map(r => r.cells[7].dataset.v ?? null)")
    known = [float(one) for one in sizes if one is not None]
    assert known == sorted(known, reverse=True)
    choose(browser, "metric", "ncc")
    shown = browser.ask("[...document.querySelectorAll('.numbers tbody tr')].filter(r => !r.hidden).length")
    assert 0 < shown < total
    nothing_wrong(browser, address)


def test_from_a_run_to_its_samples_and_back(browser: Any, address: str) -> None:
    browser.open(address)
    row = "[...document.querySelectorAll('tbody a')].find(a => a.textContent === 'images')"
    browser.follow(lambda: browser.ask(f"{row}.click()"))
    assert title(browser) == "Do similar samples spoil the unlearning of a target?"
    nothing_wrong(browser, address)
    browser.follow(lambda: browser.ask("document.querySelector('.trail a.target').click()"))
    assert title(browser) == "never/target"
    assert browser.ask("document.querySelectorAll('figure image').length") > 3
    stages = browser.ask("[...document.querySelectorAll('.main th[scope=row]')].map(h => h.firstChild.textContent)")
    assert stages[:2] == ["before", "R0"]
    nothing_wrong(browser, address)
    browser.follow(lambda: browser.ask("document.querySelector('[rel=next]').click()"))
    assert title(browser) == "copy/0"
    browser.follow(lambda: browser.ask("document.querySelector('.trail a').click()"))
    assert len(names(browser)) == 6
    nothing_wrong(browser, address)


def test_all_of_it_works_by_keyboard(browser: Any, served: str) -> None:
    browser.open(served)
    tab = {"windowsVirtualKeyCode": 9}
    seen = []
    for _ in range(30):
        browser.key("Tab", **tab)
        seen.append(browser.ask("(e => `${e.tagName} ${e.textContent.slice(0, 8)}`)(document.activeElement)"))
        if seen[-1].startswith("A "):
            break
    assert seen[0].startswith("INPUT"), "the search comes first"
    assert {one for one in seen if one.startswith("BUTTON")} >= {"BUTTON Run", "BUTTON Status", "BUTTON Finished"}
    assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid", "one sees where one is"
    first = browser.ask("document.activeElement.textContent")
    browser.key("ArrowDown", windowsVirtualKeyCode=40)
    second = browser.ask("document.activeElement.textContent")
    assert second != first
    browser.key("ArrowUp", windowsVirtualKeyCode=38)
    assert browser.ask("document.activeElement.textContent") == first
    browser.ask(f"{head('run')}.focus()")
    browser.key("Enter", windowsVirtualKeyCode=13, text="\r")
    assert names(browser) == sorted(names(browser))
    browser.ask("document.querySelector('[type=search]').focus()")
    browser.key("Enter", windowsVirtualKeyCode=13, text="\r")
    assert browser.ask("location.pathname") == "/", "Enter in the search box leads nowhere"


def test_data_cannot_become_markup(browser: Any, address: str) -> None:
    browser.open(address)
    row = "[...document.querySelectorAll('tbody a')].find(a => a.textContent.startsWith('evil'))"
    scripts = browser.ask("document.querySelectorAll('script').length")
    for action in (row, "document.querySelector('.trail a.target')"):
        browser.follow(lambda action=action: browser.ask(f"{action}.click()"))
        assert "owned" not in browser.ask("document.title").split("–")[-1]
        assert browser.ask("document.title") != "owned"
        assert browser.ask("document.querySelectorAll('script').length") == 0
        assert "<script>" in browser.ask("document.body.textContent")
        nothing_wrong(browser, address)
    assert scripts == 1


@pytest.mark.parametrize("width", [600, 1400])
def test_pages_fit_their_window(browser: Any, served: str, width: int, runs: Path) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    site = Site(runs)
    found = {one.path: one.id for one in site.index.runs()}
    images, texts, part = found["images"], found["texts"], found["older/part"]
    of_runs = (f"run/{images}/", f"run/{images}/sample-0.html", f"run/{texts}/sample-0.html", f"run/{found['broken']}/")
    for path in ("", *of_runs, f"compare/{images}-{part}.html", f"compare/{images}-{texts}.html"):
        browser.open(served + path)
        browser.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert browser.ask("document.documentElement.scrollWidth") <= width, path
        nothing_wrong(browser, served)


def test_thousands_of_runs_show_the_first_and_find_all(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(MANY):
        make_text_folder(root / f"run-{number}", config_of(), done=())
        facts = {"finished": f"2026-01-01T{number // 60:02}:{number % 60:02}:00", "failed": []}
        store.write_json(root / f"run-{number}" / "run.json", facts)
    settle(root)
    address = serve(root)
    browser.open(address)
    assert len(names(browser)) == 200
    browser.ask("document.querySelector('[type=search]').focus()")
    browser.call("Input.insertText", text="run-7")
    assert browser.ask("document.querySelector('.count').textContent") == f"11 of {MANY} rows"
    assert len(names(browser)) == 11
    choose(browser, "q", "")
    browser.ask(f"{head('run')}.click()")
    first = browser.ask("document.querySelector('tbody a').textContent")
    assert first == "run-0", "run-2 comes before run-10"
    assert browser.ask("[...document.querySelectorAll('tbody a')].slice(1, 3).map(a => a.textContent)") == [
        "run-1",
        "run-2",
    ]
    browser.ask("document.querySelector('.more button').click()")
    assert len(names(browser)) == MANY
    nothing_wrong(browser, address)
    browser.call("Emulation.setEmulatedMedia", media="print")
    boxes = browser.ask("document.querySelector('thead button').getClientRects().length")
    assert boxes == 0, "on paper, a head that holds the boxes of buttons would stand on the first page only"
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(address)
    shown = browser.ask("[...document.querySelectorAll('tbody tr')].filter(r => r.getClientRects().length).length")
    assert shown == MANY, "without scripts all are there"
