"""The page Zip: the example at once, a zip in every state, and the way there from a pair that cannot be merged."""

from __future__ import annotations

import pytest

from merging.jobs.examples import HEADS
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.zip_networks import ZipRequest
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint
from tests.pages.ledgers import failed, queued
from tests.pages.test_merge_page import press, texts


def request() -> ZipRequest:
    models = tuple(ModelRef.of(catalogue.find_entry(id)) for id in HEADS)
    return ZipRequest(models, "fashion-mnist", fingerprint("fashion-mnist", 500), images=500)


def test_without_any_click_the_example_is_there(ledger, open_page):
    app = open_page("zip")
    words = texts(app, "markdown")
    assert "example" in words and "Accuracies with the longest trunk" in words
    assert len(app.get("plotly_chart")) == 1 and len(app.dataframe) == 1
    assert "python -m merging zip fashion-head-low fashion-head-high" in "".join(code.value for code in app.code)


def test_a_zip_is_queued_from_the_form_and_stands_in_the_address(ledger, open_page):
    app = open_page("zip")
    app.number_input(key="zip images").set_value(500).run()
    press(app, "Run partial zip")
    (job,) = ledger.jobs(kind="zip")
    assert job.id == request().id and app.query_params["zip"] == job.id[:12]
    assert "Waiting, 1st in the queue" in app.get("progress")[0].proto.text


def test_a_zip_that_failed_says_why_and_can_be_asked_again(ledger, open_page):
    job = failed(ledger, request())
    app = open_page("zip", zip=job[:12])
    assert "This run failed" in texts(app, "error")
    press(app, "Run it again")
    assert ledger.job(job).state == "queued"


def test_an_address_that_is_gone_shows_the_example_and_says_so(ledger, open_page):
    app = open_page("zip", zip="0123456789ab")
    assert "The partial zip 0123456789ab is not here" in texts(app, "caption")
    assert "Accuracies with the longest trunk" in texts(app, "markdown")


@pytest.mark.parametrize(
    ("nets", "words"), [([], "Choose at least two networks"), (["fashion-small-s0"], "Choose at least two networks")]
)
def test_what_is_missing_is_said_in_the_form(ledger, open_page, nets, words):
    app = open_page("zip")
    app.multiselect(key="zip nets").set_value(nets).run()
    assert words in texts(app, "info")
    assert next(button for button in app.button if button.label == "Run partial zip").disabled


def test_a_pair_of_different_classes_leads_here(ledger, open_page):
    app = open_page("merge")
    app.selectbox(key="form_a").set_value(HEADS[0]).run()
    app.selectbox(key="form_b").set_value(HEADS[1]).run()
    assert "Zip them instead" in texts(app, "warning")
    link = next(link for link in app.get("page_link") if link.proto.label == "Try a partial zip instead")
    assert "nets=fashion-head-low%2Cfashion-head-high" in link.proto.query_string


def test_a_link_names_the_networks(ledger, open_page):
    app = open_page("zip", nets="fashion-small-s0,fashion-small-s1,nonsense")
    assert app.multiselect(key="zip nets").value == ["fashion-small-s0", "fashion-small-s1"]


def test_the_list_of_jobs_leads_here(ledger, open_page):
    queued(ledger, request())
    app = open_page("jobs")
    assert any(link.proto.label == "Open" and "zip=" in link.proto.query_string for link in app.get("page_link"))
