"""SLERP: lengths on the arc, its limits, and several models one after another."""

import pytest
import torch

from merging.methods.combine.slerp import arc_point, slerp
from merging.network.permutation import named_tensors
from merging.settings import NoSettings
from tests.nets.pairs import make, problem


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
def test_unit_vectors_stay_unit_vectors_and_turn_evenly(t: float) -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    point = arc_point(a, b, t)
    assert float(point.norm()) == pytest.approx(1)
    assert float(point[1].asin()) == pytest.approx(t * torch.pi / 2, abs=1e-6)


def test_parallel_opposite_and_zero_tensors_are_joined_by_the_straight_line() -> None:
    a = torch.tensor([[1.0, 2.0]])
    assert torch.allclose(arc_point(a, 3 * a, 0.5), 2 * a)
    assert torch.allclose(arc_point(a, -a, 0.25), 0.5 * a)
    assert torch.allclose(arc_point(torch.zeros(1, 2), a, 0.5), 0.5 * a)


def test_the_middle_of_two_nets_is_longer_than_their_average_and_buffers_are_averaged() -> None:
    pair = (make("residual", 0), make("residual", 1))
    middle = slerp(problem("residual", pair), NoSettings())((0.5, 0.5))
    a, b = (named_tensors(net) for net in pair)
    assert float(middle["0.weight"].norm()) > float((0.5 * (a["0.weight"] + b["0.weight"])).norm()) * 1.2
    assert torch.allclose(middle["1.running_var"], 0.5 * (a["1.running_var"] + b["1.running_var"]))


def test_several_models_join_one_after_another() -> None:
    nets = tuple(make("mlp", seed) for seed in range(3))
    got = slerp(problem("mlp", nets), NoSettings())((0.2, 0.3, 0.5))
    first, second, third = (named_tensors(net)["1.weight"] for net in nets)
    assert torch.allclose(got["1.weight"], arc_point(arc_point(first, second, 0.6), third, 0.5))
    alone = slerp(problem("mlp", nets), NoSettings())((0.0, 1.0, 0.0))
    assert torch.equal(alone["1.weight"], second)
