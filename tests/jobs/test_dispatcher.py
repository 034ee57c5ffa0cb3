"""Jobs through the ledger and real Ray workers: done, cancelled, killed, late, broken."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.jobs.outcome import attempt
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.tasks.run import run_from_files, run_task
from merging.jobs.worker.engine import UNUSED
from merging.jobs.worker.gather import gather_payload
from merging.results import saving
from tests.jobs.conftest import processes, until
from tests.jobs.making import DATA, long_request, merge_request, pictures_request


def training(ledger, id):
    """The job, once its worker has begun to train."""
    return until(lambda: (job := ledger.job(id)).stage == "training" and job.state == "running" and job)


def workers() -> set[int]:
    return {process.pid for process in processes("ray::_run")}


def test_a_merge_through_the_worker_is_the_merge_of_the_library(ledger, dispatch):
    asked = merge_request(images=200, points=5)
    ledger.submit(asked, "ann")
    dispatch(ledger)
    job = until(lambda: (job := ledger.job(asked.id)).state == "done" and job)
    assert [stage for stage, _, _ in job.stages][:2] == ["loading", "tracing"]
    assert job.stages[-1][0] == "saving"
    assert job.attempts == 1
    direct = run_task("merge", gather_payload(ledger, asked, "cpu", 1))
    made = {name: ledger.artifact(asked.id, name) for name in ledger.artifacts(asked.id)}
    assert made.keys() == direct.keys()
    for name in made.keys() - {"report"}:
        assert made[name] == direct[name], name
    mine, theirs = (dataclasses.replace(saving.load(r["report"]), seconds={}, memory=0) for r in (made, direct))
    assert saving.save(mine) == saving.save(theirs)
    assert theirs.request == json.loads(asked.to_json())
    assert set(saving.load(made["report"]).seconds) >= {"loading", "tracing", "matching", "curve", "similarity"}
    assert ledger.submit(asked, "bob").state == "done"  # at once: nothing is run again
    assert ledger.job(asked.id).finished == job.finished


def test_a_large_merge_without_images_is_streamed_into_the_store(tmp_path, dispatch):
    ledger = Ledger(tmp_path / "home", Limits(streamed_mb=0))
    asked = merge_request(data_sha256="", settings={"align": {"restarts": 2}})
    ledger.submit(asked, "ann")
    dispatch(ledger)
    until(lambda: not ledger.job(asked.id).open)
    made = {name: ledger.artifact(asked.id, name) for name in ledger.artifacts(asked.id)}
    direct = run_task("merge", gather_payload(ledger, asked, "cpu", 1))
    assert made.keys() == direct.keys()
    for name in made.keys() - {"report"}:
        assert made[name] == direct[name], name
    report = saving.load(made["report"])
    assert "tensor by tensor" in report.missing
    assert report.notes == saving.load(direct["report"]).notes
    sizes = {name: size for name, (_, size) in ledger.artifacts(asked.id).items()}
    assert sizes == {name: len(data) for name, data in made.items()}
    assert list((ledger.folder / "scratch").iterdir()) == []


def test_large_networks_that_cannot_be_read_by_slices_are_merged_in_memory(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "home", Limits(streamed_mb=0))
    asked = merge_request(data_sha256="")
    payload = gather_payload(ledger, asked, "cpu", 1, folder=tmp_path / "out")
    assert (len(payload.files), payload.checkpoints) == (2, ())

    def tied(*given, **more):
        made = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        made[1].weight = made[0].weight
        return made

    monkeypatch.setattr("merging.zoo.checkpoints.sliced_checkpoint.build", tied)
    made = run_from_files(payload, tmp_path / "out")
    direct = run_task("merge", gather_payload(ledger, asked, "cpu", 1))
    assert {name: made[name] for name in made if name != "report"} == {n: direct[n] for n in direct if n != "report"}


def test_cancelling_a_running_job_frees_its_worker(ledger, dispatch):
    dispatch(ledger)
    job = ledger.submit(long_request(), "ann")
    training(ledger, job.id)
    busy = until(workers)
    ledger.cancel(job.id, "ann")
    until(lambda: not (busy & workers()))
    assert ledger.job(job.id).state == "cancelled"
    until(lambda: all(worker.busy == "" for worker in ledger.workers()))
    ledger.submit(merge_request(), "ann")
    until(lambda: ledger.jobs(states=("done",)))


def test_a_queued_job_is_cancelled_at_once_and_never_starts(ledger, dispatch):
    ledger.submit(long_request(0), "ann")
    second = ledger.submit(long_request(1), "ann")
    dispatch(ledger)
    until(lambda: ledger.jobs(states=("running",)))
    assert ledger.job(second.id).position == 1
    ledger.cancel(second.id, "ann")
    time.sleep(0.3)
    assert ledger.job(second.id).state == "cancelled"
    assert ledger.job(second.id).started is None


def test_what_someone_waits_for_does_not_wait_for_long_jobs(ledger, dispatch):
    first, second = (ledger.submit(long_request(seed), "ann") for seed in (0, 1))
    dispatch(ledger)
    training(ledger, first.id)
    pictures = [ledger.submit(pictures_request(unit), "ann") for unit in (0, 1)]
    until(lambda: all(ledger.job(job.id).state == "done" for job in pictures))
    assert ledger.job(first.id).state == "running"
    assert ledger.job(second.id).position == 1
    assert ledger.job(second.id).started is None
    direct = run_task("pictures", gather_payload(ledger, pictures_request(0), "cpu", 1))
    assert ledger.artifact(pictures[0].id, "unit-0") == direct["unit-0"]


def test_a_killed_worker_is_replaced_once_and_then_reported(ledger, dispatch):
    dispatch(ledger)
    job = ledger.submit(long_request(), "ann")
    for time_ in (1, 2):
        assert training(ledger, job.id).attempts == time_
        (worker,) = until(lambda: processes("ray::_run"))  # a title may be missing for a moment
        worker.kill()
        until(lambda before=time_: (job_ := ledger.job(job.id)).attempts > before or job_.state == "failed")
    job = ledger.job(job.id)
    assert (job.state, job.error["kind"]) == ("failed", "WorkerLost")
    assert "died twice" in job.error["text"]


def test_a_job_that_is_late_is_stopped_and_says_so(tmp_path, dispatch):
    ledger = Ledger(tmp_path, Limits(deadlines={"train": 1.5}))
    dispatch(ledger)
    job = ledger.submit(long_request(), "ann")
    job = until(lambda: (job_ := ledger.job(job.id)).state == "failed" and job_, 120)
    assert job.error["kind"] == "DeadlineExceeded"
    assert job.finished - job.started > 1.4
    until(lambda: not workers(), 120)


def test_our_own_errors_keep_their_words(ledger, dispatch):
    dispatch(ledger)
    asked = merge_request(align="activation-matching", dataset="", data_sha256="")
    ledger.submit(asked, "ann")
    job = until(lambda: (job := ledger.job(asked.id)).state == "failed" and job)
    assert job.error["kind"] == "DataUnavailable"
    assert "images" in job.error["text"]
    assert "details" not in job.error


def test_an_error_that_nobody_foresaw_becomes_words_with_details(ledger, engine):
    asked = merge_request()
    payload = gather_payload(ledger, asked, "cpu", 1)
    broken = {
        split: dataclasses.replace(images, labels=np.full(len(images), None))
        for split, images in payload.images.items()
    }
    work = engine.start(asked.kind, asked.lane, dataclasses.replace(payload, images=broken), ("x" * 64, 1))
    until(lambda: engine.ready(work))
    outcome = engine.result(work)
    assert outcome.artifacts == {}
    assert "Something went wrong inside the program (TypeError in stage loading)" in outcome.error["text"]
    assert "Traceback" in outcome.error["details"]


@pytest.mark.parametrize(
    ("number", "why"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "no permission to read"), (errno.EROFS, "mounted read-only")],
)
def test_what_the_system_refuses_is_told_in_words(number, why):
    def work(report):
        report("saving")
        raise OSError(number, os.strerror(number), "/some/where")

    error = attempt(work, lambda *told: None).error
    assert why in error["text"] and "OSError" not in error["text"] and "/some" not in error["text"]


@pytest.mark.parametrize(
    ("dataset", "why"), [("", "data set of these networks is unknown"), (DATA, "are not on the machine")]
)
def test_without_images_the_merge_is_made_and_says_what_is_missing(ledger, dispatch, dataset, why):
    dispatch(ledger)
    asked = merge_request(dataset=dataset, data_sha256="")
    ledger.submit(asked, "ann")
    until(lambda: (job := ledger.job(asked.id)).state == "done" and job)
    report = ledger.report(asked.id)
    assert why in report.missing
    assert "no curves" in report.missing
    assert ("Choose the data set when you upload" in report.missing) == (not dataset)
    assert report.curves == {}
    assert report.equivalence < 1e-9
    linear = [layer.name for layer in report.layers if layer.kind == "linear"]
    assert linear == ["layers.0", "layers.2", "layers.4", "layers.6"]
    assert [facts.images for facts in report.units if facts.kind == "linear"] == [0, 0, 0]  # for pictures of all units
    assert report.units[0].partner.tolist() == report.permutation["layers.0"].tolist()


def test_images_that_are_not_those_of_the_question_are_refused(ledger, dispatch):
    dispatch(ledger)
    asked = merge_request(data_sha256=hashlib.sha256(b"other images").hexdigest())
    ledger.submit(asked, "ann")
    job = until(lambda: (job := ledger.job(asked.id)).state == "failed" and job)
    assert job.error["kind"] == "DataUnavailable"


def test_pictures_are_made_beside_a_long_job(ledger, dispatch):
    ledger.submit(long_request(), "ann")
    asked = pictures_request(0, 2)
    ledger.submit(asked, "bob")
    dispatch(ledger)
    until(lambda: ledger.job(asked.id).state == "done")
    assert [job.kind for job in ledger.jobs(states=("running",))] == ["train"]
    known = ledger.pictures(asked, [0, 1, 2])
    assert sorted(known) == [0, 2]
    picture = saving.load(known[2])
    assert picture.pixels.shape == (28, 28, 1)
    assert picture.how["unit"] == 2
    ledger.submit(pictures_request(999), "bob")
    job = until(lambda: (job := ledger.job(pictures_request(999).id)).state == "failed" and job)
    assert job.error["kind"] == "UnknownLayer"


def test_a_training_becomes_a_model_that_can_be_merged(ledger, dispatch):
    dispatch(ledger)
    asked = dataclasses.replace(long_request(), config={"widths": [8]}, epochs=1, name="Mine")
    ledger.submit(asked, "ann")
    until(lambda: (job := ledger.job(asked.id)).state == "done" or job.error)
    (model,) = ledger.models("ann")
    report = ledger.report(asked.id)
    assert (model.name, model.source, model.epochs, model.seed) == ("Mine", "trained", 1, 0)
    assert model.sha256 == report.checkpoint
    assert model.accuracy == report.accuracy > 0.3
    assert model.config["in_shape"] == [1, 28, 28]
    assert ModelRef.of(model).sha256 == hashlib.sha256(ledger.checkpoint(model.sha256)).hexdigest()


def test_a_download_that_fails_gives_its_reason_and_one_that_is_cancelled_stops(
    ledger, dispatch, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there: no network, wherever the test runs
    dispatch(ledger)
    failing, cancelled = DownloadRequest("mnist"), DownloadRequest("cifar-10")
    ledger.submit(failing, "ann")
    ledger.submit(cancelled, "bob")
    job = until(lambda: (job := ledger.job(failing.id)).state == "failed" and job)
    assert job.error["kind"] == "DataUnavailable"
    assert "MNIST could not be downloaded" in job.error["text"]
    until(lambda: ledger.job(cancelled.id).state == "running")
    ledger.cancel(cancelled.id, "bob")
    until(lambda: ledger.job(cancelled.id).state == "cancelled" and not downloads(), 120)


def downloads() -> list[str]:
    return [
        " ".join(p.info["cmdline"])
        for p in psutil.process_iter(["cmdline"])
        if "merging.jobs.worker.download" in (p.info["cmdline"] or ())
    ]


def test_two_dispatchers_share_a_ledger(ledger, dispatch):
    asked = [merge_request(seed, dataset="", data_sha256="") for seed in range(6)]
    for request in asked:
        ledger.submit(request, "ann")
    for _ in range(2):
        dispatch(ledger)
    until(lambda: len(ledger.jobs(states=("done",))) == len(asked), 120)
    assert {job.attempts for job in ledger.jobs()} == {1}


def test_helpers_of_ray_that_one_machine_does_not_need_are_ended(engine):
    words = {Path(word).name for process in processes("") for word in process.cmdline()}
    assert "raylet" in words and not words & set(UNUSED)
