"""The page Why of networks whose units learn their nonlinearities: asked for, drawn, and offered to no others."""

import pkgutil
from dataclasses import replace

from merging.jobs.requests.base import ModelRef
from merging.results import saving
from merging.studies.registry import studies
from merging.zoo import catalogue
from tests.pages.ledgers import done, merge_request
from tests.pages.test_merge_page import press, texts
from tests.pages.test_studies import take
from tests.studies.subjects import learned
from tests.studies.test_inside import run
from ui.panels import studies as panels
from ui.panels.study_panels import study_panels
from ui.shell.screens import SCREENS, TABS

TITLE = "Learned nonlinearities"


def adaptive_run(ledger) -> str:
    models = tuple(ModelRef.of(catalogue.find_entry(f"fashion-adaptive-s{seed}")) for seed in (0, 1))
    return done(ledger, replace(merge_request(), models=models))


def test_learned_curves_are_asked_for_and_drawn(ledger, open_page):
    run_id = adaptive_run(ledger)
    app = press(open_page("why", run=run_id[:12]), "Draw the learned curves")
    assert [job.request["study"] for job in ledger.jobs(kind="study")] == ["nonlinearities"]
    desk, claim = take(ledger)
    assert desk.finish(claim, {"finding": saving.save(run("nonlinearities", learned()))})
    app = open_page("why", run=run_id[:12])
    assert TITLE in texts(app, "markdown")
    assert "saturations on the log-odds scale" in texts(app, "caption")
    for key, value in (("nonlinearity layer", "layers.3"), ("nonlinearity order", "alike")):
        control = app.selectbox(key=key) if "layer" in key else app.segmented_control(key=key)
        app = control.set_value(value).run()
        assert not app.exception
        assert len(app.get("plotly_chart")) == 1


def test_networks_whose_units_have_none_are_not_asked(ledger, open_page):
    assert TITLE not in texts(open_page("why", run=done(ledger)[:12]), "markdown")


def test_every_study_has_a_page_that_a_job_leads_to():
    assert {study.page for study in studies().values()} <= SCREENS.keys() & TABS.keys()


def test_every_panel_of_a_study_is_drawn_on_a_page():
    files = {file.name for file in pkgutil.iter_modules(panels.__path__)}
    assert sum(len(study_panels(page)) for page in ("similarity", "why", "landscape")) == len(files)


def test_one_can_be_trained_on_the_page(ledger, open_page):
    app = open_page("models")
    networks = next(box for box in app.selectbox if box.key == "train what")
    chosen = next(option for option in networks.options if option.startswith("Adaptive MLP 2×64"))
    press(networks.set_value(chosen).run(), "Train")
    (job,) = ledger.jobs(kind="train")
    assert (job.request["architecture"], job.request["config"]["widths"]) == ("adaptive", [64, 64])
