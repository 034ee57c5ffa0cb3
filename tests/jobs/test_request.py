"""A request keeps its bounds, and its id says what is asked and nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys

import pytest

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.checks import check_architecture
from merging.jobs.requests.download import DownloadRequest
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.pictures import PicturesRequest
from merging.jobs.requests.registry import from_json, kinds
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.train import TrainRequest
from tests.jobs.making import long_request, merge_request, mlps, pictures_request
from ui.shell.screens import SCREENS

SEEDS = (-1, 2**31, 1.0, True, "1", None)


def every_kind():
    return merge_request(), pictures_request(1, 2), long_request(), DownloadRequest("cifar-10")


@pytest.mark.parametrize("request_", every_kind(), ids=lambda r: r.kind)
def test_json_gives_the_request_back(request_):
    back = from_json(request_.to_json())
    assert back == request_
    assert back.id == request_.id
    assert kinds()[request_.kind] is type(back)
    assert back.title == request_.title


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_ids_are_the_same_in_every_process(seed):
    program = (
        "import json, sys; from merging.jobs.requests.registry import from_json\n"
        "json.dump([from_json(text).id for text in json.load(sys.stdin)], sys.stdout)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([_shuffled(request_.to_json()) for request_ in every_kind()]),
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout) == [request_.id for request_ in every_kind()]


def _shuffled(text: str) -> str:
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(list(value))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    return json.dumps(turned(json.loads(text)), indent=3)


def test_a_name_is_no_part_of_the_question():
    a, b = mlps()
    renamed = dataclasses.replace(a, name="something else")
    assert merge_request(models=(a, b)).id == merge_request(models=(renamed, b)).id
    assert merge_request(models=(a, b)).id != merge_request(models=(b, a)).id


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"images": 101},
        {"points": 5},
        {"align": "none"},
        {"data_sha256": ""},
        {"settings": {"align": {"restarts": 6}}},
    ],
    ids=str,
)
def test_whatever_changes_the_result_changes_the_id(changed):
    assert merge_request(**changed).id != merge_request().id


def test_a_version_that_is_raised_changes_the_id(monkeypatch):
    before = merge_request().id
    monkeypatch.setattr(MergeRequest, "VERSION", MergeRequest.VERSION + 1)
    assert merge_request().id != before


def test_settings_that_say_the_default_are_the_same_question():
    assert merge_request(settings={"align": {"restarts": 5}}).id == merge_request().id
    assert merge_request().settings["align"]["restarts"] == 5


def test_a_picture_is_asked_for_once_and_in_order():
    assert pictures_request(3, 1, 3).units == (1, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_a_whole_number_in_its_bounds(seed):
    with pytest.raises(InvalidRequest, match="seed must be a whole number"):
        merge_request(seed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 2},
        {"points": 102},
        {"images": 99},
        {"images": 60_001},
        {"dataset": "imagenet"},
        {"data_sha256": "zz"},
    ],
    ids=str,
)
def test_a_merge_keeps_its_bounds(wrong):
    with pytest.raises(InvalidRequest):
        dataclasses.replace(merge_request(), **wrong)


@pytest.mark.parametrize(
    "wrong", [{"align": "magic"}, {"settings": {"align": {"restarts": 0}}}, {"settings": {"x": {}}}], ids=str
)
def test_methods_and_their_settings_are_checked_against_the_tables(wrong):
    with pytest.raises(InvalidSetting):
        dataclasses.replace(merge_request(), **{"settings": {}, **wrong})


@pytest.mark.parametrize("units", [(), tuple(range(17)), (-1,), (1.5,), ("1",)], ids=str)
def test_units_keep_their_bounds(units):
    with pytest.raises(InvalidRequest):
        PicturesRequest(mlps()[0], "fc1", units)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"epochs": 51}, {"architecture": "gpt"}, {"config": {"widths": [10**6]}}], ids=str
)
def test_a_training_keeps_its_bounds(wrong):
    with pytest.raises(InvalidRequest):
        dataclasses.replace(long_request(), **wrong)


def test_only_networks_of_one_structure_can_be_asked_for():
    a, _ = mlps()
    other = dataclasses.replace(a, config={**a.config, "widths": [4]})
    with pytest.raises(InvalidRequest, match=r"Choose networks of the same structure\.$"):
        merge_request(models=(a, other))
    wider = dataclasses.replace(a, config={**a.config, "widths": [9, 9, 9]})
    with pytest.raises(InvalidRequest, match="Optimal transport accepts different widths"):
        merge_request(models=(a, wider))
    asked = merge_request(models=(a, wider), align="optimal-transport")
    assert asked.unequal and not merge_request().unequal
    assert from_json(asked.to_json()) == asked
    with pytest.raises(InvalidRequest, match="equal widths"):
        StudyRequest(asked, "why")
    with pytest.raises(InvalidRequest, match="the same structure"):
        merge_request(models=(a, wider, a), align="optimal-transport")
    with pytest.raises(InvalidRequest, match="the same structure"):
        merge_request(models=(a, wider), base=wider, align="optimal-transport", combine="ties")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "merge"}', '{"kind": "train", "x": 1}', '{"kind": 3}', "nul"]
)
def test_a_text_that_is_no_request_is_refused_in_words(text):
    with pytest.raises(InvalidRequest, match="This version of the program cannot read the request"):
        from_json(text)


def test_a_model_is_named_by_its_content_alone():
    a, _ = mlps()
    for wrong in ({"sha256": "../../etc/passwd"}, {"name": ""}, {"std": (0.0,)}, {"mean": (float("nan"),)}):
        with pytest.raises(InvalidRequest):
            ModelRef(**{**dataclasses.asdict(a), **wrong})


def test_requests_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        merge_request().seed = 2
    assert isinstance(long_request(), TrainRequest)


def test_torchvisions_networks_are_not_asked_about_grey_images():
    with pytest.raises(InvalidRequest, match="need colour images, but Fashion-MNIST has grey images"):
        TrainRequest("tv_resnet18", {"classes": 10}, "fashion-mnist", "a" * 64)


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: kind.kind)
def test_a_kind_declares_all_that_its_jobs_need(kind):
    assert kind.VERSION >= 1 and kind.plural and kind.deadline >= 1
    assert sum(share for _, share in kind.shares()) == pytest.approx(1)
    assert all(stage.words for stage in kind.stages)
    if kind.task:
        module, _, function = kind.task.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    assert not kind.page or kind.page in SCREENS


@pytest.mark.parametrize("shape", [[1, 8192, 8192], [3, 2000, 2000], [8192, 8192]])
def test_images_too_large_for_any_worker_are_refused(shape):
    with pytest.raises(InvalidRequest, match="numbers per image"):
        check_architecture("cnn", {"in_shape": shape, "widths": [4]})
    check_architecture("cnn", {"in_shape": [3, 1024, 1024], "widths": [4]})
