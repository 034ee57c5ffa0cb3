"""Networks that keep what they computed from their weights: refused where a later run reads it, else followed."""

import copy

import pytest
import torch
from torch import Tensor, nn

from merging.errors import UnsupportedOperation
from merging.network.graph.graph import export


class Cached(nn.Module):
    """A linear layer with a table that is turned into biases once, in eval mode, as some attention layers do."""

    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self.layer, self.table = nn.Linear(4, 5), nn.Parameter(torch.linspace(-1, 1, 7))
        self.kept: dict[str, Tensor] = {}
        self.reads = reads

    def forward(self, x: Tensor) -> Tensor:
        if not (self.reads and self.kept):
            self.kept["biases"] = self.table[torch.tensor([0, 3, 3, 6, 1])]
        return self.layer(x) + self.kept["biases"]


EXAMPLE = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


def test_a_cache_that_a_later_run_reads_is_refused_by_name():
    with pytest.raises(UnsupportedOperation, match=r"kept is computed in the first run and read in later ones"):
        export(Cached(reads=True).eval(), EXAMPLE)


def test_a_cache_of_a_run_before_is_refused_with_the_parameter_that_it_hides():
    net = Cached(reads=True).eval()
    with torch.no_grad():
        net(EXAMPLE)
    with pytest.raises(UnsupportedOperation, match=r"table is no longer read"):
        export(net, EXAMPLE)


def test_what_is_kept_and_written_anew_in_every_run_is_followed():
    net = Cached(reads=False).eval()
    with torch.no_grad():
        net(EXAMPLE)
    graph = export(copy.deepcopy(net), EXAMPLE)
    assert "table" in graph.sources.values()


class Plain(nn.Module):
    """A tensor that is no buffer, and a parameter that is read in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.auxiliary, self.scale = nn.Linear(4, 5), nn.Linear(5, 3), torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x * self.scale)


def test_constants_that_are_no_copies_of_weights_are_followed():
    graph = export(Plain().eval(), EXAMPLE)
    assert len(graph.constants) == 1
