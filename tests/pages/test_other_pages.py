import re

import numpy as np
import pytest

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.download import DownloadRequest
from merging.results import saving
from merging.results.reports import UnitPicture
from tests.pages.conftest import PAGES
from tests.pages.ledgers import done, failed, merge_request, queued, running
from tests.pages.test_merge_page import html, press, texts

RUN_PAGES = ["similarity", "neurons", "why", "landscape", "method"]


def make_pictures(ledger):
    """Work off every queued pictures job; the pixels tell the unit."""
    desk = Desk(ledger)
    while claim := desk.claim(("pictures",)):
        pixels = np.full((28, 28, 1), 0.5, np.float32)
        made = {f"unit-{u}": saving.save(UnitPicture(pixels, 0.5 + u, 0.1, {}, 0.5 + u)) for u in claim.request.units}
        desk.finish(claim, made)


@pytest.mark.parametrize("page", RUN_PAGES)
def test_without_any_run_a_page_says_the_next_step(page, ledger, open_page, monkeypatch):
    monkeypatch.setattr("merging.jobs.ledger.shipped_runs.ShippedRuns.entries", {})
    assert "No run chosen yet" in texts(open_page(page), "markdown")


@pytest.mark.parametrize("page", RUN_PAGES)
def test_a_failed_run_says_why_on_every_page(page, ledger, open_page):
    assert "ran out of memory" in texts(open_page(page, run=failed(ledger)[:12]), "error")


@pytest.mark.parametrize("page", RUN_PAGES)
def test_an_open_run_shows_its_progress_on_every_page(page, ledger, open_page):
    _, claim = running(ledger)
    assert "Match B's units" in texts(open_page(page, run=claim.id[:12]), "markdown")


@pytest.mark.parametrize("page", RUN_PAGES)
def test_a_deleted_run_says_so_on_every_page(page, ledger, open_page):
    assert "is not here" in texts(open_page(page, run="0123456789ab"), "markdown")


@pytest.mark.parametrize("page", ["similarity", "neurons"])
def test_a_run_without_images_says_what_is_missing(page, ledger, open_page):
    run = done(ledger, images=False)
    assert "not on this machine" in texts(open_page(page, run=run[:12]), "info")


def test_similarity_states_how_it_was_measured(ledger, open_page):
    app = open_page("similarity", run=done(ledger)[:12])
    assert "debiased estimator, n = 200 test images, convolutions averaged over positions" in texts(app, "caption")
    titles = texts(app, "markdown")
    assert all(f"**{title}**" in titles for title in ("A and B", "A and π(B)", "A and the merge", "B and the merge"))


def test_neurons_ask_for_what_is_missing_and_show_what_is_made(ledger, open_page):
    app = open_page("neurons", run=done(ledger)[:12], view="Unit by unit", sort="unit number")
    jobs = ledger.jobs(kind="pictures")
    assert {job.request["model"]["name"].split(" of ")[0] for job in jobs} >= {"merge", "naive"}
    assert all(len(job.request["units"]) <= 16 for job in jobs)
    asked = [unit for job in jobs if job.request["model"]["name"].startswith("merge") for unit in job.request["units"]]
    assert set(range(8)) - {3} <= set(asked)
    assert 3 not in asked
    assert "dead unit: no meaningful picture" in html(app)
    assert "being made" in html(app)
    make_pictures(ledger)
    app.run()
    assert "being made" not in html(app)
    assert not ledger.jobs(kind="pictures", states=("queued",))
    assert html(app).count("response ") >= 30


def test_pictures_that_failed_say_why_and_can_be_tried_again(ledger, open_page):
    run = done(ledger)
    open_page("neurons", run=run[:12])
    desk = Desk(ledger)
    while claim := desk.claim(("pictures",)):
        desk.fail(claim, {"kind": "UnknownLayer", "text": "There is no layer of that name."})
    app = open_page("neurons", run=run[:12])
    assert "There is no layer of that name." in texts(app, "error")
    assert not ledger.jobs(kind="pictures", states=("queued",))
    press(app, "Try again")
    assert ledger.jobs(kind="pictures", states=("queued",))


def test_pictures_that_wait_say_their_place_and_can_be_stopped(ledger, open_page):
    run = done(ledger)
    app = open_page("neurons", run=run[:12])
    said = str(app.get("progress")[0].proto.text)
    assert re.search(r"Making pictures: \d+ of \d+ are ready, the rest in about \d+ s|number 1 in the queue", said)
    press(app, "Stop")
    assert not ledger.jobs(kind="pictures", states=("queued",))
    assert "pictures were stopped before they were made" in texts(app, "info")


def test_a_number_opens_its_unit(ledger, open_page):
    app = open_page("neurons", run=done(ledger)[:12], layer="layers.2")
    app.number_input(key="open layers.2").set_value(7).run()
    assert "### Unit 7 of layers.2" in texts(app, "markdown")
    assert app.query_params["unit"] == "7"


def test_a_units_own_page_opens_by_its_address(ledger, open_page):
    app = open_page("neurons", run=done(ledger)[:12], layer="layers.2", unit="5")
    assert "### Unit 5 of layers.2" in texts(app, "markdown")
    assert "| merge |" in texts(app, "markdown")


@pytest.mark.parametrize("unit", ["99999", "-1", "x", "²"])
def test_a_unit_that_is_not_there_shows_all_units(unit, ledger, open_page):
    app = open_page("neurons", run=done(ledger)[:12], layer="layers.2", unit=unit)
    assert "### What became of each unit?" in texts(app, "markdown")


def test_pictures_nobody_looks_at_any_more_are_taken_back(ledger, open_page):
    app = open_page("neurons", run=done(ledger)[:12], view="Unit by unit", sort="unit number")
    first = {job.id for job in ledger.jobs(kind="pictures", states=("queued",))}
    next(box for box in app.selectbox if box.label == "Layer").set_value("layers.4").run()
    now = ledger.jobs(kind="pictures", states=("queued",))
    assert not first & {job.id for job in now}
    assert {job.request["layer"] for job in now} == {"layers.4"}


def test_the_same_pictures_by_somebody_else_come_from_the_store(ledger, open_page):
    run = done(ledger)
    open_page("neurons", run=run[:12])
    make_pictures(ledger)
    before = len(ledger.jobs(kind="pictures"))
    app = open_page("neurons", run=run[:12])
    assert len(ledger.jobs(kind="pictures")) == before
    assert "being made" not in html(app)


def test_jobs_are_listed_by_state_with_what_one_can_do(ledger, open_page, monkeypatch):
    monkeypatch.setattr("merging.jobs.ledger.shipped_runs.ShippedRuns.entries", {})
    assert "No jobs yet" in texts(open_page("jobs"), "info")
    done(ledger, merge_request(seed=1))
    failed(ledger, merge_request(seed=2))
    queued(ledger, merge_request(seed=3))
    app = open_page("jobs")
    shown = texts(app, "markdown")
    assert all(f"**{title}**" in shown for title in ("Waiting", "Finished"))
    assert "ran out of memory" in texts(app, "error")
    assert "Waiting, 1st in the queue" in texts(app, "caption")
    assert "Only they can cancel" not in texts(app, "caption")


def test_cards_of_networks_choose_the_next_merge(ledger, open_page):
    app = open_page("models")
    assert "**A**" not in texts(app, "markdown")
    app.button(key="as A fashion-small-s2").click().run()
    assert "**B** one that fits" in texts(app, "markdown")
    app.button(key="as B fashion-small-s0").click().run()
    app.switch_page(str(PAGES / "merge.py")).run()
    assert (app.session_state["form_a"], app.session_state["form_b"]) == ("fashion-small-s2", "fashion-small-s0")
    assert not app.exception


def test_models_show_every_network_with_its_facts(ledger, open_page):
    app = open_page("models")
    assert "**MLP 3×512 · Fashion-MNIST · seed 0**" in texts(app, "markdown")
    assert "accuracy **89.2 %** on 10,000 test images (95 %: 88.6 to 89.8 %)  \nseed 0 · 8 epochs" in texts(
        app, "markdown"
    )


def test_a_training_is_queued_from_the_form(ledger, open_page):
    app = open_page("models")
    app.number_input(key="train seed").set_value(9).run()
    press(app, "Train")
    (job,) = ledger.jobs(kind="train")
    assert (job.request["seed"], job.request["architecture"], job.request["epochs"]) == (9, "mlp", 8)
    app.selectbox(key="train set optimiser").set_value("sgd")
    app.number_input(key="train set lr").set_value(0.1).run()
    press(app, "Train")
    other = next(one for one in ledger.jobs(kind="train") if one.id != job.id)
    assert other.request["settings"] == {"optimiser": "sgd", "lr": 0.1}
    assert other.title.endswith("seed 9 · optimiser sgd · lr 0.1")


def test_a_data_set_that_is_missing_can_be_fetched(ledger, open_page, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MERGESCOPE_DATA", raising=False)
    app = open_page("models")
    next(button for button in app.button if button.key == "download mnist").click().run()
    assert ledger.job(DownloadRequest("mnist").id).state == "queued"


def test_every_word_is_explained_and_can_be_found(open_page):
    app = open_page("words")
    assert "**barrier**" in texts(app, "markdown")
    app.text_input[0].set_value("kappa-nonsense").run()
    assert "No entry matches" in texts(app, "info")


def test_without_images_units_have_their_pictures_and_nothing_is_claimed(ledger, open_page):
    run = done(ledger, merge_request(dataset="", data_sha256=""), images=False)
    app = open_page("neurons", run=run[:12], view="Unit by unit")
    make_pictures(ledger)
    app.run()
    assert not app.exception
    assert "not on this machine" in texts(app, "info")
    assert "not measured" in html(app)
    assert "Dead units" not in texts(app, "caption")
    app = open_page("neurons", run=run[:12], layer="layers.0", unit="2")
    assert not app.exception
    assert "Unit 2 of layers.0: not measured" in texts(app, "markdown")
