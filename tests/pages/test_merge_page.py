import sqlite3
from dataclasses import fields, replace

import safetensors.torch

from merging.jobs.requests.base import ModelRef
from merging.methods.registry import ROLES, table
from merging.zoo import catalogue
from merging.zoo.architectures import build
from merging.zoo.checkpoints.sandbox import convert
from tests.pages.ledgers import SOMEBODY, done, failed, merge_request, queued, running


def html(app):
    """All HTML that the pages made themselves."""
    return "\n".join(element.proto.body for element in app.get("html"))


def texts(app, *kinds):
    said = "\n".join(element.value for kind in kinds for element in getattr(app, kind))
    return said.replace("\u00a0", " ")  # a number and its unit are kept on one line


def press(app, label):
    return next(button for button in app.button if button.label == label).click().run()


def test_a_finished_run_shows_its_numbers(ledger, open_page):
    run = done(ledger)
    app = open_page(run=run[:12])
    assert {metric.label: metric.value for metric in app.metric}["Naive average"] == "39.4 %"
    table = next(m.value for m in app.markdown if "barrier above the mean" in m.value)
    assert "| naive average | 1.70 | 1.40 :gray[at λ .50] | 1.40 :gray[at λ .50] |" in table
    assert not app.error


def test_the_address_names_the_run_and_what_one_looks_at(ledger, open_page):
    run = done(ledger)
    app = open_page(run=run[:12], metric="Accuracy", menus=True)
    assert f"?run={run[:12]}&metric=Accuracy" in texts(app, "code")
    table = next(m.value for m in app.markdown if "barrier above the mean" in m.value)
    assert "| naive average | 39.4 % | 50.0 pp :gray[at λ .50] |" in table


def test_without_an_example_the_page_says_the_next_step(ledger, open_page, monkeypatch):
    monkeypatch.setattr("merging.jobs.ledger.shipped_runs.ShippedRuns.entries", {})
    assert "No run yet" in texts(open_page(), "markdown")


def test_run_merge_queues_the_job_that_the_form_says(ledger, open_page):
    app = open_page()
    app.number_input(key="form_images").set_value(300).run()
    app.number_input(key="form_seed").set_value(7).run()
    press(app, "Run merge")
    (job,) = ledger.jobs(kind="merge")
    assert (job.state, job.request["images"], job.request["seed"]) == ("queued", 300, 7)
    assert app.query_params["run"] == job.id[:12]


def test_a_pair_that_cannot_be_run_says_why(ledger, open_page):
    app = open_page()
    app.selectbox(key="form_b").set_value("fashion-cnn-s0").run()
    assert "only networks of one architecture" in texts(app, "warning")
    assert next(b for b in app.button if b.label == "Run merge").disabled


def test_a_recipe_sets_the_three_choices_and_a_choice_finds_its_recipe(ledger, open_page):
    app = open_page()
    app.selectbox(key="recipe").set_value("repair").run()
    assert [app.selectbox(key=role).value for role in ("align", "combine", "correct")] == [
        "weight-matching",
        "average",
        "repair",
    ]
    app.selectbox(key="correct").set_value("none").run()
    assert app.selectbox(key="recipe").value == "git-rebasin-weights"


def test_settings_are_drawn_from_the_method_and_reach_the_request(ledger, open_page):
    app = open_page()
    app.number_input(key="set align weight-matching restarts").set_value(2).run()
    press(app, "Run merge")
    assert ledger.jobs(kind="merge")[0].request["settings"]["align"]["restarts"] == 2


def test_every_methods_settings_are_drawn_with_their_defaults(ledger, open_page):
    app = open_page()
    for role in ROLES:
        for key, method in table(role).items():
            app.selectbox(key=role).set_value(key).run()
            assert not app.exception, (role, key)
            for declared in fields(method.settings):
                assert app.session_state[f"set {role} {key} {declared.name}"] == declared.default


def test_an_open_run_shows_its_stages_and_the_result_before_it_dimmed(ledger, open_page):
    before = done(ledger, merge_request(seed=5))
    app = open_page(run=before[:12])
    _, claim = running(ledger, merge_request(seed=6))
    app.query_params["run"] = claim.id[:12]
    app.run()
    assert "**Match B's units to A's**: sweep 3, gain 12.4" in texts(app, "markdown")
    assert "The previous result:" in texts(app, "caption")
    assert app.metric


def test_cancel_takes_ones_own_job_back(ledger, open_page):
    app = open_page()
    app.number_input(key="form_seed").set_value(7).run()
    press(app, "Run merge")
    job = ledger.jobs(kind="merge")[0]
    press(app, "Cancel")
    assert ledger.job(job.id).state == "cancelled"
    assert "This run was cancelled" in texts(app, "info")


def test_only_whoever_asked_can_cancel(ledger, open_page):
    app = open_page(run=queued(ledger, owner=SOMEBODY)[:12])
    assert "Only they can cancel" in texts(app, "caption")
    assert "Cancel" not in [button.label for button in app.button]


def test_a_failed_run_says_why_as_plain_text_with_details_to_copy(ledger, open_page):
    app = open_page(run=failed(ledger)[:12])
    assert "ran out of memory" in texts(app, "error")
    assert "\\<b\\>fewer" in texts(app, "error")
    assert "Traceback: line 1" in texts(app, "code")


def test_a_deleted_run_can_be_asked_for_again(ledger, open_page):
    run = done(ledger)
    app = open_page(run=run[:12])
    ledger.delete(run, SOMEBODY)
    app.run()
    assert "is not here" in texts(app, "markdown")
    press(app, "Run it again")
    assert ledger.job(run).state == "queued"


def test_a_run_of_another_version_is_told_and_the_form_still_works(ledger, open_page):
    run = done(ledger)
    with sqlite3.connect(ledger.file) as db:
        db.execute("UPDATE jobs SET request = json_set(request, '$.unheard', 1)")
    app = open_page(run=run[:12])
    assert "This version of the program cannot read the request" in texts(app, "warning")
    assert "Run merge" in [button.label for button in app.button]


def test_a_damaged_result_is_told_and_can_be_run_again(ledger, open_page):
    run = done(ledger)
    ledger.store.path(ledger.artifacts(run)["report"][0]).write_bytes(b"rubbish")
    app = open_page(run=run[:12])
    assert "was damaged" in texts(app, "warning")
    press(app, "Run it again")
    assert ledger.job(run).state == "queued"


def test_a_result_of_another_format_is_shown_with_a_note(ledger, open_page, monkeypatch):
    monkeypatch.setattr("ui.shell.chosen.FORMAT", 99)
    app = open_page(run=done(ledger)[:12])
    assert "Another version of Mergescope made this result" in texts(app, "warning")
    assert app.metric


def test_an_unknown_address_leads_on(ledger, open_page):
    assert "is not here" in texts(open_page(run="0123456789ab"), "markdown")


def test_a_merge_without_images_says_what_is_missing(ledger, open_page):
    app = open_page(run=done(ledger, images=False)[:12])
    assert "not on this machine" in texts(app, "info")


def test_another_seed_queues_the_same_merge_with_the_next_one(ledger, open_page):
    app = open_page(run=done(ledger)[:12])
    press(app, "Run again with another seed")
    newest = ledger.jobs(kind="merge", states=("queued",))[0]
    assert newest.request["seed"] == 1


def test_a_preset_card_runs_its_pair(ledger, open_page, monkeypatch):
    monkeypatch.setattr("merging.jobs.ledger.shipped_runs.ShippedRuns.entries", {})
    app = open_page()
    next(button for button in app.button if button.key == "preset cnns").click().run()
    job = ledger.jobs(kind="merge")[0]
    assert job.request["models"][0]["architecture"] == "cnn"
    assert app.selectbox(key="form_a").value == "fashion-cnn-s0"


def test_the_first_screen_is_a_finished_example(ledger, open_page):
    app = open_page()
    assert {"Naive average", "Aligned average", "Ensemble"} <= {metric.label for metric in app.metric}
    assert "· example" in texts(app, "markdown")
    assert not ledger.jobs()


def test_an_example_without_its_networks_offers_to_make_them(ledger, open_page):
    assert "The same merge in Python" not in texts(open_page(), "caption")
    app = open_page(menus=True)
    assert "The same merge in Python" in texts(app, "caption")
    press(app, "Run it here")
    assert ledger.jobs(kind="merge")[0].state == "queued"


def test_a_finished_run_is_the_same_after_a_restart(ledger, open_page):
    run = done(ledger)
    first = [metric.value for metric in open_page(run=run[:12]).metric]
    assert [metric.value for metric in open_page(run=run[:12]).metric] == first


def test_unequal_widths_run_by_the_method_that_maps_units(ledger, open_page):
    app = open_page()
    app.selectbox(key="form_b").set_value("fashion-mlp-128-s0").run()
    assert "To merge it, choose Optimal transport under Align." in texts(app, "warning")
    app.selectbox(key="align").set_value("optimal-transport").run()
    assert not texts(app, "warning")
    press(app, "Run merge")
    (job,) = ledger.jobs(kind="merge")
    assert [model["config"]["widths"][0] for model in job.request["models"]] == [512, 128]


def test_a_method_that_needs_images_is_not_promised_without_them(ledger, open_page, monkeypatch):
    monkeypatch.delenv("MERGESCOPE_DATA", raising=False)
    app = open_page()
    for name in "ab":
        app.selectbox(key=f"form_{name}").set_value(f"cifar-cnn-s{'ab'.index(name)}").run()
    assert "will run without curves" in texts(app, "info")
    app.selectbox(key="correct").set_value("repair").run()
    assert "Images are needed for REPAIR" in texts(app, "warning")
    run = next(button for button in app.button if button.label == "Run merge")
    assert run.disabled


def test_a_run_whose_network_is_gone_says_so_and_leaves_a_pair_that_can_be_run(ledger, open_page):
    request = merge_request()
    plain = safetensors.torch.save(build("mlp", request.models[0].config).state_dict())
    made = convert(plain, name="mine, *second*", dataset="fashion-mnist", architecture="mlp")
    entry = catalogue.uploaded(made.facts, made.data, owner=SOMEBODY, created=1.0)
    entry = ledger.add_model(entry, made.data, SOMEBODY)
    run = done(ledger, replace(request, models=(request.models[0], ModelRef.of(entry))))
    of_three = done(ledger, replace(request, models=(*request.models, ModelRef.of(entry))))
    ledger.delete_model(entry.id, SOMEBODY)
    assert f"unnamed {entry.sha256[:6]} of this run was deleted, or is private" in texts(open_page(run=run), "info")
    app = open_page("merge")
    app.session_state["owner"] = SOMEBODY  # who knows its name
    app.query_params["run"] = run
    app.run()
    assert r"mine, \*second\* of this run was deleted, or is private" in texts(app, "info")
    assert "The form shows another network" in texts(app, "info")
    assert "This pair cannot be merged" not in texts(app, "warning")
    app.selectbox(key="form_b").set_value("fashion-mlp-512-s0").run()
    assert "was deleted" not in texts(app, "info")
    assert "The form leaves it out." in texts(open_page("merge", run=of_three), "info")


def test_a_combination_of_ones_own_shows_its_choices(ledger, open_page):
    app = open_page()
    choices = [expander for expander in app.expander if expander.label.startswith("Align, combine, correct")]
    assert not choices[0].proto.expanded
    app.selectbox(key="recipe").set_value("own").run()
    choices = [expander for expander in app.expander if expander.label.startswith("Align, combine, correct")]
    assert choices[0].proto.expanded


def test_a_form_that_differs_from_the_result_beside_it_says_in_what(ledger, open_page):
    run = done(ledger)
    app = open_page(run=run[:12])
    assert "The form differs" not in texts(app, "caption") and "opacity: 0.5" not in html(app)
    app.number_input(key="form_seed").set_value(7).run()
    assert "The form differs from the displayed result in: seed." in texts(app, "caption")
    assert "opacity: 0.5" in html(app)
    app.selectbox(key="form_b").set_value("fashion-mlp-128-s0").run()  # another width: no merge, so nothing to compare
    assert "The form differs" not in texts(app, "caption")
    app.selectbox(key="form_a").set_value("fashion-mlp-128-s1").run()
    assert "The form differs from the displayed result in: networks and seed." in texts(app, "caption")


def test_choosing_a_chooses_its_sibling_unless_b_fits(ledger, open_page):
    app = open_page()
    for a, b in (("fashion-cnn-s0", "fashion-cnn-s1"), ("fashion-cnn-bn-s1", "fashion-cnn-bn-s0")):
        app.selectbox(key="form_a").set_value(a).run()
        assert app.selectbox(key="form_b").value == b
    app.selectbox(key="form_a").set_value("fashion-mlp-512-s0").run()
    app.selectbox(key="form_b").set_value("fashion-mlp-512-s1").run()
    assert app.selectbox(key="form_b").value == "fashion-mlp-512-s1"
