"""What every study promises: it declares itself, its result is saved and loaded, the same seed gives the same bytes."""

from dataclasses import replace

import pytest

from merging.errors import DataUnavailable, InvalidSetting
from merging.jobs.sweeps.measures import study_numbers
from merging.results import saving
from merging.results.sweep_report import NAIVE
from merging.settings import read_settings, settings_dict
from merging.studies.registry import Subject, find_study, load_finding, studies
from tests.nets.pairs import same, tensors_of
from tests.studies.subjects import learned, merged

QUICK = {
    "ablation": {"images": 100},
    "aligners": {"images": 100},
    "along": {"points": 3, "images": 100},
    "evidence": {"units": 2, "layers": 1, "steps": 16},
    "film": {"points": 3, "steps": 16, "layer": "0"},
    "lab": {"images": 200, "classes": 2},
    "landscape": {"resolution": 5, "images": 100},
    "layer": {"images": 100},
    "nonlinearities": {"reach": 3.0},
    "reliability": {"images": 200, "draws": 20},
    "similarity": {"images": 100},
    "units": {"steps": 16, "layer": "0", "negative": False},
    "why": {"images": 100, "orders": 2},
}


def subject_of(key: str) -> Subject:
    """Networks that the study has something to say of."""
    if key == "nonlinearities":
        return learned()
    return merged("mlp" if key == "aligners" else "cnn")  # it merges four times, and a small network is read faster


def test_every_study_is_tried_here():
    assert list(QUICK) == list(studies())


@pytest.mark.parametrize("key", QUICK)
def test_a_study_declares_itself(key):
    asked = find_study(key)
    assert asked.label and asked.source
    assert asked.summary.endswith(".")
    assert settings_dict(asked.settings())
    assert asked.run.__doc__
    assert asked.numbers, "a sweep draws at least one number of every study"


@pytest.mark.parametrize("key", QUICK)
def test_the_same_seed_gives_the_same_bytes_and_leaves_the_networks_alone(key):
    asked, subject = find_study(key), subject_of(key)
    before = {name: tensors_of(net) for name, net in subject.nets.items()}
    told = []
    subject = replace(subject, report=lambda stage, fraction=None, message="": told.append((stage, fraction)))
    settings = read_settings(asked.settings, QUICK[key])
    first, second = (saving.save(asked.run(subject, settings)) for _ in range(2))
    assert first == second
    assert saving.save(load_finding(first)) == first
    declared = {f"{key}.{name}" for name in asked.numbers}
    assert {name.removeprefix(NAIVE) for name in study_numbers(key, load_finding(first))} == declared
    assert all(same(before[name], tensors_of(net)) for name, net in subject.nets.items())
    assert not any(p.grad is not None for net in subject.nets.values() for p in net.parameters())
    assert told and all(stage == "studying" and 0 <= (fraction or 0) <= 1 for stage, fraction in told)


@pytest.mark.parametrize("key", [key for key, asked in studies().items() if asked.needs_data])
def test_a_study_without_images_says_what_is_missing(key):
    asked = find_study(key)
    with pytest.raises(DataUnavailable, match="images"):
        asked.run(replace(subject_of(key), data={}), read_settings(asked.settings, QUICK[key]))


def test_an_unknown_study_lists_the_known_ones():
    with pytest.raises(InvalidSetting, match="landscape"):
        find_study("landscapes")
