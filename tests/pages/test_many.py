"""More than two networks, and experts with their base: form, request and result."""

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.zoo import catalogue
from tests.pages.ledgers import done
from tests.pages.test_merge_page import press, texts

CNNS = [f"fashion-cnn{end}" for end in ("-s0", "-s1", "-shared-a", "-shared-b")]


def three() -> MergeRequest:
    return MergeRequest(tuple(ModelRef.of(catalogue.find_entry(name)) for name in CNNS[:3]))


def open_cnns(open_page):
    app = open_page()
    for key, name in zip(("form_a", "form_b"), CNNS[:2], strict=True):
        app.selectbox(key=key).set_value(name).run()
    return app


def test_further_networks_that_fit_are_offered_and_reach_the_request(ledger, open_page):
    app = open_cnns(open_page)
    menu = app.multiselect(key="form_more")
    assert set(menu.options) == {catalogue.find_entry(name).name for name in CNNS[2:]}
    menu.set_value([CNNS[3]]).run()
    press(app, "Run merge")
    (job,) = ledger.jobs(kind="merge")
    assert [model["sha256"] for model in job.request["models"]] == [
        catalogue.find_entry(CNNS[number]).sha256 for number in (0, 1, 3)
    ]


def test_a_method_of_experts_asks_for_their_base(ledger, open_page):
    app = open_cnns(open_page)
    app.selectbox(key="recipe").set_value("task-arithmetic").run()
    app.selectbox(key="form_base").set_value(CNNS[3]).run()
    press(app, "Run merge")
    (job,) = ledger.jobs(kind="merge")
    assert job.request["base"]["sha256"] == catalogue.find_entry(CNNS[3]).sha256


def test_experts_without_a_base_that_fits_cannot_be_run(ledger, open_page):
    app = open_page()
    app.selectbox(key="form_a").set_value("cifar-cnn-s0").run()
    app.selectbox(key="form_b").set_value("cifar-cnn-s1").run()
    app.selectbox(key="recipe").set_value("ties").run()
    assert "no such network fits A" in texts(app, "warning")
    assert next(b for b in app.button if b.label == "Run merge").disabled


def test_a_run_of_three_shows_what_each_is_worth_and_fills_the_form_again(ledger, open_page):
    run = done(ledger, three())
    app = open_page(run=run[:12])
    assert {metric.label: metric.value for metric in app.metric} == {
        "Naive average": "12.0 %",
        "Merge": "86.0 %",
        "Ensemble": "90.3 %",
    }
    said = texts(app, "markdown")
    assert "3 networks merge into one that is worse than they are: 86.0 %, 74.0 pp above" in said
    assert "A 88.0 %, B 88.5 %, C 89.0 %" in said
    assert app.multiselect(key="form_more").value == [CNNS[2]]
    assert not app.error
