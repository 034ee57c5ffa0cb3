"""The list of jobs: which are one's own, and being rid of many at once."""

from __future__ import annotations

from tests.pages.ledgers import merge_request, queued, running
from tests.pages.test_merge_page import press, texts


def test_ones_own_jobs_are_marked_and_cancelled_together(ledger, open_page):
    app = open_page("jobs")
    me = app.session_state["owner"] = "a" * 32
    for seed in range(2):
        queued(ledger, merge_request(seed=seed), me)
    queued(ledger, merge_request(seed=5))
    app.run()
    assert texts(app, "caption").count("yours · seed") == 2
    press(app, "Cancel all 2 of yours")
    assert sorted(job.state for job in ledger.jobs()) == ["cancelled", "cancelled", "queued"]
    press(app.run(), "Delete all 2 of yours")
    assert [job.state for job in ledger.jobs()] == ["queued"]


def test_a_running_job_is_told_from_others_of_the_same_networks(ledger, open_page):
    _, claim = running(ledger, merge_request(seed=7))
    app = open_page("jobs")
    (bar,) = app.get("progress")
    assert f"`{claim.id[:6]}`" in bar.proto.text and "seed 7" in bar.proto.text
