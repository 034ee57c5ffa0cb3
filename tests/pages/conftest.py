from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from merging.jobs.ledger.ledger import Ledger

MAIN = Path(__file__).resolve().parents[2] / "ui" / "main.py"
PAGES = MAIN.parents[1] / "pages"


@pytest.fixture(scope="session", autouse=True)
def scanned_once():
    """Let Streamlit look for installed components once, as a server does, and not for every AppTest (half a second)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """An empty ledger that the pages of this test read."""
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path))
    return Ledger(tmp_path)


@pytest.fixture
def open_page(ledger):
    """Open a page as a visitor would: `open_page("merge", run=...)` gives the AppTest after its first run.

    menus: open the menus of the run bar and of the figures, whose content is made only then.
    """

    def open(page: str = "merge", *, menus: bool = False, **params: str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        for menu in ("copy link", "downloads", "delete", "figures") if menus else ():
            app.session_state[menu] = True
        for name, value in params.items():
            app.query_params[name] = value
        if page != "merge":
            app.switch_page(str(PAGES / f"{page}.py"))
        app.run()
        assert not app.exception, app.exception
        return app

    return open
