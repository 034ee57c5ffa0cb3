"""The figures of a page as files."""

from __future__ import annotations

from tests.pages.ledgers import done, merge_request


def test_the_figures_of_the_page_can_be_chosen_and_saved(ledger, open_page):
    run = done(ledger)
    app = open_page("similarity", run=run[:12])
    assert not [one for one in app.selectbox if one.label == "Figure"]
    app.session_state["figures"] = True
    app.run()
    (menu,) = [one for one in app.selectbox if one.label == "Figure"]
    assert menu.options[:4] == ["cka-A-B", "cka-A-pi(B)", "cka-A-merge", "cka-B-merge"]
    labels = [one.proto.label for one in app.get("download_button")]
    assert labels[-4:] == ["SVG", "PDF", "PNG, 300 dpi", "Numbers (CSV)"]


def test_a_page_without_figures_offers_none(ledger, open_page):
    app = open_page("jobs")
    app.session_state["figures"] = True
    app.run()
    assert not [one for one in app.selectbox if one.label == "Figure"]


def test_figures_that_are_made_anew_for_the_page_can_be_saved_too(ledger, open_page):
    runs = [done(ledger, merge_request(seed=seed)) for seed in (1, 2)]
    app = open_page("side", runs=",".join(run[:12] for run in runs))
    app.session_state["figures"] = True
    app.run()
    (menu,) = [one for one in app.selectbox if one.label == "Figure"]
    assert len(menu.options) == len(app.get("plotly_chart")) == 4
