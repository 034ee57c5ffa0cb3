"""What is kept of every point of a path: predictions are the networks' own, variances at the ends are the parents'."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.path.evaluation import log_probabilities
from merging.analysis.path.interpolation import curves
from merging.analysis.path.recorder import CHOSEN, PathRecorder
from merging.network.data import as_batches
from merging.network.graph.graph import export
from merging.results import saving
from merging.results.reports import PathPoints


def net(seed: int, classes: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, classes)).eval()


def recorded(a: nn.Module, b: nn.Module, labels: np.ndarray, points: int = 5) -> tuple[PathPoints, PathRecorder]:
    data = as_batches((np.random.default_rng(0).random((len(labels), 6), dtype=np.float32), labels))
    recorder = PathRecorder.of(export(a, data.example()), (a, b), data)
    assert recorder is not None
    by_split = curves(a, b, {"test": data}, points=points, visit=partial(recorder, "naive"))
    return recorder.points((a, b), by_split["test"].lambdas), recorder


def test_the_ends_are_the_parents():
    a, b = net(0), net(1)
    found, recorder = recorded(a, b, np.arange(120) % 4)
    for place, parent in ((0, a), (-1, b)):
        best = log_probabilities([parent], recorder.chosen)[0].exp().topk(3, dim=1)
        np.testing.assert_array_equal(found.guess["naive"][place], best.indices)
        np.testing.assert_allclose(found.probability["naive"][place], best.values, atol=1e-6)
    np.testing.assert_allclose(found.variance["naive"][[0, -1]], 1, atol=1e-5)
    assert found.guess["naive"].shape == (5, CHOSEN, 3) and found.variance["naive"].shape == (5, len(found.layers))
    assert (np.diff(found.probability["naive"], axis=2) <= 0).all()
    np.testing.assert_array_equal(found.labels, found.images % 4)


def test_images_of_every_class_that_both_parents_get_right_come_first():
    a = net(0)
    data = np.random.default_rng(0).random((60, 6), dtype=np.float32)
    labels = a(torch.from_numpy(data)).argmax(1).numpy()
    wrong = labels.copy()
    wrong[:30] = (wrong[:30] + 1) % 4  # the first thirty are right by nobody
    batches = as_batches((data, wrong))
    recorder = PathRecorder.of(export(a, batches.example()), (a, a), batches)
    assert recorder is not None
    assert (recorder.numbers >= 30).all() and len(recorder.numbers) == CHOSEN
    firsts = {int(np.flatnonzero((wrong == label) & (np.arange(60) >= 30))[0]) for label in set(wrong[30:].tolist())}
    assert firsts <= set(recorder.numbers.tolist())


def test_fewer_images_or_classes_than_are_kept_are_no_error():
    found, _ = recorded(net(0, classes=2), net(1, classes=2), np.arange(4) % 2)
    assert found.guess["naive"].shape == (5, 4, 2)


def test_layers_that_do_not_vary_have_no_variance():
    dead = net(0)
    with torch.no_grad():
        dead[0].weight.zero_()
    found, _ = recorded(dead, dead, np.arange(40) % 4)
    assert np.isnan(found.variance["naive"]).all()


def test_a_path_keeps_less_than_200_kilobytes():
    points = PathPoints(
        images=np.arange(10), labels=np.arange(10),
        guess=dict.fromkeys("abc", np.random.default_rng(0).integers(0, 1000, (25, 10, 3), dtype=np.int32)),
        probability=dict.fromkeys("abc", np.random.default_rng(0).random((25, 10, 3), dtype=np.float32)),
        layers=tuple(f"layer4.{number}.conv" for number in range(300)),
        variance=dict.fromkeys("abc", np.random.default_rng(0).random((25, 300), dtype=np.float32)), count=100,
    )  # fmt: skip
    assert len(saving.save(points)) <= 200_000


def test_labels_per_position_have_no_single_predictions():
    data = as_batches((np.zeros((8, 5), np.int64), np.zeros((8, 5), np.int64)))
    assert PathRecorder.of(None, (), data) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_bytes_again(seed):
    one, other = (saving.save(recorded(net(seed), net(seed + 1), np.arange(40) % 4)[0]) for _ in range(2))
    assert one == other
