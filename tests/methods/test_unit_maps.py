"""Where units are made and where they are used: a map on the one side and its inverse on the other change nothing."""

import copy

import pytest
import torch
from torch import nn

from merging.methods.algorithms.unit_maps import from_permutation, mapped, one_to_one
from merging.methods.problem import UnitMap
from merging.network.permutation import permute
from merging.network.tracing.tracer import trace
from tests.nets.nets import NETS


def straightened(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The net with every nonlinearity and norm taken out, so that any invertible map of units keeps its function."""
    net, example = NETS[name]()
    net = copy.deepcopy(net).double()
    for path, module in list(net.named_modules()):
        if isinstance(module, (nn.ReLU, nn.BatchNorm2d, nn.MaxPool2d, nn.GELU)):
            parent, _, own = path.rpartition(".")
            flat = nn.AvgPool2d(module.kernel_size) if isinstance(module, nn.MaxPool2d) else nn.Identity()
            setattr(net.get_submodule(parent), own, flat)
    return net, example.double()


def random_map(size: int, seed: int) -> UnitMap:
    rng = torch.Generator().manual_seed(seed)
    make = torch.eye(size, dtype=torch.float64) + 0.3 * torch.randn(size, size, generator=rng, dtype=torch.float64)
    return UnitMap(make, make.inverse())


class Beside(nn.Module):
    """Two convolutions side by side: what follows uses both at offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 5, 1)
        self.head = nn.Linear(9 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.a(x), self.b(x)], 1).flatten(1))


class Transposed(nn.Module):
    """A weight used as x @ W and by a transposed copy."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Parameter(torch.randn(5, 4))
        self.third = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nk,ck->nc", self.first(x) @ self.second, self.third) + self.third.t().sum(0)


def linear_net(name: str) -> tuple[nn.Module, torch.Tensor]:
    if name == "beside":
        return Beside().double(), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    return straightened(name)


KEPT = ("mlp", "cnn", "cnn-batch", "pool-average", "pool-upsample", "residual-batch", "residual-pad", "residual-cat")


@pytest.mark.parametrize("name", [*KEPT, "used-twice", "beside"])
def test_an_invertible_map_of_every_group_keeps_a_linear_nets_function(name: str) -> None:
    net, example = linear_net(name)
    spec = trace(net, example)
    assert spec.groups
    assert all(group.linear for group in spec.groups)
    maps = {group.name: random_map(group.size, seed) for seed, group in enumerate(spec.groups)}
    moved = mapped(net, spec, net, spec.identity(), maps)
    with torch.no_grad():
        assert torch.allclose(moved(example), net(example), rtol=1e-8, atol=1e-8)
    assert any(not torch.allclose(a, b) for a, b in zip(moved.parameters(), net.parameters(), strict=True))


def test_contracted_sides_are_used_whatever_operator_contracts_them() -> None:
    net = Transposed()
    axes = {(a.parameter, a.dim): a.used for group in trace(net, torch.randn(2, 6)).groups for a in group.axes}
    assert axes[("first.weight", 0)] is False
    assert axes[("second", 0)] is True
    assert axes[("second", 1)] is False
    assert axes[("third", 1)] is True


@pytest.mark.parametrize("name", ["depthwise", "grouped", "transformer"])
def test_units_that_only_permute_are_known(name: str) -> None:
    """A depthwise channel is made and used by one axis; heads and what is inside them cut one stretch in two ways."""
    spec = trace(*NETS[name]())
    bound = {group.name for group in spec.groups if not group.linear}
    expected = {"depthwise": "wide", "grouped": "stem[0:2]", "transformer": "attention.qkv"}[name]
    assert any(expected in group for group in bound)
    assert any(group.linear for group in spec.groups) or name == "grouped"


@pytest.mark.parametrize("name", ["mlp", "cnn-batch", "residual-pad", "concatenated"])
def test_a_permutation_as_a_map_is_that_permutation(name: str) -> None:
    net, example = NETS[name]()
    spec = trace(net, example)
    order = spec.random(3)
    maps = {group: from_permutation(p) for group, p in order.items()}
    moved, expected = mapped(net, spec, net, spec.identity(), maps), permute(net, spec, order)
    assert all(
        torch.equal(a, b) for a, b in zip(moved.state_dict().values(), expected.state_dict().values(), strict=True)
    )
    assert all(torch.equal(one_to_one(maps[group].make), p) for group, p in order.items())


def test_variances_stay_positive_under_maps_with_negative_entries() -> None:
    net, example = NETS["cnn-batch"]()
    spec = trace(net, example)
    maps = {group.name: random_map(group.size, 7) for group in spec.groups}
    moved = mapped(net, spec, net, spec.identity(), maps)
    assert all((t > 0).all() for name, t in moved.state_dict().items() if name.endswith("running_var"))
    assert torch.isfinite(moved(example)).all()
