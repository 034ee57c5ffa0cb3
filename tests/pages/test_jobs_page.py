"""The list of jobs: which are one's own, and being rid of many at once."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from merging.jobs import examples
from merging.jobs.ledger.jobs import Worker
from merging.jobs.requests.base import ModelRef
from merging.jobs.search import Search, mark_of, search, without_key
from merging.zoo import catalogue
from tests.pages.ledgers import done, merge_request, queued, running
from tests.pages.test_merge_page import press, texts


def test_ones_own_jobs_are_marked_and_cancelled_together(ledger, open_page):
    app = open_page("jobs")
    me = app.session_state["owner"] = "a" * 32
    for seed in range(2):
        queued(ledger, merge_request(seed=seed), me)
    queued(ledger, merge_request(seed=5))
    app.run()
    assert texts(app, "caption").count("yours · seed") == 2
    press(app, "Cancel all 2 of yours")
    assert sorted(job.state for job in ledger.jobs()) == ["cancelled", "cancelled", "queued"]
    press(app.run(), "Delete all 2 of yours that failed or were cancelled")
    assert [job.state for job in ledger.jobs()] == ["queued"]


def test_a_running_job_is_told_from_others_of_the_same_networks(ledger, open_page):
    _, claim = running(ledger, merge_request(seed=7))
    app = open_page("jobs")
    (bar,) = app.get("progress")
    assert f"`{claim.id[:6]}`" in bar.proto.text and "seed 7" in bar.proto.text


def secret_networks(ledger, owner, names=("secret 1", "secret 2")):
    """Two private networks of this owner, the same content for every owner."""
    shipped = catalogue.find_entry("fashion-mlp-128-s0")
    nets = []
    for number, name in enumerate(names, 1):
        data = bytearray(catalogue.shipped_file(shipped.sha256).read_bytes())
        data[-1] ^= number
        entry = replace(shipped, id="", source="uploaded", name=name, private=True)
        nets.append(ModelRef.of(ledger.add_model(entry, bytes(data), owner)))
    return tuple(nets)


def test_runs_on_private_networks_are_their_owner_s_alone(ledger, open_page):
    """Neither listed to others, nor are their networks offered for download, nor can others run them again."""
    nets = secret_networks(ledger, "somebody")
    run = done(ledger, replace(merge_request(), models=nets), "somebody")
    for deleted in (False, True):
        assert "secret 1" not in texts(open_page("jobs"), "markdown")
        app = open_page(run=run[:12], menus=True)
        assert "private to the person who uploaded them" in texts(app, "caption")
        assert not [one.proto.label for one in app.get("download_button") if "checkpoint" in one.proto.label]
        press(app, "Run again with another seed")
        assert ("not on this machine" if deleted else "is private to the person who uploaded it") in texts(app, "error")
        for entry in ledger.models("somebody"):
            ledger.delete_model(entry.id, "somebody")
    assert len(ledger.jobs(kind="merge")) == 1


@pytest.mark.parametrize("around", [" " * 6, "\t" * 6, "\u3000" * 6, "\n" * 6])
def test_a_few_digits_with_spaces_around_them_open_no_private_run(ledger, open_page, around):
    request = replace(merge_request(), models=secret_networks(ledger, "somebody"))
    run = done(ledger, request, "somebody")
    assert "is not here" in texts(open_page(run=f"{around}{run[:6]}"), "markdown", "warning", "info", "error")
    assert run[:6] in texts(open_page(run=f" {run} "), "markdown")


def test_the_neurons_of_a_private_run_start_no_work_for_others(ledger, open_page):
    run = done(ledger, replace(merge_request(), models=secret_networks(ledger, "somebody")), "somebody")
    app = open_page("neurons", run=run[:12])
    assert ledger.jobs(kind="pictures") == () and "is private" in texts(app, "error", "warning", "info", "caption")


def test_the_table_of_workers_gives_no_address_of_a_private_run(ledger, open_page):
    request = replace(merge_request(), models=secret_networks(ledger, "somebody"))
    for wanted, shown in ((request, "runs a private job"), (merge_request(seed=3), "")):
        desk, claim = running(ledger, wanted, "somebody")
        desk.beat([Worker("w", "CPU", claim.id, 1, 2, None, None, "node", time.time())])
        app = open_page("jobs")
        now = app.dataframe[0].value["Now"][0]
        assert now == (shown or f"runs {claim.id[:6]}")
        ledger.cancel(claim.id, "somebody")


def test_the_same_networks_of_two_people_have_each_one_s_own_names(ledger, open_page):
    me = "v-" + "a" * 32
    run = done(ledger, replace(merge_request(), models=secret_networks(ledger, "somebody")), "somebody")
    mine = secret_networks(ledger, me, ("mine 1", "mine 2"))
    assert ledger.submit(replace(merge_request(), models=mine), me).id == run
    for page in ("jobs", "merge", "side"):
        app = open_page(page, **({} if page == "jobs" else {"run": run[:12], "runs": run[:12]}), menus=page == "merge")
        app.session_state["owner"] = me
        app.run()
        said = texts(app, "markdown", "caption", "code")
        assert "secret" not in said and ("mine 1" in said or page == "side")


def test_a_run_is_found_by_its_own_name_and_note_which_others_do_not_see(ledger, open_page):
    first, second = (done(ledger, merge_request(seed=seed)) for seed in (1, 2))
    app = open_page("jobs")
    app.session_state["owner"] = "a" * 32
    app.session_state[f"menu {first[:12]}"] = True
    app.run()
    next(one for one in app.text_input if one.label == "Name").set_value("base [line](//x)")
    next(one for one in app.text_area if one.label == "Note").set_value("first try")
    press(app, "Save")
    assert "**base \\[line\\]" in texts(app, "markdown") and "first try" in texts(app, "caption")
    assert mark_of(ledger, first, "a" * 32).name == "base [line](//x)"
    app.text_input(key="q").set_value("line first").run()
    assert f"`{first[:6]}`" in texts(app, "caption") and f"`{second[:6]}`" not in texts(app, "caption")
    assert "first try" not in texts(open_page("jobs"), "caption")


def test_rows_say_accuracy_barrier_and_date_and_can_be_archived(ledger, open_page):
    run = done(ledger)
    app = open_page("jobs")
    row = next(one for one in texts(app, "caption").splitlines() if run[:6] in one)
    assert "accuracy 86.4 %" in row and "barrier .084" in row and time.strftime("%Y,") in row
    app.session_state[f"menu {run[:12]}"] = True
    app.run()
    press(app, "Archive")
    assert run[:6] not in texts(app, "caption") and "No job fits" not in texts(app, "info")
    app.pills(key="only").set_value(["archived"]).run()
    assert f"`{run[:6]}`" in texts(app, "caption")


def test_a_search_that_finds_nothing_says_so_and_stands_in_the_address(ledger, open_page):
    done(ledger)
    app = open_page("jobs", q="nowhere", order="best accuracy first", method="align: nonsense", dataset="nonsense")
    assert "No job fits this search" in texts(app, "info") and not app.error
    assert app.selectbox(key="order").value == "best accuracy first" and app.selectbox(key="method").value == "any"


def test_a_comparison_is_one_row_that_opens(ledger, open_page):
    batch = "nets=a,b&live=0123456789abcdef"
    me = "v-" + "a" * 32
    for seed in range(3):
        ledger.submit(merge_request(seed=seed), me, batch=batch)
    assert not open_page("jobs").expander  # its address is the person's who started it
    app = open_page("jobs")
    app.session_state["owner"] = me
    app.run()
    assert len([one for one in app.expander if one.label.startswith("Comparison of 3 merges")]) == 1
    assert "seed 1" not in texts(app, "caption")
    app.session_state[f"batch {hashlib.sha256(without_key(batch).encode()).hexdigest()[:12]}"] = True
    app.run()
    assert "seed 1" in texts(app, "caption")
    (link,) = [one for one in app.get("page_link") if one.proto.label == "Open on Compare"]
    assert "nets=a" in link.proto.query_string and "live=0123" in link.proto.query_string
    ledger.cancel(ledger.jobs()[0].id, me)
    app.run()  # it stays one row while a part has ended and the others wait
    assert [one.label for one in app.expander if "Comparison of 3 merges" in one.label and "1 of 3 ended" in one.label]


def test_selected_runs_and_examples_stand_side_by_side(ledger, open_page):
    runs = [done(ledger, merge_request(seed=seed)) for seed in (1, 2)]
    app = open_page("jobs")
    for run in runs:
        app.checkbox(key=f"pick {run[:12]}").check()
    app.run()
    example = examples.merges()["cnns"].id
    app.checkbox(key=f"pick example {example[:12]}").check()
    app.run()
    (link,) = [one for one in app.get("page_link") if "side by side" in one.proto.label]
    assert set(parse_qs(link.proto.query_string)["runs"][0].split(",")) == {run[:12] for run in (*runs, example)}


def test_what_one_does_not_know_by_name_has_none(ledger, open_page):
    """A private copy of a public result: its name stays with its owner, also in files, and after deletions."""
    a = "v-" + "a" * 32
    public = done(ledger)
    shipped = catalogue.find_entry(catalogue.presets()[0].a)
    entry = replace(shipped, id="", source="uploaded", name="SECRET", private=True)
    mine = ledger.add_model(entry, ledger.artifact(public, "merge.safetensors"), a)
    run = done(ledger, replace(merge_request(seed=3), models=(ModelRef.of(mine), merge_request().models[1])), a)
    for who, known in ((a, True), ("v-" + "b" * 32, False)):
        for page in ("jobs", "merge"):
            app = open_page(page, **({"run": run[:12]} if page == "merge" else {}))
            app.session_state["owner"] = who
            app.run()
            assert ("SECRET" in texts(app, "markdown", "caption")) == known
        assert bool(search(ledger, Search("SECRET"), who, 9)) == known


def test_a_private_run_is_opened_by_its_whole_address_only(ledger, open_page):
    nets = secret_networks(ledger, "somebody")
    run = done(ledger, replace(merge_request(), models=nets), "somebody")
    assert "is not here" in texts(open_page(run=run[:6]), "markdown")
    assert "is not here" not in texts(open_page(run=run[:12]), "markdown")
