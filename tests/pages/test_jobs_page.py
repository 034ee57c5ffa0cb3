"""The list of jobs: which are one's own, and being rid of many at once."""

from __future__ import annotations

from dataclasses import replace

from merging.jobs.requests.base import ModelRef
from merging.zoo import catalogue
from tests.pages.ledgers import done, merge_request, queued, running
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


def test_runs_on_private_networks_are_their_owner_s_alone(ledger, open_page):
    """Neither listed to others, nor are their networks offered for download, nor can others run them again."""
    shipped = catalogue.find_entry("fashion-mlp-128-s0")
    nets = []
    for number in (1, 2):
        data = bytearray(catalogue.shipped_file(shipped.sha256).read_bytes())
        data[-1] ^= number
        entry = replace(shipped, id="", source="uploaded", name=f"secret {number}", private=True)
        nets.append(ModelRef.of(ledger.add_model(entry, bytes(data), "somebody")))
    run = done(ledger, replace(merge_request(), models=tuple(nets)), "somebody")
    assert "secret 1" not in texts(open_page("jobs"), "markdown")
    app = open_page(run=run[:12], menus=True)
    assert "private to the person who uploaded them" in texts(app, "caption")
    assert not [one.proto.label for one in app.get("download_button") if "checkpoint" in one.proto.label]
    press(app, "Run again with another seed")
    assert "is private to the person who uploaded it" in texts(app, "error")
    assert len(ledger.jobs(kind="merge")) == 1
