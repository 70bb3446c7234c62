"""Pictures of pages as a reader sees them, from a real Chromium.

    python benchmarks/screens.py PAGE.html NAME [--all]

Writes docs/images/NAME.png: light, 1280 pixels wide. --all: also dark, narrow (390) and as printed, into runs/screens/.
docs/images/view-compare.png: `vestige view --export` of a text-target and a quickstart-text run, their comparison;
audit-report.png: the report of docs/tutorial-privacy.md, step 4; audit-runs.png: its step 10.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    from browsing import Browser

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("name")
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        shown(browser, given.page, ROOT / "docs" / "images" / f"{given.name}.png", 1280, given.height)
        if given.all:
            folder = ROOT / "runs" / "screens"
            folder.mkdir(parents=True, exist_ok=True)
            shown(browser, given.page, folder / f"{given.name}-light.png", 1280)
            shown(browser, given.page, folder / f"{given.name}-dark.png", 1280, dark=True)
            shown(browser, given.page, folder / f"{given.name}-narrow.png", 390)
            shown(browser, given.page, folder / f"{given.name}-print.png", 700, media="print")
        browser.close()


def shown(
    browser: Any, page: Path, path: Path, width: int, height: int | None = None, *, dark: bool = False, media: str = ""
) -> None:
    """Write what stands on the page, as far down as `height`, or all of it."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.call("Emulation.setEmulatedMedia", media=media, features=scheme)
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=width < 600
    )
    browser.open(page.resolve())
    whole = browser.ask("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
    found = browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(base64.b64decode(found["data"]))


if __name__ == "__main__":
    main()
