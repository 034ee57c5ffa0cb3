"""The Compare page: empty, asked for, filling in, shared by its address."""

import json

import safetensors.torch

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.jobs.requests.registry import from_json
from merging.zoo import catalogue
from merging.zoo.architectures import build
from merging.zoo.checkpoints.sandbox import convert
from tests.figures.made import scores
from tests.pages.conftest import PAGES
from tests.pages.ledgers import SOMEBODY
from tests.pages.test_merge_page import press, texts

PAIR = "fashion-mlp-128-s0,fashion-mlp-128-s1"
FEW = {"nets": PAIR, "align": "none,weight-matching", "combine": "average", "correct": "none", "images": "200"}


def finish(ledger, accuracy):
    """Do the next queued merge, with that accuracy."""
    import json

    from merging.results import saving
    from merging.results.reports import MergeReport, Metrics

    desk = Desk(ledger)
    claim = desk.claim(("merge",))
    together = {"test": Metrics(0.28, 0.903, 0.02)}
    made = MergeReport(json.loads(claim.request.to_json()), (), {}, 0.0, scores=scores(2, accuracy), ensemble=together)
    desk.finish(claim, {"report": saving.save(made)})
    return claim.request


def test_without_a_comparison_the_page_says_what_to_do(open_page):
    app = open_page("compare")
    assert "No comparison yet" in texts(app, "markdown")


def test_run_asks_for_every_cell_and_the_address_carries_the_comparison(ledger, open_page):
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    jobs = ledger.jobs(kind="merge")
    assert {(job.state, job.request["align"]) for job in jobs} == {("queued", "none"), ("queued", "weight-matching")}
    assert app.query_params["nets"] == PAIR
    assert "0 of 2 merges done" in str(app.get("progress")[0].proto.text)


def test_the_smallest_and_largest_numbers_are_taken(ledger, open_page):
    bounds = {declared.label: declared.bounds for declared in WHOLE_NUMBERS.values()}
    for end in (0, 1):
        app = open_page("compare", **FEW)
        for box in app.number_input:
            box.set_value(bounds[box.label][end] if box.label != "Seeds" else 1)
        press(app.run(), "Run 2 merges")
        assert not texts(app, "error") and not texts(app, "warning")
    assert {job.request["images"] for job in ledger.jobs(kind="merge")} == {100, 60_000}


def test_the_base_fits_the_first_pair_whatever_stands_alone_before_it(ledger, open_page):
    nets = "fashion-cnn-s0,fashion-expert-low,fashion-expert-high"
    app = open_page("compare", **{**FEW, "nets": nets, "align": "none", "combine": "task-arithmetic"})
    assert app.selectbox(key="compare base").value == "fashion-small-base"
    assert "Networks not merged because no other network fits: Plain CNN" in texts(app, "caption")
    press(app, "Run 1 merge")
    assert [job.request["base"]["name"] for job in ledger.jobs(kind="merge")] == ["Small CNN · Fashion-MNIST · base"]


def test_more_than_one_may_have_open_is_asked_for_as_there_is_room_and_that_is_said(ledger, open_page, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_OPEN_JOBS", "1")
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    assert "remaining merges are queued as these jobs end" in texts(app, "caption")
    assert len(ledger.jobs(kind="merge")) == 1
    finish(ledger, 0.86)
    app.run()
    assert len(ledger.jobs(kind="merge")) == 2
    assert "remaining merges" not in texts(app, "caption")


def test_a_merge_that_cannot_be_run_is_said_with_its_reason_and_stops_no_other(ledger, open_page):
    twin = catalogue.find_entry("fashion-mlp-128-s0")
    plain = safetensors.torch.save(build("mlp", twin.config).state_dict())
    made = convert(plain, name="mine", dataset=twin.dataset, architecture="mlp")
    entry = ledger.add_model(
        catalogue.uploaded(made.facts, made.data, owner=SOMEBODY, created=1.0), made.data, SOMEBODY
    )
    app = open_page("compare", **{**FEW, "nets": f"{entry.id},{PAIR}", "align": "none"})
    ledger.store.delete(entry.sha256)  # as a disk that was tidied by hand
    press(app, "Run 3 merges")
    assert "2 merges cannot be run. The weights of 'mine'" in texts(app, "warning") and not app.error
    assert "remaining merges" not in texts(app, "caption")
    assert len(app.dataframe[0].value) == 3 and "Stop" in [button.label for button in app.button]
    finish(ledger, 0.86)
    app.run()
    assert sorted(app.dataframe[0].value["State"]) == ["done", "not run", "not run"]
    assert "2 merges cannot be run" in texts(app, "warning")


def test_networks_of_several_kinds_have_a_chart_each(ledger, open_page):
    nets = f"{PAIR},fashion-small-s0,fashion-small-s1"
    app = open_page("compare", **{**FEW, "nets": nets, "align": "none"})
    press(app, "Run 2 merges")
    asked = [finish(ledger, accuracy).models[0].label for accuracy in (0.5, 0.6)]
    app.run()
    assert sorted(app.dataframe[0].value["Kind"]) == sorted(asked)
    assert len(app.get("plotly_chart")) == 2
    assert all(f"**{label}**" in texts(app, "markdown") for label in asked)
    app.segmented_control(key="compare mode").set_value("growing").run()
    assert app.multiselect(key="compare nets").value == PAIR.split(",")


def test_networks_of_every_pair_can_be_merged_at_once(open_page):
    small = [f"fashion-small-s{seed}" for seed in range(5)] + ["fashion-small-base"]
    nets = [
        *small,
        *(f"fashion-{name}" for name in ("expert-low", "expert-high", "expert-invert", "split-a", "split-b")),
    ]
    app = open_page("compare", **{**FEW, "nets": ",".join(nets), "align": "none", "correct": "none"})
    assert app.multiselect(key="compare nets").value == nets
    app.segmented_control(key="compare mode").set_value("growing").run()
    assert app.multiselect(key="compare nets").value == nets
    assert "Run 10 merges" in [button.label for button in app.button]


def test_rows_fill_in_and_another_visitor_sees_the_same(ledger, open_page):
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    first = finish(ledger, 0.86)
    app.run()
    shown = app.dataframe[0].value
    assert list(shown["State"]) == ["done" if first.align == key else "waiting" for key in ("none", "weight-matching")]
    finish(ledger, 0.4)
    app.run()
    assert sorted(app.dataframe[0].value["Test accuracy"]) == [40, 86]
    other = open_page("compare", **FEW)
    assert sorted(other.dataframe[0].value["Test accuracy"]) == [40, 86]
    assert not other.error


def test_a_shared_comparison_that_was_not_run_here_offers_to_run_what_is_missing(ledger, open_page):
    app = open_page("compare", **FEW)
    assert ledger.jobs(kind="merge") == ()
    press(app, "Run the missing merges")
    assert len(ledger.jobs(kind="merge")) == 2


def test_stop_cancels_what_waits(ledger, open_page):
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    press(app, "Stop")
    assert {job.state for job in ledger.jobs(kind="merge")} == {"cancelled"}


def test_what_somebody_cancelled_before_or_meanwhile_stops_no_comparison(ledger, open_page, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_OPEN_JOBS", "1")
    first, second = open_page("compare", **FEW).session_state["comparison"].requests()
    ledger.submit(first, SOMEBODY)
    ledger.cancel(first.id, SOMEBODY)
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    assert [(job.id, job.state) for job in ledger.jobs(kind="merge")] == [(first.id, "queued")]
    ledger.submit(second, SOMEBODY)
    ledger.cancel(second.id, SOMEBODY)
    finish(ledger, 0.86)
    app.run()
    assert {job.id: job.state for job in ledger.jobs(kind="merge")} == {first.id: "done", second.id: "queued"}


def test_methods_that_do_not_fit_are_named_and_nonsense_in_the_address_is_left_out(open_page):
    app = open_page("compare", **{**FEW, "combine": "average,ties,nonsense", "images": "nonsense", "mode": "nonsense"})
    assert not app.error
    assert "Methods left out because they do not fit these networks: TIES" in texts(app, "caption")


def test_an_empty_choice_says_what_is_needed(open_page):
    app = open_page("compare")
    app.multiselect(key="compare align").set_value([]).run()
    assert "Choose at least one method under Align" in texts(app, "info")
    app.multiselect(key="compare nets").set_value([]).run()
    assert not app.exception


def test_only_differences_hides_what_is_the_same(ledger, open_page):
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    for accuracy in (0.86, 0.4):
        finish(ledger, accuracy)
    app.run()
    assert "Combine" in app.dataframe[0].value
    app.toggle(key="compare differences").set_value(True).run()
    assert "Combine" not in app.dataframe[0].value
    assert "Align" in app.dataframe[0].value


def test_the_owner_of_an_earlier_run_keeps_it(ledger, open_page):
    """A cell that somebody ran before is answered from the store and not queued again."""
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    (done, _) = (finish(ledger, 0.8), finish(ledger, 0.7))
    assert ledger.submit(done, SOMEBODY).state == "done"


def test_the_form_is_whole_when_one_comes_back_from_another_page(open_page):
    app = open_page("compare")
    app.switch_page(str(PAGES / "merge.py")).run()
    assert not app.exception
    app.switch_page(str(PAGES / "compare.py")).run()
    assert not app.exception


def test_a_comparison_that_someone_else_runs_can_be_watched_and_stopped_but_starts_nothing(ledger, open_page):
    mine = open_page("compare", **FEW)
    press(mine, "Run 2 merges")
    address = dict(mine.query_params)
    assert len(ledger.jobs(kind="merge")) == 2 and len(address["live"]) == 16
    ledger.delete(ledger.jobs(kind="merge")[0].id, ledger.jobs(kind="merge")[0].owner)
    other = open_page("compare", **address)
    other.session_state["owner"] = "v-" + "b" * 32
    other.run()
    assert len(ledger.jobs(kind="merge")) == 1
    press(other, "Stop")
    assert [job.state for job in ledger.jobs(kind="merge")] == ["cancelled"]
    assert "live" not in other.query_params
    press(other, "Run the missing merges")
    assert [job.state for job in ledger.jobs(kind="merge")] == ["queued", "queued"]


def test_an_address_with_networks_that_are_not_here_shows_no_other_comparison(ledger, open_page):
    first = FEW["nets"].split(",")[0]
    for nets in ("u-0123456789ab,u-ba9876543210", f"{first},u-0123456789ab"):
        app = open_page("compare", **{**FEW, "nets": nets, "live": "0123456789abcdef"})
        assert "cannot be used here" in texts(app, "warning") and "No comparison yet" in texts(app, "markdown")
        assert ledger.jobs(kind="merge") == ()


def test_stop_stops_a_comparison_whose_cells_others_asked_for_too(ledger, open_page, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_OPEN_JOBS", "1")
    app = open_page("compare", **FEW)
    press(app, "Run 2 merges")
    (first,) = ledger.jobs(kind="merge")
    ledger.submit(from_json(json.dumps(first.request)), SOMEBODY)
    press(app, "Stop")
    assert ledger.job(first.id).owners == (SOMEBODY,)
    app.run()
    assert len(ledger.jobs(kind="merge")) == 1
