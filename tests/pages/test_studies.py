"""Pages that show studies of a run: asked for by a button, watched, failed, found; shipped findings need no worker."""

import json
import re

import pytest

from merging.figures.figure import SELECTED
from merging.jobs.examples import LOOKED_INTO, example_studies, merges
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.shipped_runs import ShippedRuns
from merging.jobs.requests.registry import from_json
from merging.results import saving
from merging.studies.evidence import ALL_UNITS
from merging.studies.units import WORDS
from merging.zoo.catalogue import find_entry
from tests.pages.ledgers import done, merge_request
from tests.pages.test_merge_page import html, press, texts
from tests.studies.subjects import merged
from tests.studies.test_inside import run
from tests.studies.test_table import QUICK
from ui.neurons.evidence_panel import UNITS

EXAMPLES = {key: request.id[:12] for key, request in merges().items()}


def take(ledger):
    """The next study a worker would be given."""
    desk = Desk(ledger)
    return desk, desk.claim(("study",))


def bands(app) -> int:
    """Number of figures in which a layer is marked."""
    shapes = [json.loads(chart.proto.spec)["layout"].get("shapes", ()) for chart in app.get("plotly_chart")]
    return sum(any(SELECTED.items() <= shape.items() for shape in own) for own in shapes)


def answer(ledger, key: str):
    """Hand in a finding of the small test nets for the study that waits."""
    desk, claim = take(ledger)
    assert claim.request.study == key
    assert desk.finish(claim, {"finding": saving.save(run(key, merged(), **QUICK[key]))})


def test_what_ships_is_what_the_pages_ask_for():
    shipped = ShippedRuns().entries
    for key, request in merges().items():
        for study in example_studies(request, key):
            assert from_json(study.to_json()) == study
            assert study.id in shipped
    assert UNITS["all"] == ALL_UNITS


def test_why_explains_the_example_without_a_worker(open_page):
    app = open_page("why", run=EXAMPLES["cnns"])
    words = texts(app, "markdown")
    assert "Re-ordering B's units brings its weights closer to A's" in words
    for title in (
        "Do activations shrink?",
        "Which layer contributes most to the barrier?",
        "Do the weights point the same way?",
        "How well do units match?",
        "How similar are the layers?",
    ):
        assert title in words
    assert "Straight-through estimator" in words
    assert not app.button(key="again").disabled


def test_a_layer_is_selected_on_all_figures_and_leads_to_its_neurons(open_page):
    app = open_page("why", run=EXAMPLES["cnns"])
    (suggested,) = (one.proto for one in app.get("page_link") if "contributes most" in one.proto.label)
    assert suggested.label == "Neurons of features.6, which contributes most to the barrier"
    assert bands(app) == 0
    app = open_page("why", run=EXAMPLES["cnns"], layer="features.6")
    assert "Selected layer: **features.6**" in texts(app, "markdown")
    assert bands(app) >= 7  # variance, shares, singular vectors, matches, similarity, along twice, alignments
    app.button(key="no layer").click().run()
    assert bands(app) == 0
    assert "layer" not in app.query_params


def test_the_correction_is_part_of_the_reasons(open_page):
    assert "The correction changes this ratio to" in texts(open_page("why", run=EXAMPLES["batch-norm"]), "markdown")


def test_the_landscape_of_the_example(open_page):
    app = open_page("landscape", run=EXAMPLES["mlps"])
    assert "On the line from A to π(B), the merge is as good as A and B" in texts(app, "markdown")
    assert "Axes are orthogonal" in texts(app, "caption")


def test_a_unit_in_full(open_page):
    app = open_page("neurons", run=EXAMPLES["cnns"], layer=LOOKED_INTO["cnns"], unit="5")
    words = texts(app, "markdown")
    title, fate = (re.search(found, words) for found in (r"Unit 5 of \S+ \w+ matched, (\S+)", r"\*\*(\S+)\*\*: "))
    assert title is not None
    assert fate is not None
    assert title[1] == fate[1].lower()
    assert title[1] in WORDS
    assert "Which network responds to whose picture?" in words
    assert "| A and π(B) |" in words
    app.select_slider(key="film at").set_value(0.3).run()
    assert not app.exception


@pytest.mark.parametrize("view", ["Unit by unit", "All units", "Classes", "Does it hold?"])
def test_the_views_of_the_neurons(open_page, view):
    app = open_page("neurons", run=EXAMPLES["cnns"], layer=LOOKED_INTO["cnns"], view=view)
    words = {
        "Unit by unit": "Unit 78",
        "All units": "**naive average**",
        "Classes": "**Sandal**",
        "Does it hold?": "follow their",
    }
    shown = words[view]
    assert shown in texts(app, "markdown") + " ".join(link.label for link in app.get("page_link"))


@pytest.mark.parametrize(("drawn", "units"), [("a sample", "64 units of 4"), ("all", "461 units of 4")])
def test_what_became_of_a_sample_and_of_all_units(open_page, drawn, units):
    app = open_page("neurons", run=EXAMPLES["cnns"], view="Does it hold?", drawn=drawn)
    assert units in texts(app, "caption")
    shares = re.findall(r"([\d.]+) % (?:kept|blended|one-sided|replaced|died)", texts(app, "markdown"))
    assert sum(map(float, shares)) == pytest.approx(200, abs=0.5)  # of the merge, and of the naive average


def test_rows_say_what_the_merge_made_of_the_units_that_were_measured(open_page):
    app = open_page("neurons", run=EXAMPLES["cnns"], layer=LOOKED_INTO["cnns"], view="Unit by unit")
    told = re.search(r"What became of these 8 units in the merge: (.+)\.", texts(app, "caption"))
    assert told is not None
    counts = {word: int(count) for count, word in (part.split(" ") for part in told[1].split(", "))}
    assert sum(counts.values()) == 8
    for word, count in counts.items():
        assert len(re.findall(rf"matched, {word}</b>", html(app))) == count
    other = open_page("neurons", run=EXAMPLES["mlps"], layer=LOOKED_INTO["mlps"], view="Unit by unit")
    assert "What became of" not in texts(other, "caption")  # no study of all units is shipped


def test_the_most_changed_units_come_first(open_page):
    app = open_page("neurons", run=EXAMPLES["cnns"], layer=LOOKED_INTO["cnns"], sort="most changed")
    assert not app.error and not app.button(key="again").disabled


def test_similarity_marks_what_is_not_to_be_trusted_and_moves_cka(open_page):
    app = open_page("similarity", run=EXAMPLES["cnns"])
    assert "cells whose CKA is not to be trusted" in texts(app, "caption")
    assert "Checked so far: “A and B”, “A and π(B)”" in texts(app, "caption")  # re-ordering changes no measure
    assert "every output stays exactly the same" in texts(app, "markdown")
    for kind in ("image", "unit"):
        app.segmented_control(key="lab kind").set_value(kind).run()
        assert not app.exception


def test_a_cell_in_the_address_is_examined_at_once(ledger, open_page):
    run_id = done(ledger)
    cell = {"pair": "A-merge", "row": "layers.2", "column": "layers.0"}
    app = open_page("similarity", run=run_id[:12], **cell)
    assert "Once all measures have been computed (below), ⚠ marks cells" in texts(app, "caption")
    assert "A and the merge: layers.2 and layers.0" in texts(app, "markdown")
    asked = [job.request for job in ledger.jobs(kind="study")]
    assert [(a["study"], a["settings"]["row"], a["settings"]["column"]) for a in asked] == [
        ("reliability", "layers.2", "layers.0")
    ]
    answer(ledger, "reliability")
    app.run()
    assert "Procrustes" in texts(app, "markdown")
    assert any(word in texts(app, "markdown") for word in ("No reason to doubt", "with care", "Do not trust"))


@pytest.mark.parametrize("cell", [{"pair": "A-A"}, {"pair": "A-B", "row": "nowhere", "column": "layers.0"}])
def test_a_cell_that_is_not_there_is_none(ledger, open_page, cell):
    open_page("similarity", run=done(ledger)[:12], **cell)
    assert not ledger.jobs(kind="study")


def test_a_study_is_asked_for_watched_and_shown(ledger, open_page):
    run_id = done(ledger)
    app = press(open_page("why", run=run_id[:12]), "Explain this merge")
    job = ledger.jobs(kind="study")[0]
    assert (job.state, job.request["study"]) == ("queued", "why")
    assert "Run the study" in texts(app, "markdown")
    answer(ledger, "why")
    app = open_page("why", run=run_id[:12])
    assert "Which layer contributes most to the barrier?" in texts(app, "markdown")
    assert ledger.jobs(kind="study")[0].state == "done"


def test_a_study_that_failed_says_why_and_can_be_asked_again(ledger, open_page):
    run_id = done(ledger)
    press(open_page("landscape", run=run_id[:12]), "Measure the plane")
    desk, claim = take(ledger)
    desk.fail(claim, {"kind": "IncompatibleModels", "text": "The three networks lie on one line."})
    app = open_page("landscape", run=run_id[:12])
    assert "lie on one line" in texts(app, "error")
    press(app, "Try again")
    assert ledger.jobs(kind="study")[0].state == "queued"


@pytest.mark.parametrize("page", ["why", "landscape"])
def test_without_images_a_study_says_so(page, ledger, open_page):
    run_id = done(ledger, merge_request(dataset="", data_sha256=""), images=False)
    app = open_page(page, run=run_id[:12])
    assert "needs images" in texts(app, "info")


def test_an_example_without_its_networks_is_run_here_first(open_page, monkeypatch):
    monkeypatch.setattr("ui.runs.study.lacks_networks", lambda job: True)
    monkeypatch.setattr("ui.runs.study._finding", lambda job: None)
    app = open_page("landscape", run=EXAMPLES["cnns"])
    assert any(button.label == "Run it here" for button in app.button)


def test_a_job_in_the_list_says_what_it_studies(ledger, open_page):
    press(open_page("why", run=done(ledger)[:12]), "Explain this merge")
    assert "Why this merge works or fails" in ledger.jobs(kind="study")[0].title


@pytest.mark.parametrize(("page", "menu"), [("landscape", "third"), ("similarity", "beside")])
def test_another_network_can_be_looked_at_beside_the_run(ledger, open_page, page, menu):
    run_id = done(ledger, merge_request(1))
    app = open_page(page, run=run_id[:12])
    app.selectbox(key=f"choose {menu}").set_value("fashion-cnn-shared-a").run()
    assert app.query_params[menu] == "fashion-cnn-shared-a"
    shared = open_page(page, run=run_id[:12], **{menu: "fashion-cnn-shared-a"})
    assert shared.selectbox(key=f"choose {menu}").value == "fashion-cnn-shared-a"
    press(app, "Measure the plane" if page == "landscape" else "Compare by every measure")
    (job,) = ledger.jobs(kind="study")
    assert job.request["other"]["sha256"] == find_entry("fashion-cnn-shared-a").sha256


def test_which_picture_is_the_partners_is_guessed_once_and_counted(open_page, ledger):
    app = open_page("neurons", run=EXAMPLES["cnns"], view="Which is it?")
    assert "one of 4 cases" in texts(app, "markdown")
    press(app, "Picture 1")
    right = [words.value.startswith("Right") for words in (*app.success, *app.warning)]
    assert f"**{sum(right)} of 1 right in this layer.**" in texts(app, "markdown")
    assert len(right) == 1
    assert "the partner" in html(app)
    assert not [button for button in app.button if button.label.startswith("Picture ")]
    press(app, "Next unit")
    assert len([button for button in app.button if button.label.startswith("Picture ")]) == 4
    assert not ledger.jobs(kind="pictures")  # all pictures are shipped


def test_the_pictures_of_the_examples_classes_are_shipped(open_page, ledger):
    for key in LOOKED_INTO:
        assert "being made" not in html(open_page("neurons", run=EXAMPLES[key], view="Classes"))
    assert not ledger.jobs(kind="pictures")


def test_the_page_of_contact_sheets_is_part_of_the_address(open_page):
    app = open_page("neurons", run=EXAMPLES["cnns"], layer="features.6", sheet="2")
    assert app.session_state["sheet 2"] == 2
    unit = open_page("neurons", run=EXAMPLES["cnns"], layer="features.6", sheet="2", unit="7")
    (back,) = (one.proto for one in unit.get("page_link") if one.proto.label == "All units of the layer")
    assert "sheet=2" in back.query_string
    assert open_page("neurons", run=EXAMPLES["cnns"], layer="features.6", sheet="99").session_state["sheet 4"] == 4
