"""What a verdict advises to try is one click away."""

from merging.jobs.examples import merges
from merging.methods.registry import find
from merging.text.next_steps import next_steps
from merging.text.reading import Reading
from tests.pages.test_merge_page import press, texts
from tests.text.test_verdict import curve, report

EXAMPLES = {key: request.id[:12] for key, request in merges().items()}


def offered(app) -> list[str]:
    return [button.label for button in app.button if (button.key or "").startswith("next ")]


def test_a_barrier_leads_to_the_advised_method(ledger, open_page):
    app = open_page(run=EXAMPLES["cnns"])
    assert "Try the correction REPAIR." in texts(app, "markdown")
    assert offered(app) == ["Correct with REPAIR"]
    press(app, "Correct with REPAIR")
    (job,) = ledger.jobs(kind="merge", states=("queued",))
    was = merges()["cnns"]
    assert (job.request["align"], job.request["correct"]) == (was.align, "repair")
    assert job.request["settings"]["align"] == was.settings.get("align", {})
    assert job.id.startswith(app.query_params["run"][0])


def test_a_connected_or_corrected_merge_needs_no_advice(open_page):
    for key in ("shared", "batch-norm"):
        assert offered(open_page(run=EXAMPLES[key])) == []


def test_a_step_names_a_method_that_exists_and_was_not_used(open_page):
    flat = report(curve(0.7), curve(0.7), moved=0)
    assert flat.request["align"] == "weight-matching"
    steps = next_steps(Reading(flat))
    assert ("align", "activation-matching") in [(step.role, step.key) for step in steps]
    for step in steps:
        assert find(step.role, step.key).label
        assert flat.request.get(step.role) != step.key
