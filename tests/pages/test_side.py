"""Runs side by side."""

from __future__ import annotations

from merging.jobs.search import Mark, set_mark
from tests.pages.ledgers import done, failed, merge_request, queued
from tests.pages.test_merge_page import texts
from ui.shell.markdown import plain


def frames(app):
    return {row[""]: row for frame in app.dataframe for row in frame.value.to_dict("records")}


def test_what_differs_stands_in_the_table_and_the_rest_on_demand(ledger, open_page):
    runs = [done(ledger, merge_request(seed=seed)) for seed in (1, 2)]
    app = open_page("side", runs=",".join(run[:12] for run in runs))
    assert not app.error and not app.warning
    assert [frames(app)["Seed"][run[:6]] for run in runs] == ["1", "2"]
    assert "Data set" not in frames(app)
    app.toggle(key="side differences").set_value(False).run()
    assert frames(app)["Data set"][runs[0][:6]] == "Fashion-MNIST"
    assert frames(app)["Test accuracy"][runs[0][:6]] == "86.4 %"
    assert len(app.get("plotly_chart")) == 4  # curves, a map of each, match by layer


def test_own_names_are_shown_and_equal_ones_told_apart(ledger, open_page):
    runs = [done(ledger, merge_request(seed=seed)) for seed in (1, 2)]
    app = open_page("side")
    person = app.session_state["owner"] = "a" * 32
    for run in runs:
        set_mark(ledger, run, person, Mark("baseline"))
    app.query_params["runs"] = ",".join(run[:12] for run in runs)
    app.run()
    links = [one.proto.label for one in app.get("page_link")]
    assert plain("1. baseline") in links and plain(f"2. baseline · {runs[1][:6]}") in links


def test_what_cannot_be_shown_is_said_for_each_run(ledger, open_page):
    good = done(ledger, merge_request(seed=1))
    broken, waiting = failed(ledger, merge_request(seed=3)), queued(ledger, merge_request(seed=2))
    app = open_page("side", runs=f"{good[:12]},0123456789ab,{waiting[:12]},{broken[:12]},![](//x)")
    said = texts(app, "warning")
    assert said.count("is not here") == 2 and "(waiting)" in said and "(failed)" in said
    assert "Select two to six" in texts(app, "info") and not app.error


def test_without_images_and_with_other_networks_the_missing_parts_say_why(ledger, open_page):
    runs = [done(ledger, merge_request(seed=1), images=False), done(ledger, merge_request(1, seed=1), images=False)]
    app = open_page("side", runs=",".join(run[:12] for run in runs))
    said = texts(app, "caption")
    assert "None of these runs has curves" in said and "None of these runs compared layers" in said
    row = frames(app)["Network A"]
    named = {name: network for name, network in row.items() if any(run[:6] in name for run in runs)}
    assert len(named) == len({*named.values()}) == 2
    assert all(name.startswith(network.split(" · ")[0]) for name, network in named.items())
