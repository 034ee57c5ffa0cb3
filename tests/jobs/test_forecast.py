"""How long a job will take, told from finished ones like it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from merging.jobs.forecast import forecast, shares
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.estimates import Past
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.stages import overall
from merging.zoo import catalogue
from tests.jobs.making import long_request, merge_request, pictures_request, trained_artifacts

SPENT = {"loading": 1.0, "matching": 4.0, "combining": 10.0, "curve": 20.0, "similarity": 5.0}


def values(request):
    return json.loads(request.to_json())


def past(request, **stages):
    return Past(values(request), stages or SPENT)


def test_a_curve_takes_longer_by_points_images_and_paths_and_nothing_else_does():
    found = forecast(values(merge_request(9, images=400, points=9)), [past(merge_request(0, images=100, points=3))])
    assert found == {**SPENT, "curve": 20.0 * 4 * 3}
    asked = merge_request(align="none", correct="repair")
    assert forecast(values(asked), [past(asked)]) == SPENT
    assert forecast(values(asked), [past(merge_request(align="none"))])["curve"] == pytest.approx(20.0 * 3 / 2)


def test_another_method_tells_nothing_of_what_methods_do_which_counts_as_usual():
    other = past(merge_request(correct="repair"))
    known = {stage: spent for stage, spent in SPENT.items() if stage not in ("matching", "combining")}
    usual = dict(MergeRequest.shares())
    one = (1.0 + 5.0 + 20.0 * 2 / 3) / (1 - usual["matching"] - usual["combining"])
    found = forecast(values(merge_request(align="straight-through", combine="non-uniform")), [other])
    told = {"curve": 20.0 * 2 / 3, "matching": usual["matching"] * one, "combining": usual["combining"] * one}
    assert found == pytest.approx(known | told)
    idle = forecast(values(merge_request(align="none", combine="average")), [other])
    assert (idle["matching"], idle["combining"]) == (0.0, 0.0)
    repaired = forecast(values(merge_request(align="none", combine="average", correct="repair")), [other])
    assert repaired["matching"] == 0.0 < repaired["combining"]  # a correction measures the parents there
    own = past(merge_request(5), loading=1.0, matching=2.0, curve=3.0)
    assert forecast(values(merge_request()), [other, own]) == {"loading": 1.0, "matching": 2.0, "curve": 3.0}


def test_the_bar_moves_through_stages_of_a_method_that_never_ran():
    stages = forecast(values(merge_request(align="straight-through")), [past(merge_request())])
    bar = shares(stages, MergeRequest.shares())
    assert overall(bar, "matching", 0.0) < overall(bar, "matching", 0.5) < overall(bar, "matching", 1.0)


def test_other_networks_tell_nothing():
    cnns = tuple(ModelRef.of(catalogue.find_entry(f"fashion-cnn-s{seed}")) for seed in (0, 1))
    assert forecast(values(merge_request()), [past(merge_request(models=cnns))]) == {}
    assert forecast(values(merge_request()), [past(merge_request(models=merge_request().models * 2))]) == {}
    cnn = ModelRef.of(catalogue.find_entry("fashion-cnn-s0"))
    assert forecast(values(pictures_request(0)), [past(replace(pictures_request(0), model=cnn, layer="pool"))]) == {}
    study = StudyRequest(merge_request(), "why")
    assert forecast(values(study), [past(study)]) == SPENT
    assert forecast(values(study), [past(StudyRequest(merge_request(models=cnns), "why"))]) == {}


def test_a_study_tells_of_one_that_measures_as_much_elsewhere():
    units, more = ({"layer": "a", "first": 16}, {"layer": "b", "first": 0}), {"layer": "a", "first": 16, "steps": 512}
    here, there, finer = (StudyRequest(merge_request(), "units", settings) for settings in (*units, more))
    assert forecast(values(here), [past(there)]) == SPENT
    assert forecast(values(finer), [past(there)]) == {}


def test_a_merge_without_images_tells_nothing_of_one_with_them():
    blind = merge_request(data_sha256="")
    assert forecast(values(merge_request()), [past(blind)]) == forecast(values(blind), [past(merge_request())]) == {}


def test_trainings_go_by_epochs_and_pictures_by_units_and_steps():
    asked = long_request()
    shorter = past(replace(asked, epochs=10, seed=4), loading=1.0, training=30.0)
    assert forecast(values(asked), [shorter]) == {"loading": 1.0, "training": 150.0}
    drawn = past(pictures_request(0, 1, steps=32), rendering=8.0)
    assert forecast(values(pictures_request(0, 1, 2, 3, steps=16)), [drawn]) == {"rendering": 8.0}


def test_zips_go_by_their_networks_and_images():
    heads = tuple(ModelRef.of(catalogue.find_entry(f"fashion-head-{side}")) for side in ("low", "high"))
    asked = ZipRequest(heads, "fashion-mnist", "a" * 64)
    assert forecast(values(asked), [past(replace(asked, seed=3), heads=2.0)]) == {"heads": 2.0}
    more = past(replace(asked, images=500), tracing=1.0, matching=2.0, heads=3.0)
    assert forecast(values(asked), [more]) == {"tracing": 1.0, "matching": 8.0, "heads": 12.0}
    small = tuple(ModelRef.of(catalogue.find_entry(f"fashion-small-s{seed}")) for seed in (0, 1))
    assert forecast(values(asked), [past(replace(asked, models=small), heads=2.0)]) == {}


@pytest.mark.parametrize("lacking", ["models", "align", "settings", "points", "images"])
def test_what_another_version_asked_for_tells_nothing_and_breaks_nothing(lacking):
    old = {name: value for name, value in values(merge_request()).items() if name != lacking}
    assert forecast(values(merge_request()), [Past(old, SPENT)]) == {}
    assert forecast(old, [past(merge_request())]) == {}
    assert forecast(values(merge_request()), [Past(old, {"curve": 9.0}), past(merge_request())]) == SPENT


def test_the_median_of_the_likest_tells():
    jobs = [past(merge_request(seed), curve=float(spent)) for seed, spent in enumerate((1, 2, 90))]
    assert forecast(values(merge_request(7)), jobs) == {"curve": 2.0}


def test_the_bar_moves_as_the_stages_took():
    by_history = shares({"loading": 1.0, "curve": 3.0}, MergeRequest.shares())
    assert overall(by_history, "curve", 0.5) == pytest.approx(0.25 + 0.75 / 2)
    assert overall(by_history, "matching", 0.0) == pytest.approx(0.25)
    assert overall(by_history, "saving", 1.0) == pytest.approx(1.0)
    assert shares({}, MergeRequest.shares()) == MergeRequest.shares()


@pytest.mark.parametrize(
    "request_of", [long_request, merge_request, pictures_request], ids=["train", "merge", "pictures"]
)
@pytest.mark.parametrize("damage", [0, -1, "", "x", None, [], {}, [None], 1e308], ids=repr)
def test_a_damaged_finished_job_tells_nothing_and_breaks_nothing(request_of, damage):
    asked = values(request_of())
    for name in asked.keys() - {"kind"}:
        found = forecast(asked, [Past({**asked, name: damage}, SPENT), Past(asked, SPENT)])
        assert set(found) <= set(SPENT)
        assert set(forecast({**asked, name: damage}, [Past(asked, SPENT)])) <= set(SPENT)


def test_a_damaged_finished_job_breaks_no_list(ledger):
    first = ledger.submit(long_request(0), "ann")
    desk = Desk(ledger)
    assert desk.finish(desk.claim(("train",)), trained_artifacts(long_request(0)))
    damaged = json.dumps({**values(long_request(0)), "epochs": 0})
    with connect(ledger.file) as db:
        db.execute("UPDATE jobs SET request = ? WHERE id = ?", (damaged, first.id))
    second = ledger.submit(long_request(1), "ann")
    assert {job.id for job in ledger.jobs()} == {first.id, second.id}
    assert set(ledger.expected(long_request(1))) <= {stage for stage, _ in long_request(1).shares()} | {""}
