"""A study's request and its task: what it is asked of, what travels to the worker, and what comes back."""

from dataclasses import replace

import numpy as np
import pytest

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.study import StudyRequest
from merging.jobs.tasks.payload import Payload
from merging.jobs.tasks.run import run_task
from merging.jobs.tasks.study import subject_of
from merging.jobs.worker.gather import NEEDED, gather_payload
from merging.network.permutation import named_tensors
from merging.progress import no_progress
from merging.studies.registry import load_finding
from merging.zoo import catalogue
from tests.jobs.making import merge_request, take


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A merge of the small MLPs, run here: its request, payload and artifacts."""
    request = merge_request()
    payload = gather_payload(Ledger(tmp_path_factory.mktemp("home")), request, "cpu", 1)
    return request, payload, run_task("merge", payload)


def study(made, key: str, **settings) -> StudyRequest:
    return StudyRequest(made[0], key, settings)


def test_a_study_runs_on_what_the_merge_made(made):
    _, payload, artifacts = made
    asked = study(made, "landscape", resolution=5, images=50)
    sent = replace(payload, request=asked.to_json(), artifacts=artifacts)
    finding = load_finding(run_task("study", sent)["finding"])
    assert finding.points.keys() == {"A", "B", "pi(B)", "naive", "merge"}
    assert finding.points["B"][3] == pytest.approx(finding.points["pi(B)"][3], rel=1e-4)


def test_pi_b_is_made_again_where_it_was_not_kept(made):
    request, payload, artifacts = made
    kept = subject_of(request, replace(payload, artifacts=artifacts), no_progress, 0)
    again = subject_of(request, replace(payload, artifacts={n: artifacts[n] for n in NEEDED}), no_progress, 0)
    assert kept.exact and again.exact
    for name, tensor in named_tensors(kept.nets["pi(B)"]).items():
        np.testing.assert_array_equal(tensor, named_tensors(again.nets["pi(B)"])[name])
    for name, tensor in named_tensors(kept.nets["merge"]).items():
        np.testing.assert_array_equal(tensor, named_tensors(kept.nets["average"])[name])


def test_a_merge_whose_networks_are_not_here_is_refused(ledger, made):
    with pytest.raises(InvalidRequest, match="Run the merge here first"):
        gather_payload(ledger, study(made, "lab"), "cpu", 1)
    job = ledger.submit(made[0], "ann")
    desk = Desk(ledger)
    desk.finish(take(desk), made[2])
    assert ledger.job(job.id).state == "done"
    found = gather_payload(ledger, study(made, "lab"), "cpu", 1)
    assert isinstance(found, Payload) and set(found.artifacts) == {*NEEDED, "aligned.safetensors"}
    assert found.images.keys() == {"train", "test"}


def test_the_same_question_has_the_same_id(made):
    request = made[0]
    first, renamed = study(made, "why"), replace(request, models=[replace(m, name="other") for m in request.models])
    assert StudyRequest(renamed, "why", {"images": 0}).id == first.id
    assert StudyRequest(request, "why", {"images": 500}).id != first.id
    assert StudyRequest(request, "along").id != first.id
    assert StudyRequest(replace(request, seed=1), "why").id != first.id
    assert from_json(first.to_json()) == first
    assert first.title.startswith("Why this merge works or fails: ")


def test_what_cannot_be_asked_is_said(made):
    with pytest.raises(InvalidSetting, match="landscape"):
        study(made, "nonsense")
    with pytest.raises(InvalidSetting, match="orders"):
        study(made, "why", order=3)
    with pytest.raises(InvalidRequest, match="needs images"):
        StudyRequest(replace(made[0], dataset="", data_sha256=""), "why")


def test_another_network_travels_with_the_study(tmp_path):
    a, b, c = (ModelRef.of(catalogue.find_entry(f"fashion-small-s{seed}")) for seed in range(3))
    request = merge_request(models=(a, b))
    payload = gather_payload(Ledger(tmp_path), request, "cpu", 1)
    artifacts = run_task("merge", payload)
    few = {"resolution": 5, "images": 50}
    asked = StudyRequest(request, "landscape", few, other=replace(c, name="mine"))
    assert asked.id == StudyRequest(request, "landscape", few, other=c).id
    assert asked.id != StudyRequest(request, "landscape", few).id
    assert from_json(asked.to_json()) == asked
    third = catalogue.shipped_file(c.sha256).read_bytes()
    sent = replace(payload, request=asked.to_json(), checkpoints=(*payload.checkpoints, third), artifacts=artifacts)
    found = load_finding(run_task("study", sent)["finding"])
    assert found.points.keys() == {"A", "B", "C", "naive", "merge"}
    known = {kept.sha256: kept for kept in (a, b, c)}
    assert known.keys() == {model.sha256 for model in asked.checkpoints}


def test_only_a_network_that_fits_can_stand_beside_the_merged_ones(made):
    request = made[0]
    wide, other = (ModelRef.of(catalogue.find_entry(id)) for id in ("fashion-mlp-512-s0", "fashion-mlp-128-s1"))
    for study, beside, words in (
        ("landscape", wide, "the same structure"),
        ("landscape", other, "is one of the merged networks"),
        ("landscape", replace(other, sha256="0" * 64, mean=(0.9,)), "same images"),
        ("why", replace(other, sha256="0" * 64), "uses no network besides"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            StudyRequest(request, study, other=beside)
    with pytest.raises(InvalidRequest, match="No network C"):
        StudyRequest(request, "similarity", {"pair": "A-C"})
