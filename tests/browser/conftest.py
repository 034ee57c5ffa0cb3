"""One real server with its dispatcher for all journeys, and one real Chromium for those of a file."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from merging.paths import ROOT

FLAGS = [
    "--no-sandbox",  # Chromium refuses its sandbox to root, and containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START = 60.0  # seconds
RUNNING: list["Server"] = []  # the one server, once the first journey has started it


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(trylast=True)  # after the browser has been closed
def pytest_runtest_teardown(nextitem):
    """End the server with the last journey: it would take processor time and memory from the tests that follow."""
    if RUNNING and (nextitem is None or Path(__file__).parent not in nextitem.path.parents):
        RUNNING.pop().stop()


class Server:
    """`streamlit run app.py` on a free port with a home of its own; it can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.home, self.log = home, home / "server.log"
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "MERGESCOPE_HOME": str(self.home), "MERGESCOPE_THREADS": "1"}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + START
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        """End the app as kill -9 does, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait(30)

    def kill_dispatcher(self) -> None:
        """End the dispatcher as kill -9 does; the supervisor starts another one."""
        with sqlite3.connect(self.home / "ledger.sqlite") as db:
            for (pid,) in db.execute("SELECT pid FROM dispatchers").fetchall():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def playwright():
    """Playwright and how to start Chromium: (its BrowserType, arguments).

    Without a Chromium the journeys are skipped, unless MERGESCOPE_BROWSER_TESTS=required.
    """
    path = os.environ.get("MERGESCOPE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        say = pytest.fail if os.environ.get("MERGESCOPE_BROWSER_TESTS") == "required" else pytest.skip
        say("no Chromium: install the package chromium, or name one in MERGESCOPE_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium, {"executable_path": path, "args": FLAGS}


@pytest.fixture(scope="module")
def chromium(playwright):
    """A running Chromium, whose contexts are the browsers of different people."""
    kind, start = playwright
    browser = kind.launch(**start)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def window(playwright, server, tmp_path_factory):
    """The browser of the visitors of a file, one after the other.

    Like a person's own browser, it keeps the program's scripts: reading them anew costs a context several seconds.
    """
    kind, start = playwright
    size = {"width": 1280, "height": 900}
    context = kind.launch_persistent_context(
        tmp_path_factory.mktemp("browser"), viewport=size, base_url=server.url, **start
    )
    context.set_default_timeout(180_000)  # an upper bound: on a busy machine workers take long
    yield context
    context.close()


@pytest.fixture(scope="session")
def servers():
    """The list of the one server, which is also ended when the tests are interrupted."""
    yield RUNNING
    while RUNNING:
        RUNNING.pop().stop()


@pytest.fixture(scope="module")
def server(playwright, servers, tmp_path_factory):
    """The app as people start it, shared by all files: starting it takes as long as some journeys."""
    if not servers:
        servers.append(Server(tmp_path_factory.mktemp("server")))
    return servers[0]


@pytest.fixture
def visitor(window, server):
    """A page of a person without cookies yet; fails the test where the page's own code failed."""
    window.clear_cookies()
    page = window.new_page()
    stored = {"origin": server.url, "storageTypes": "local_storage,indexeddb,cookies"}
    window.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []
