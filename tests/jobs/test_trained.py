"""What is told of a network that was trained here."""

from __future__ import annotations

import shlex

import pytest

from merging.cli.main import parser
from merging.cli.options import read_config
from merging.jobs.requests.train import TrainRequest
from merging.jobs.trained import train_command
from merging.zoo.datasets.fingerprint import fingerprint
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
