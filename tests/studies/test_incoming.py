"""Correlation of incoming weights: each unit's own weights, along whatever dimension its layer makes units."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from merging.network.graph.graph import export
from merging.pipeline.models import spec_of
from merging.studies.layer import SLOTS, incoming, layer_of
from merging.studies.registry import Subject


class Product(nn.Module):
    """Weights (inputs, units): the second dimension makes the units."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, units)), nn.Parameter(torch.randn(units))
        self.end = nn.Linear(units, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(torch.relu(torch.addmm(self.bias, x, self.weight)))


class Transposed(nn.Module):
    """Weights (channels in, channels out, height, width)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.conv, self.end = nn.ConvTranspose2d(2, units, 3), nn.Linear(units, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(torch.relu(self.conv(x)).mean((2, 3)))


class Plain(nn.Module):
    """Weights (units, inputs)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.first, self.end = nn.Linear(6, units), nn.Linear(units, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(torch.relu(self.first(x)))


class Depthwise(nn.Module):
    """The second convolution's weights (units, 1, height, width) make and use the same units."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(2, units, 1), nn.Conv2d(units, units, 3, groups=units)
        self.end = nn.Linear(units, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(torch.relu(self.conv(torch.relu(self.first(x)))).mean((2, 3)))


@pytest.mark.parametrize("units", [6, 7])  # 6 units of 6 inputs: the wrong dimension has the right length
@pytest.mark.parametrize(
    ("kind", "layer", "weight", "dim", "shape"),
    [
        (Product, "", "weight", 1, (6,)),
        (Transposed, "", "conv.weight", 1, (2, 5, 5)),
        (Plain, "", "first.weight", 0, (6,)),
        (Depthwise, "conv", "conv.weight", 0, (2, 5, 5)),
    ],
)
def test_weights_are_compared_unit_by_unit(kind, layer, weight, dim, shape, units):
    torch.manual_seed(0)
    a, b = kind(units).eval(), kind(units).eval()
    graph = export(a, torch.randn(4, *shape))
    spec = spec_of(graph, a)
    nets = {"A": a, "B": b, "pi(B)": b, "merge": a, "naive": a, "average": a}
    subject = Subject(nets, graph, spec, {group.name: torch.arange(group.size) for group in spec.groups}, True, {})
    found = incoming(subject, layer_of(subject, layer)[0]).numpy()
    assert found.shape == (len(SLOTS), len(SLOTS), units)
    rows = [net.get_parameter(weight).detach().movedim(dim, 0).flatten(1).double().numpy() for net in (a, b)]
    expected = [np.corrcoef(rows[0][unit], rows[1][unit])[0, 1] for unit in range(units)]
    np.testing.assert_allclose(found[SLOTS.index("A"), SLOTS.index("pi(B)")], expected, atol=1e-5)
