"""Pages in a real Chromium: of an analysis, of a language study."""

import pytest

from analyses import write_page
from browsing import needs_chromium
from texts import config_of, make_text_folder
from vestige import report

pytestmark = needs_chromium


def place(browser, mark):
    """Where a mark was put, in the map's units."""
    found = browser.ask(f"document.getElementById('{mark}').getAttribute('transform')")
    return [float(part) for part in found.split("(")[1].split(")")[0].split()]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_hover_zoom_drag_and_click(browser, tmp_path, modality):
    page, record = write_page(tmp_path, modality)
    browser.open(page)
    assert browser.complaints() == [], "nothing is refused by the policy, nothing fails"
    browser.ask("document.querySelector('.figure.map').scrollIntoView({block: 'center'})")

    # hover shows the sample
    one = record["samples"][0]
    x, y = browser.middle("#p0 .edge:last-of-type")
    browser.mouse("mouseMoved", x, y)
    assert browser.ask("!document.querySelector('.card').hidden")
    shown = browser.ask("document.querySelector('.card').textContent")
    assert one["id"] in shown
    if modality == "text":
        assert one["question"] in shown
        assert one["answer"] in shown
    else:
        assert browser.ask("document.querySelector('.card img').src.startsWith('data:image/png')")
    browser.mouse("mouseMoved", 5, 5)
    assert browser.ask("document.querySelector('.card').hidden")

    # the wheel zooms about the pointer: the sample stays under it, others move away
    before, far = place(browser, "p0"), place(browser, "p9")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-280)
    after, moved = place(browser, "p0"), place(browser, "p9")
    assert after == pytest.approx(before, abs=4)
    assert abs(moved[0] - after[0]) == pytest.approx(2.01 * abs(far[0] - before[0]), rel=0.1)

    # dragging moves the map, and does not count as a click
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", x + 30, y + 20, button="left", buttons=1)
    browser.mouse("mouseReleased", x + 30, y + 20, button="left", clickCount=1)
    dragged = place(browser, "p0")
    assert dragged != after
    assert browser.ask("document.querySelectorAll('.found').length") == 0

    # the whole map again, then from a point to its sample
    browser.ask("[...document.querySelectorAll('.tools button')].at(-1).click()")
    assert place(browser, "p0") == pytest.approx(before, abs=0.11)
    second = record["groups"][1]["target"]
    row = [sample["id"] for sample in record["samples"]].index(second)
    browser.click(*browser.middle(f"#p{row} .edge:last-of-type"))
    assert browser.ask("document.querySelector('.found').id") == f"s{row}"
    assert second in browser.ask("document.querySelector('.legend.chosen').textContent")
    assert browser.ask("document.querySelectorAll('.pt.green').length") == 1 + len(record["groups"][1]["similar"])

    # and back from a sample to its point
    selector = f"#s{row}" if modality == "image" else f"#s{row} a"
    browser.click(*browser.middle(selector))
    assert browser.ask("document.querySelector('.found').id") == f"p{row}"
    assert browser.complaints() == []


@pytest.mark.parametrize("modality", ["image", "text"])
def test_it_fits_narrow_and_wide_screens(browser, tmp_path, modality):
    page, _ = write_page(tmp_path, modality)
    for width in (1280, 600, 380):
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )  # fmt: skip
        browser.open(page)
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask("document.querySelector('.figure.map').getBoundingClientRect().right") <= width


def test_data_cannot_become_markup(browser, tmp_path):
    evil = "<img src=x onerror=document.title='owned'>\"'</script><script>document.title='owned'</script>"
    page, _ = write_page(tmp_path, "text", question=evil)
    browser.open(page)
    browser.mouse("mouseMoved", *browser.middle("#p0 .edge:last-of-type"))
    assert browser.ask("document.title") == "Analysis of similarity – vestige"
    assert browser.ask("document.querySelectorAll('script').length") == 1
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [600, 1100])
def test_the_page_of_a_language_study_fits_its_window(browser, tmp_path, width):
    page = report.write_report(make_text_folder(tmp_path / "run", config_of()))
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(page)
    browser.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.complaints() == []
    assert browser.ask("document.documentElement.scrollWidth") <= width, "only what is in .scroll may be wider"
    if width == 1100:
        tables = "[...document.querySelectorAll('.main, .answers, .claims')]"
        assert browser.ask(f"{tables}.filter(one => one.scrollWidth > one.parentNode.clientWidth).length") == 0
