"""The Sweeps page: empty, asked for, filling in, paused, finished, gone; one axis and two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.look import look_at_sweep
from merging.jobs.sweeps.plan import cells_of
from merging.results import saving
from merging.results.sweep_report import SweepReport, SweepRow
from merging.zoo.datasets.fingerprint import fingerprint
from tests.pages.ledgers import SOMEBODY, done, failed, merge_request
from tests.pages.test_merge_page import press, texts

DATA = "fashion-mnist"


def request(**changes) -> SweepRequest:
    values = {
        "architecture": "mlp",
        "config": {"widths": [512, 512, 512], "in_shape": [1, 28, 28], "classes": 10},
        "dataset": DATA,
        "data_sha256": fingerprint(DATA, None),
        "merge_sha256": {"1000": fingerprint(DATA, 1000)},
        "axes": (("width", (4, 8, 16)),),
        "groups": 2,
    }
    return SweepRequest(**{**values, **changes})


def finished(
    ledger,
    sweep: SweepRequest,
    *,
    failed: int = 0,
    more: Mapping[str, float] = MappingProxyType({}),
    runs: Sequence[str] = (),
) -> str:
    """A finished sweep whose barrier falls with the first axis; gives its id. runs: ids of the first merges."""
    ledger.submit(sweep, SOMEBODY)
    desk = Desk(ledger)
    claim = desk.claim(("sweep",))
    rows = []
    for number, cell in enumerate(cells_of(sweep)):
        place = sweep.axes[0][1].index(cell.values[0])
        measures = {
            "barrier_mean": 1 / (1 + place) + 0.01 * cell.group,
            "naive_barrier_mean": 2.0,
            "accuracy": 0.8,
            **more,
        }
        state = "failed" if number < failed else "done"
        run = runs[number] if number < len(runs) else f"{number:064x}"
        key = (cell.values, cell.triple, cell.group, cell.seed, state, run)
        rows.append(SweepRow(*key, measures if state == "done" else {}))
    report = SweepReport(json.loads(sweep.to_json()), tuple(rows))
    assert desk.finish(claim, {"report": saving.save(report)})
    return claim.id


def test_without_a_sweep_the_page_says_what_one_is_and_lists_those_so_far(ledger, open_page):
    assert "No sweep chosen" in texts(open_page("sweeps"), "markdown")
    finished(ledger, request())
    assert "Sweeps so far" in texts(open_page("sweeps"), "markdown")


def test_run_submits_the_sweep_that_the_widgets_describe_and_the_address_names_it(ledger, open_page):
    app = open_page("sweeps")
    app.text_input[0].set_value("4, 8").run()
    assert "12 trainings and 6 merges are left to do" in texts(app, "caption")
    press(app, "Run the sweep")
    (job,) = ledger.jobs(kind="sweep")
    assert app.query_params["sweep"] == job.id[:12] and job.state == "queued"
    assert job.request["axes"] == [["width", [4, 8]]] and job.request["groups"] == 3
    assert "The figure appears with the first finished merge" in texts(app, "caption")
    press(app, "Pause")
    assert ledger.job(job.id).state == "cancelled"
    assert "This sweep is paused; 0 of 6 merges are done" in texts(app, "info")
    press(app, "Continue")
    assert ledger.job(job.id).state == "queued"


def test_numbers_that_an_axis_gives_cannot_be_changed(open_page):
    app = open_page("sweeps")

    def idle() -> set[str]:
        return {one.label for one in (*app.number_input, *app.selectbox) if one.disabled}

    usual = idle()
    app.selectbox(key="sweep axis 1").set_value("epoch").run()
    app.selectbox(key="sweep axis 2").set_value("lr").run()
    assert idle() - usual == {"Epochs", "Learning rate"}
    app.selectbox(key="sweep axis 2").set_value("schedule").run()
    assert idle() - usual == {"Epochs", "Schedule"} and "Warm-up" in usual - idle()  # some of its values have a warm-up


def test_a_cheaper_version_is_one_button_away(open_page):
    app = press(open_page("sweeps"), "Make it cheaper")
    values = {box.label: box.value for box in app.number_input}
    assert (values["Groups"], values["Epochs"], values["Images"]) == (1, 2, 500)
    assert "16 trainings and 8 merges" in texts(app, "caption")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "at least one value"),
        ("4, x", "'x' is not a whole number"),
        ("0", "not between 1 and"),
        ("4, 4, 8", "4 is given twice"),
        ("9" * 400, "too long"),
    ],
)
def test_values_that_are_none_are_refused_in_words(open_page, typed, said):
    app = open_page("sweeps")
    app.text_input[0].set_value(typed).run()
    assert said in texts(app, "error", "warning", "info")
    assert len([*app.error, *app.warning, *app.info]) == 1
    assert not [button for button in app.button if button.label == "Run the sweep"]


def test_a_finished_sweep_shows_its_trend_and_its_address_fills_the_form(ledger, open_page):
    sweep = request(epochs=7, settings={"batch": 128})
    run = finished(ledger, sweep)
    app = open_page("sweeps", sweep=run[:12])
    said = texts(app, "markdown")
    assert "Weight matching: the loss barrier above the mean falls" in said
    assert "in all 2 groups (mean Spearman −1.00)" in said
    assert app.text_input[0].value == "4, 8, 16"
    assert {box.label: box.value for box in app.number_input}["Epochs"] == 7
    assert "--set batch=128" in app.code[0].value and "--axis width=4,8,16" in app.code[0].value
    (table,) = app.dataframe
    assert len(table.value) == 6 and table.value["Loss barrier above the mean (nats)"].iloc[0] == "1.00"


def test_a_merge_that_failed_says_where_and_why_and_the_command_names_the_threads(ledger, open_page):
    broken, whole = failed(ledger, merge_request(seed=8)), done(ledger, merge_request(seed=9))
    run = finished(ledger, request(groups=1), failed=1, runs=(broken, whole))
    app = open_page("sweeps", sweep=run[:12])
    said = " ".join(texts(app, "warning").split())
    assert "1 of 3 merges did not finish. At width of the first hidden layer 4, group 0: " in said.replace("\\", "")
    threads = ledger.report(whole).machine["threads"]
    assert app.code[0].value.endswith(f"--threads {threads}")


def test_a_point_shows_its_runs_only(ledger, open_page):
    run = finished(ledger, request())
    app = open_page("sweeps", sweep=run[:12], point="1")
    assert "Runs at width of the first hidden layer 8" in texts(app, "markdown")
    assert len(app.dataframe[0].value) == 2
    app = press(app, "Show all runs")
    assert len(app.dataframe[0].value) == 6
    for asked in ("99", "-1", "0000001", "٣", "<b>"):
        assert len(open_page("sweeps", sweep=run[:12], point=asked, measure="<b>").dataframe[0].value) == 6


def test_the_numbers_of_studies_are_measures_and_a_study_that_failed_is_counted(ledger, open_page):
    sweep = request(studies=("why", "evidence"))
    numbers = {"why.variance": 0.5, "naive_why.variance": 0.1, "evidence.kept": 0.25, "naive_evidence.kept": 0.0}
    app = open_page("sweeps", sweep=finished(ledger, sweep, more=numbers)[:12], measure="Share of units kept")
    assert app.selectbox(key="measure").value == "evidence.kept" and not app.warning
    assert app.dataframe[0].value["Share of units kept"].iloc[0] == "25.0 %"
    assert "--study why,evidence" in app.code[0].value
    assert next(box for box in app.multiselect if box.label == "Studies of every merge").value == ["why", "evidence"]
    assert "12 studies are left to do" in texts(app, "caption")
    lacking = request(studies=("why",), groups=1)
    assert "3 of 3 studies did not finish" in texts(
        open_page("sweeps", sweep=finished(ledger, lacking)[:12]), "warning"
    )


def test_losses_over_lambda_are_shown_first_and_without_a_trend(ledger, open_page):
    sweep = request(axes=(("lambda", (0.0, 0.25, 0.5, 0.75, 1.0)),), points=5)
    app = open_page("sweeps", sweep=finished(ledger, sweep, more={"loss": 0.3, "naive_loss": 1.5})[:12])
    assert app.selectbox(key="measure").value == "loss"
    assert "Spearman" not in texts(app, "markdown")


def test_two_axes_are_a_heat_map_of_one_method(ledger, open_page):
    sweep = request(axes=(("width", (4, 8)), ("lr", (0.001, 0.01))), aligns=("none", "weight-matching"))
    app = open_page("sweeps", sweep=finished(ledger, sweep)[:12])
    methods = app.selectbox(key="sweep method")
    assert methods.options == ["None (naive)", "Weight matching", "Naive average"]
    methods.select_index(2).run()
    assert not app.exception and not app.error


def test_failed_merges_are_counted_and_only_those_who_asked_for_them_try_again(ledger, open_page):
    app = open_page("sweeps", sweep=finished(ledger, request(), failed=2)[:12])
    assert "2 of 6 merges did not finish" in texts(app, "warning")
    assert "Continue" not in [button.label for button in app.button]
    app.session_state["owner"] = SOMEBODY
    press(app.run(), "Continue")
    assert ledger.jobs(kind="sweep")[0].state == "queued"


def test_somebody_else_s_open_sweep_can_be_watched_but_not_paused(ledger, open_page):
    job = ledger.submit(request(), SOMEBODY)
    app = open_page("sweeps", sweep=job.id[:12])
    assert "This sweep runs for someone else" in texts(app, "caption")
    assert "Pause" not in [button.label for button in app.button]


def test_a_sweep_that_is_not_here_is_said_to_be_gone(open_page):
    for asked in ("0123456789ab", "x" * 50, "<b>"):
        assert "is not here" in texts(open_page("sweeps", sweep=asked), "warning")


def test_parts_of_sweeps_are_listed_only_when_asked_for(ledger, open_page):
    sweep = request()
    ledger.submit(sweep, SOMEBODY)
    part = next(iter(look_at_sweep(ledger, sweep, SOMEBODY).parts)).request
    ledger.submit(part, SOMEBODY, batch=sweep.batch)
    app = open_page("jobs")
    assert part.title not in texts(app, "markdown") and "Sweep over" in texts(app, "markdown")
    assert part.title in texts(open_page("jobs", kinds="parts of sweeps"), "markdown")
    ledger.submit(from_json(part.to_json()), "somebody else")
    assert part.title in texts(open_page("jobs"), "markdown")
