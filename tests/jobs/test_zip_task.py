"""A partial zip as a job: what it measures, how it is asked for, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from merging.errors import InvalidRequest, InvalidSetting
from merging.figures.heads import heads_figure
from merging.jobs.examples import HEADS
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.tasks.run import run_task
from merging.jobs.worker.gather import gather_payload
from merging.progress import no_progress
from merging.results import saving
from merging.results.zip_report import ZipReport
from merging.text.verdicts.zip import CLOSE, zip_headline, zip_verdict
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint
from tests.figures.made import alt_text, validated
from tests.jobs.making import DATA


def asked(*ids: str, **other) -> ZipRequest:
    models = tuple(ModelRef.of(catalogue.find_entry(id)) for id in ids or HEADS)
    return ZipRequest(models, DATA, fingerprint(DATA, 300), images=300, **other)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> ZipReport:
    payload = gather_payload(Ledger(tmp_path_factory.mktemp("zip")), asked(), "cpu", 0)
    made = run_task("zip", payload)
    assert made == {"report": made["report"]}
    again = saving.load(run_task("zip", payload, no_progress)["report"])
    first = saving.load(made["report"])
    assert saving.to_json(replace(again, seconds={})) == saving.to_json(replace(first, seconds={}))
    return first


def test_the_trunk_ends_at_every_layer_of_its_own_weights_and_the_deeper_the_smaller(found):
    assert found.layers == ("features.2", "features.5", "pool")
    assert found.heads.shape == (2, 3) and found.joint.shape == (3,)
    assert (np.diff(found.share) < 0).all() and 0.5 < found.share[-1] < found.share[0] < 1
    assert found.notes["images"] == 300 and "tried" not in found.notes


def test_networks_that_were_trained_apart_pay_for_sharing(found):
    assert (found.alone > 0.85).all() and (found.heads[:, -1] < found.alone).all()
    assert (found.heads[:, -1] > 0.2 + 0.2).all()  # chance among five classes is .2


def test_a_network_shares_everything_with_itself(tmp_path):
    """Two copies of one net: no head loses anything, however deep the trunk. Their classes are alike, so there is no
    joint answer."""
    request = asked("fashion-small-s0", "fashion-small-s0")
    report = saving.load(run_task("zip", gather_payload(Ledger(tmp_path), request, "cpu", 0))["report"])
    np.testing.assert_allclose(report.heads, np.repeat(report.alone[:, None], 3, 1), atol=1 / 300)
    assert np.isnan(report.beside) and np.isnan(report.joint).all()
    assert zip_headline(report).startswith(
        "The networks can share one trunk up to pool, the last layer at which a trunk may end: no head"
    )
    assert "all classes at once" not in zip_verdict(report)


def test_networks_with_five_and_with_ten_outputs_share_a_trunk(tmp_path):
    request = asked("fashion-head-low", "fashion-small-s0")
    report = saving.load(run_task("zip", gather_payload(Ledger(tmp_path), request, "cpu", 0))["report"])
    assert report.heads.shape == (2, 3) and report.counts[0] < report.counts[1] == 300
    assert (report.heads[:, 0] > 0.5).all()  # chance is .2 and .1
    assert np.isnan(report.beside)  # the second knows the first one's classes, too


def test_the_sentences_and_the_figure_say_what_was_measured(found):
    figure = validated(heads_figure(found))
    assert [trace.name for trace in figure.data[:3]] == ["A's head", "B's head", "all heads together"]
    np.testing.assert_allclose(figure.data[0].y, 100 * found.heads[0])
    assert "A alone" in alt_text(figure) and "pool" in zip_verdict(found)
    kept = replace(found, heads=np.array([[0.9, 0.9, 0.5], [0.9, 0.8, 0.8]]), alone=np.array([0.91, 0.91]))
    assert kept.deepest(CLOSE) == 0 and zip_headline(kept).endswith("A trunk up to features.5 costs up to 11.0 pp.")
    lost = replace(kept, alone=np.array([0.95, 0.91]))
    assert lost.deepest(CLOSE) is None and zip_headline(lost).startswith(
        "Sharing only the first layers (up to features.2) lowers"
    )


def test_a_request_is_its_words_and_back(found):
    request = asked(settings={"alpha": 0.5})
    assert from_json(request.to_json()) == request
    assert request.id != asked().id == asked(settings={"choose": False}).id
    with pytest.raises(InvalidRequest, match="no common loss"):
        asked(settings={"choose": True})
    assert found.request == saving.load(saving.save(found)).request


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (("fashion-head-low",), "2 to 32 networks"),
        (("fashion-head-low", "fashion-mlp-512-s0"), "networks of the same structure"),
    ],
)
def test_what_cannot_share_a_trunk_is_said(ids, words):
    with pytest.raises(InvalidRequest, match=words):
        asked(*ids)


def test_what_is_missing_is_said():
    request = asked()
    low, high = request.models
    with pytest.raises(InvalidRequest, match="The classes of mine are not named"):
        replace(request, models=(low, replace(high, name="mine", classes=())))
    with pytest.raises(InvalidRequest, match="a different mean or std"):
        replace(request, models=(low, replace(high, mean=(0.5,))))
    with pytest.raises(InvalidRequest, match="not on this machine"):
        replace(request, data_sha256="")
    with pytest.raises(InvalidSetting, match="alpha"):
        asked(settings={"alpha": 7.0})
