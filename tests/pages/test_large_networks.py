"""Large networks on the form: what a merge holds in memory is said beforehand, and what does not fit is streamed."""

from __future__ import annotations

import pytest

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.jobs import Worker
from tests.pages.test_merge_page import press, texts


def a_worker(ledger, free: int) -> None:
    """A worker with so many bytes free."""
    Desk(ledger).beat([Worker("w-1", "CPU, 1 thread", "", 1_000, 1_000 + free, None, None, "here", 0.0)])


@pytest.mark.parametrize(("free", "measured"), [(10**12, True), (10**6, False)])
def test_what_does_not_fit_is_merged_without_images_and_that_is_said(
    ledger, open_page, monkeypatch: pytest.MonkeyPatch, free: int, measured: bool
) -> None:
    monkeypatch.setenv("MERGESCOPE_STREAMED_MB", "0.1")
    a_worker(ledger, free)
    app = open_page()
    assert ("are free." in texts(app, "info")) == measured
    assert ("without curves and similarity" in texts(app, "info")) != measured
    app.number_input(key="form_seed").set_value(7).run()
    press(app, "Run merge")
    (job,) = ledger.jobs(kind="merge")
    assert bool(job.request["data_sha256"]) == measured


def test_methods_that_need_the_memory_say_so(ledger, open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERGESCOPE_STREAMED_MB", "0.1")
    a_worker(ledger, 10**6)
    app = open_page()
    app.selectbox(key="combine").set_value("slerp").run()
    assert "may fail. Only merges by Weight matching and Average" in texts(app, "warning")


def test_what_cannot_be_streamed_promises_nothing(ledger, open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERGESCOPE_STREAMED_MB", "0.1")
    a_worker(ledger, 10**6)
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:1")
    app = open_page()
    assert "workers of a cluster" in texts(app, "warning")
    app.number_input(key="form_seed").set_value(7).run()
    press(app, "Run merge")
    assert ledger.jobs(kind="merge")[0].request["data_sha256"]


def test_networks_of_a_usual_size_say_nothing(ledger, open_page) -> None:
    a_worker(ledger, 10**6)
    assert "of memory" not in texts(open_page(), "info", "warning")
