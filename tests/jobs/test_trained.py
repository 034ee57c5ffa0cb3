"""What is told of a network that was trained here."""

from __future__ import annotations

import shlex

import pytest

from merging.cli.main import parser
from merging.cli.options import read_config, read_pairs, read_texts
from merging.errors import InvalidSetting
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.train import TrainRequest
from merging.jobs.trained import train_command
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.training.options import TrainingOptions
from tests.jobs.making import DATA


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("mlp", {"widths": [64], "in_shape": [1, 28, 28], "classes": 10}),
        ("cnn", {"widths": [32, 64], "norm": "batch", "in_shape": [1, 28, 28], "classes": 10}),
    ],
)
def test_the_command_trains_the_same(architecture, config):
    asked = TrainRequest(architecture, config, DATA, fingerprint(DATA, None), epochs=3, seed=4)
    words = shlex.split(train_command(asked))
    assert words[:3] == ["python", "-m", "merging"]
    options = parser().parse_args(words[3:])
    assert (options.architecture, options.data, options.epochs, options.seed) == (architecture, DATA, 3, 4)
    assert read_config(options.config) == config


def test_the_command_names_the_settings_that_differ():
    chosen = {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9, "split": "80-20", "part": 1}
    config = {"widths": [64], "in_shape": [1, 28, 28], "classes": 10}
    asked = TrainRequest("mlp", config, DATA, fingerprint(DATA, None), settings=chosen)
    assert asked.settings == {"optimiser": "sgd", "lr": 0.1, "split": "80-20", "part": 1}  # momentum .9 is the default
    assert from_json(asked.to_json()) == asked
    options = parser().parse_args(shlex.split(train_command(asked))[3:])
    assert read_texts(TrainingOptions, read_pairs(options.set, "--set")) == asked.settings


def test_settings_are_part_of_the_id_and_checked_when_asked():
    asked = [
        TrainRequest("mlp", {"widths": [64]}, DATA, fingerprint(DATA, None), settings=settings)
        for settings in ({}, {"lr": 0.003}, {"lr": 0.1})
    ]
    assert asked[0].id == asked[1].id != asked[2].id
    for wrong, words in (({"lr": -1.0}, "lr is -1"), ({"learning_rate": 1.0}, "no setting 'learning_rate'")):
        with pytest.raises(InvalidSetting, match=words):
            TrainRequest("mlp", {"widths": [64]}, DATA, fingerprint(DATA, None), settings=wrong)
