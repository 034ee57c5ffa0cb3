"""Cost of drawing a page on the server, and of a click in the browser: python -m benchmarks.pages

The pages of the example with two CNNs are drawn as for a visitor, by Streamlit's own AppTest, with a ledger that holds
only the shipped runs: the first screen, a layer's units as contact sheets, one unit in full, and more. The click on a
contact sheet that opens a unit is measured in Chromium too, which runs on the same machine as the server.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import urlopen

from benchmarks.timing import Timing, spread, table, write
from merging.jobs.examples import LOOKED_INTO, merges
from merging.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LAYER = LOOKED_INTO["cnns"]
WATCH = """() => {
    window.begin = window.last = window.pictures = 0;
    window.addEventListener("mousedown", () => { window.begin = performance.now(); }, {capture: true, once: true});
    new MutationObserver(() => {
        const pictures = document.querySelectorAll("[data-testid=stImage] img").length;
        if (pictures !== window.pictures) { window.pictures = pictures; window.last = performance.now(); }
    }).observe(document.body, {subtree: true, childList: true});
}"""
PAGES = {
    "the first screen": ("merge", {}),
    "all units of a layer": ("neurons", {"layer": LAYER, "view": "All units"}),
    "one unit in full, after a click on a sheet": ("neurons", {"layer": LAYER, "unit": "3"}),
    "why": ("why", {}),
    "similarity": ("similarity", {}),
}


def drawings(page: str, params: dict[str, str], repeats: int) -> Timing:
    """Seconds per repeated drawing of a page, after one drawing that fills its caches."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    for name, value in {"run": merges()["cnns"].id[:12], **params}.items():
        app.query_params[name] = value
    if page != "merge":
        app.switch_page(str(ROOT / "pages" / f"{page}.py"))
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        app.run()
        seconds.append(time.perf_counter() - begin)
        if app.exception:
            raise SystemExit(app.exception[0].value)
    return Timing(tuple(seconds[1:]))


@contextmanager
def running() -> Iterator[tuple[str, float]]:
    """Run the app as `python start.py` does, fully installed: its address, and the seconds until its server answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, begin = f"http://127.0.0.1:{port}", time.perf_counter()
    app = subprocess.Popen([sys.executable, "start.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < 120:
            try:
                urlopen(f"{address}/_stcore/health", timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                yield address, time.perf_counter() - begin
                return
        raise SystemExit("The app did not answer within two minutes.")
    finally:
        app.terminate()
        app.wait()


def until_it_answers() -> float:
    """Seconds from `python start.py` until the app's server answers."""
    with running() as (_, seconds):
        return seconds


def clicks(repeats: int) -> Timing:
    """Seconds in Chromium from a click on one of 64 units until the last of its pictures stands on its own page.

    All 64 units' pictures are made beforehand, and the first click is not counted.
    """
    from playwright.sync_api import sync_playwright

    times = []
    with running() as (address, _), sync_playwright() as playwright:
        program = os.environ.get("MERGESCOPE_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        for number in range(repeats + 1):
            page.goto(f"{address}/neurons?run={merges()['cnns'].id[:12]}&layer={LAYER}&view=All+units")
            sheet = page.locator("[data-testid=stPlotlyChart] .nsewdrag").last
            sheet.wait_for()
            page.wait_for_timeout(2_000)
            page.get_by_text("Making pictures").wait_for(state="hidden")
            page.wait_for_timeout(2_000)
            seconds = click(page, sheet)
            if number:
                times.append(seconds)
        browser.close()
    return Timing(tuple(times))


def click(page: Page, sheet: Locator) -> float:
    """Seconds from pressing the mouse button until the last change of the number of pictures on the page."""
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    if box is None:
        raise SystemExit("The contact sheet is not on the page.")
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.move(box["x"] + box["width"] * 2.5 / 16, box["y"] + box["height"] * 1.5 / 4, steps=5)
    page.wait_for_timeout(500)  # Plotly needs a moment to find the point under the mouse
    page.evaluate(WATCH)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_timeout(2_500)
    begin, last, pictures = page.evaluate("[window.begin, window.last, window.pictures]")
    if not pictures:
        raise SystemExit("The click did not lead to a unit.")
    return float(last - begin) / 1000


def main() -> None:
    """Write one row per page, and how long the app takes to start."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=5)
    repeats = options.parse_args().repeats
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        rows = [[name, spread(drawings(page, params, repeats))] for name, (page, params) in PAGES.items()]
        rows.append(["a click on one of 64 units, in Chromium, until all its pictures stand", spread(clicks(repeats))])
        starts = Timing(tuple(until_it_answers() for _ in range(3)))
        rows.append(["`python start.py` until its server answers, 3 times", spread(starts)])
    write(table(["page", f"seconds, {repeats} times: median (lowest-highest)"], rows))


if __name__ == "__main__":
    main()
