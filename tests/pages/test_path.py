"""The path from A to B on the page: it grows while it is measured, and a slider shows each of its points."""

from __future__ import annotations

import json

import pytest

from merging.progress import point_words
from tests.pages.ledgers import done, running
from tests.pages.test_merge_page import html, texts


def test_the_curve_grows_while_it_is_measured(ledger, open_page):
    desk, claim = running(ledger)
    for number, loss in ((1, 0.3), (2, 1.9)):
        desk.tell(claim, "curve", 0.2, f"naive: {point_words(number, 3, loss, 0.5)}")
    desk.tell(claim, "curve", 0.3, f"aligned: {point_words(1, 3, 0.3, 0.9)}")
    app = open_page(run=claim.id[:12])
    chart = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert [(trace["name"], trace["x"], trace["y"]) for trace in chart["data"]] == [
        ("naive average", [0.0, 0.5], [0.3, 1.9]),
        ("aligned average", [0.0], [0.3]),
    ]


def test_the_slider_moves_all_that_is_measured_at_a_point_of_the_path(ledger, open_page):
    app = open_page(run=done(ledger)[:12])
    assert "| at λ = 0.50 | loss | accuracy | calibration error |" in texts(app, "markdown")
    assert "✗ naive average: Trouser" in html(app)  # of a T-shirt, half-way
    slider = app.select_slider(key="lambda")
    app = slider.set_value(slider.options[0]).run()
    assert "| at λ = 0.00 | loss | accuracy | calibration error |" in texts(app, "markdown")
    assert "✓ naive average: T-shirt/top" in html(app) and "✗" not in html(app)
    curve, variance = (json.loads(one.proto.spec) for one in app.get("plotly_chart"))
    assert "variance" in json.dumps(variance["layout"]["yaxis"])
    assert [shape["x0"] for shape in curve["layout"]["shapes"] if shape["yref"] == "y domain"] == [0.0]
    assert app.get("page_link") and not app.exception


@pytest.mark.parametrize(("asked", "shown"), [("0.00", "0.00"), ("1.00", "1.00"), ("0.013", "0.50"), ("<b>", "0.50")])
def test_the_address_names_a_point_of_the_path(ledger, open_page, asked, shown):
    app = open_page(run=done(ledger)[:12], **{"lambda": asked})
    assert f"| at λ = {shown} |" in texts(app, "markdown") and not app.exception


def test_a_result_of_an_earlier_version_has_its_slider_without_predictions(ledger, open_page, monkeypatch):
    monkeypatch.setattr("tests.figures.made.path_points", lambda kinds: None)
    app = open_page(run=done(ledger)[:12])
    assert "| at λ = 0.50 |" in texts(app, "markdown") and "What do they predict?" not in texts(app, "markdown")
