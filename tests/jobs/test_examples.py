"""The runs that come with the program are those of this version, whole, small, and found without a worker."""

from __future__ import annotations

import hashlib
import json

import pytest

from merging.jobs import examples
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.shipped_runs import RUNS, ShippedRuns
from merging.jobs.requests.registry import from_json
from merging.results import reports
from merging.results.zip_report import ZipReport
from merging.studies.registry import load_finding

LARGEST = 100_000_000  # bytes
ASSETS = RUNS.parent


def requests():
    return [from_json(json.dumps(entry["request"])) for entry in ShippedRuns().entries.values()]


def test_there_is_an_example_of_every_preset_as_the_form_asks_for_it():
    shipped = ShippedRuns().entries
    for key, request in {**examples.merges(), "heads": examples.heads().request}.items():
        assert request.id in shipped, f"{key}: make the examples again"


def test_their_ids_are_those_of_this_version():
    assert sorted(request.id for request in requests()) == sorted(ShippedRuns().entries)


@pytest.mark.parametrize("request_", requests(), ids=lambda request: request.title)
def test_an_example_is_whole(request_, tmp_path):
    ledger = Ledger(tmp_path)
    job = ledger.submit(request_, "ann")
    assert (job.state, job.example, job.open) == ("done", True, False)
    assert ledger.jobs() == ()  # it is nobody's
    assert job.stages
    assert ledger.job(request_.id[:8]).id == request_.id
    made = ledger.artifacts(request_.id)
    shipped = {name: ledger.artifact(request_.id, name) for name in made}
    assert any(shipped.values())
    for name, data in shipped.items():
        assert data is None or (hashlib.sha256(data).hexdigest(), len(data)) == made[name]
    if request_.kind == "merge":
        report = ledger.report(request_.id)
        assert report.format == reports.FORMAT
        assert report.request == json.loads(request_.to_json())
        assert {"naive", "aligned"} <= set(report.curves)
        assert report.curves["naive"]["test"].images == examples.IMAGES
    elif request_.kind == "study":
        assert load_finding(shipped["finding"]) is not None
    elif request_.kind == "zip":
        assert isinstance(ledger.report(request_.id), ZipReport)
    elif request_.kind == "sweep":
        rows = ledger.report(request_.id).rows
        assert {row.state for row in rows} == {"done"} and len(rows) == 30
    else:
        known = ledger.pictures(request_, request_.units)
        assert sorted(known) == list(request_.units)


def test_all_that_is_shipped_is_small():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= LARGEST


def test_what_was_not_shipped_can_be_made_by_asking_again(tmp_path):
    ledger, request = Ledger(tmp_path), examples.merges()["mlps"]
    name = "aligned.safetensors"
    assert name in ledger.artifacts(request.id)
    assert ledger.artifact(request.id, name) is None
    assert ledger.submit(request, "ann", again=True).state == "queued"
    assert ledger.report(request.id) is not None  # the shipped report is still shown meanwhile
    ledger.cancel(request.id, "ann")
    assert ledger.job(request.id).example  # a run that came to nothing does not hide it
    assert ledger.submit(request, "ann").state == "done"


def test_a_damaged_example_is_refused(tmp_path):
    source = next(path for path in sorted(RUNS.glob("*/job.json")))
    folder = tmp_path / source.parent.name
    folder.mkdir()
    entry = json.loads(source.read_text("utf-8"))
    name = next(iter(entry["artifacts"]))
    (folder / "job.json").write_text(json.dumps(entry), "utf-8")
    (folder / name).write_bytes(b"not what was made")
    with pytest.raises(Exception, match="damaged"):
        ShippedRuns(tmp_path).artifact(folder.name, name)
