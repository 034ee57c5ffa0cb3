"""The average: ends bit for bit, whole numbers whole, half precision summed with care."""

import copy

import pytest
import torch
from torch import nn

from merging.methods.combine.average import average
from merging.network.permutation import named_tensors
from merging.settings import NoSettings
from tests.nets.pairs import make, problem, same


def combined(a: nn.Module, b: nn.Module, weights: tuple[float, float]) -> dict[str, torch.Tensor]:
    return average(problem("cnn", (a, b)), NoSettings())(weights)


@pytest.mark.parametrize("end", [0, 1])
def test_an_end_is_the_checkpoint_bit_for_bit(end: int) -> None:
    pair = [make("cnn", 0), make("cnn", 1)]
    with torch.no_grad():
        pair[end][0].bias[:3] = torch.tensor([-0.0, 1e-42, 0.0])  # what a multiplication or a sum with 0 would lose
        pair[1 - end][0].weight.fill_(float("nan"))
    pair[1 - end][3].num_batches_tracked += 9
    got = combined(*pair, (1.0, 0.0) if end == 0 else (0.0, 1.0))
    assert same(got, named_tensors(pair[end]))
    assert all(got[name].data_ptr() != t.data_ptr() for name, t in named_tensors(pair[end]).items())


def test_the_middle_is_the_mean() -> None:
    a, b = make("cnn", 0), make("cnn", 1)
    got = combined(a, b, (0.25, 0.75))
    for name, tensor in named_tensors(a).items():
        if tensor.is_floating_point():
            assert torch.allclose(got[name], 0.25 * tensor + 0.75 * named_tensors(b)[name], atol=1e-7)


def test_the_middle_of_a_net_and_itself_is_the_net() -> None:
    a = make("cnn", 0)
    assert same(combined(a, copy.deepcopy(a), (0.5, 0.5)), named_tensors(a))


def test_whole_numbers_come_from_the_heaviest() -> None:
    a, b = make("cnn", 0), make("cnn", 1)
    a[3].num_batches_tracked.fill_(3)
    b[3].num_batches_tracked.fill_(8)
    counters = [int(combined(a, b, w)["3.num_batches_tracked"]) for w in ((0.5, 0.5), (0.4, 0.6), (0.6, 0.4))]
    assert counters == [3, 8, 3]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_and_rounded_once(kind: torch.dtype) -> None:
    a, b = make("cnn", 0).to(kind), make("cnn", 1).to(kind)
    got = combined(a, b, (0.3, 0.7))
    for name, p in a.named_parameters():
        exact = 0.3 * p.detach().double() + 0.7 * dict(b.named_parameters())[name].detach().double()
        assert got[name].dtype == kind
        off = (got[name] != exact.to(kind)).sum()  # float32 may fall on the other side of a rounding boundary
        assert off <= 0.01 * p.numel() + 1


def test_double_precision_is_not_lost() -> None:
    a, b = make("cnn", 0).double(), make("cnn", 1).double()
    got = combined(a, b, (0.3, 0.7))
    assert torch.allclose(got["8.weight"], 0.3 * a[8].weight + 0.7 * b[8].weight, rtol=1e-14, atol=1e-16)


def test_beyond_the_ends_is_allowed() -> None:
    a, b = make("mlp", 0), make("mlp", 1)
    got = average(problem("mlp", (a, b)), NoSettings())((1.5, -0.5))
    assert torch.allclose(got["1.weight"], 1.5 * a[1].weight - 0.5 * b[1].weight, atol=1e-6)
