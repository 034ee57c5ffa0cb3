"""What drawing a page costs the server: python -m benchmarks.pages

The pages of the example with two CNNs, drawn as for a visitor by Streamlit's own AppTest, whose ledger holds nothing
but what ships: the first screen, a layer's units as contact sheets, one unit in full, to which a click on a sheet
leads, and more. The browser's part, a few tenths of a second, comes on top.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.timing import Timing, spread, table, write
from merging.work.examples import LOOKED_INTO, merges

ROOT = Path(__file__).resolve().parents[1]
LAYER = LOOKED_INTO["cnns"]
PAGES = {
    "the first screen": ("merge", {}),
    "all units of a layer": ("neurons", {"layer": LAYER, "view": "All units"}),
    "one unit in full, after a click on a sheet": ("neurons", {"layer": LAYER, "unit": "3"}),
    "why": ("why", {}),
    "similarity": ("similarity", {}),
}


def drawings(page: str, params: dict[str, str], repeats: int) -> Timing:
    """Seconds of drawing a page again, after one drawing that fills its caches."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "ui" / "main.py"), default_timeout=60)
    for name, value in {"run": merges()["cnns"].id[:12], **params}.items():
        app.query_params[name] = value
    if page != "merge":
        app.switch_page(str(ROOT / "pages" / f"{page}.py"))
    spent = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        app.run()
        spent.append(time.perf_counter() - begin)
        if app.exception:
            raise SystemExit(app.exception[0].value)
    return Timing(tuple(spent[1:]))


def until_it_answers() -> float:
    """Seconds from `python start.py`, with everything installed, until the app's server answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.perf_counter()
    app = subprocess.Popen([sys.executable, "start.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < 120:
            try:
                urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                return time.perf_counter() - begin
            except OSError:
                time.sleep(0.05)
        raise SystemExit("The app did not answer within two minutes.")
    finally:
        app.terminate()
        app.wait()


def main() -> None:
    """Write one row a page, and how long the app takes to start."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=5)
    repeats = options.parse_args().repeats
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        rows = [[name, spread(drawings(page, params, repeats))] for name, (page, params) in PAGES.items()]
        starts = Timing(tuple(until_it_answers() for _ in range(3)))
        rows.append(["`python start.py` until its server answers, 3 times", spread(starts)])
    write(table(["page", f"seconds, {repeats} times: median (lowest-highest)"], rows))


if __name__ == "__main__":
    main()
