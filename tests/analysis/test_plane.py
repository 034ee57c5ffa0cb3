import numpy as np
import pytest
import torch

from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.plane import Axes, surface
from merging.errors import IncompatibleModels, InvalidSetting
from merging.network.permutation import named_tensors, with_tensors
from tests.nets.pairs import blobs, make, same, tensors_of, trained


@pytest.fixture(scope="module")
def mlps():
    """Trained when a test asks: every process of a parallel run imports this file."""
    return [trained("mlp", seed) for seed in range(3)]


def test_the_corners_are_the_checkpoints(mlps):
    axes, found = surface(mlps, blobs(200), resolution=7, refine=False)
    for (x, y), net in zip(axes.corners, mlps, strict=True):
        row, column = (int(np.flatnonzero(places == at)[0]) for places, at in ((found.y, y), (found.x, x)))
        measured = evaluate(net, blobs(200))
        assert (found.loss[row, column], found.accuracy[row, column]) == (measured.loss, measured.accuracy)
        scratch = with_tensors(mlps[0], {})
        axes.fill(scratch, x, y)
        assert same(tensors_of(scratch), tensors_of(net))


def test_the_axes_are_orthonormal_in_weight_distance(mlps):
    axes = Axes.through(mlps)
    places = np.array([axes.place(named_tensors(net)) for net in mlps])
    np.testing.assert_allclose(places[:, :2], axes.corners, atol=1e-4)
    np.testing.assert_allclose(places[:, 2], 0, atol=1e-2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pairs = zip(mlps[i].parameters(), mlps[j].parameters(), strict=True)
        distance = sum(float((p - q).detach().double().square().sum()) for p, q in pairs) ** 0.5
        assert np.linalg.norm(axes.corners[i] - axes.corners[j]) == pytest.approx(distance, rel=1e-6)


def test_a_network_off_the_plane_tells_how_far(mlps):
    axes = Axes.through(mlps)
    x, y, off = axes.place(named_tensors(make("mlp", 9)))
    assert off > 1
    scratch = with_tensors(mlps[0], {})
    axes.fill(scratch, x, y)
    assert axes.place(named_tensors(scratch)) == pytest.approx((x, y, 0), abs=1e-2)


def test_refining_measures_what_differs_and_fills_in_what_does_not(mlps):
    """Three networks so near to each other that most of their plane is flat."""
    steps = [{}, {"5.bias": 6 * torch.eye(5)[0]}, {"3.bias": 0.01 * torch.ones(20)}]
    nets = [with_tensors(mlps[0], {n: named_tensors(mlps[0])[n] + d for n, d in step.items()}) for step in steps]
    _, whole = surface(nets, blobs(200), resolution=9, refine=False)
    _, refined = surface(nets, blobs(200), resolution=9)
    assert whole.measured.all()
    assert refined.measured[::2, ::2].all() and not refined.measured.all()
    np.testing.assert_array_equal(refined.loss[refined.measured], whole.loss[refined.measured])
    assert np.abs(refined.accuracy - whole.accuracy).max() <= 0.05
    assert not np.isnan(refined.loss).any()


def test_batch_norms_variances_stay_above_zero_beyond_the_networks():
    axes, found = surface([trained("cnn", seed, 2) for seed in range(3)], blobs(100), resolution=5, refine=False)
    assert np.isfinite(found.loss).all()
    assert axes.lengths[1] > 0


def test_resetting_batch_norm_leaves_the_three_networks_as_they_are():
    nets = [trained("cnn", seed, 2) for seed in range(3)]
    axes, reset = surface(nets, blobs(100), resolution=5, refine=False, reset=blobs(300))
    _, plain = surface(nets, blobs(100), resolution=5, refine=False)
    corners = np.array([[(x, y) in {tuple(c) for c in axes.corners} for x in reset.x] for y in reset.y])
    assert corners.sum() == 3
    np.testing.assert_array_equal(reset.loss[corners], plain.loss[corners])
    assert (reset.loss[~corners] != plain.loss[~corners]).any()


def test_three_networks_on_a_line_have_no_plane(mlps):
    with pytest.raises(IncompatibleModels, match="one line"):
        Axes.through([mlps[0], mlps[1], mlps[1]])
    with pytest.raises(IncompatibleModels, match="one line"):
        Axes.through([mlps[0], mlps[0], mlps[1]])


@pytest.mark.parametrize("resolution", [3, 8])
def test_a_plane_has_a_middle(mlps, resolution):
    with pytest.raises(InvalidSetting, match="odd"):
        surface(mlps, blobs(100), resolution=resolution)


def test_a_point_that_is_no_number_is_measured_and_stays_none():
    from merging.analysis.path.plane import _measured
    from merging.results.reports import Metrics

    def measure(row: int, column: int) -> Metrics:
        return Metrics(float("nan") if (row, column) == (2, 2) else 1.0, 0.5, 0.0)

    found = _measured(np.arange(9.0), np.arange(9.0), measure, True, lambda *told: None)
    assert np.isnan(found.loss).sum() == 1
    assert found.measured[2, 2] and found.measured[1:4, 1:4].all()
    assert not found.measured[5, 5]
