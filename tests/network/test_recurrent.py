"""Recurrent networks: what moves with a hidden unit, planted permutations, trained pairs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from merging.analysis.path.interpolation import interpolate
from merging.methods.algorithms.gradient_training import Forward as Learned
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import permute, with_tensors
from merging.network.tracing.tracer import coverage, trace, trace_graph
from merging.pipeline.merge import merge, prepare
from tests.nets.nets_recurrent import RECURRENT, STEPS
from tests.nets.pairs import same, tensors_of

LENGTH, WIDTH = 4, 12


def axes(name: str) -> dict[str, list[tuple[int, int, bool]]]:
    """Tensor -> (dimension, offset, whether units are used there) of every axis of the first group."""
    group = trace(*RECURRENT[name][0]()).groups[0]
    found: dict[str, list[tuple[int, int, bool]]] = {}
    for axis in group.axes:
        found.setdefault(axis.parameter, []).append((axis.dim, axis.offset, axis.used))
    return found


@pytest.mark.parametrize("name, gates", [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_a_hidden_unit_is_a_row_of_every_gate_and_a_column_of_what_reads_it(name: str, gates: int):
    rows = [(0, 5 * gate, False) for gate in range(gates)]
    assert axes(name) == {
        "layer.weight_ih_l0": rows,
        "layer.weight_hh_l0": [*rows, (1, 0, True)],
        "layer.bias_ih_l0": rows,
        "layer.bias_hh_l0": rows,
        "head.weight": [(1, 0, True)],
    }


def test_both_directions_are_read_side_by_side():
    spec = trace(*RECURRENT["gru-both"][0]())
    first = {group.name: group for group in spec.groups}
    assert [*first][:2] == ["layer[0:5]", "layer[5:10]"]
    read = [(axis.offset, group.name) for axis, group in spec.by_parameter["head.weight"]]
    assert read == [(0, "layer[0:5]"), (5, "layer[5:10]")]
    below = {axis.offset: group.name for axis, group in spec.by_parameter["layer.weight_ih_l1"] if axis.dim == 1}
    assert below == {0: "layer.weight_ih_l0", 5: "layer.weight_ih_l0_reverse"}


def test_the_outputs_are_a_layer_and_its_hidden_units_are_counted():
    graph = export(*RECURRENT["after-convolutions"][0]())
    layers = {layer.name: (layer.kind, layer.units, layer.positions) for layer in graph.layers}
    assert layers["first"] == ("recurrent", 10, (STEPS,))
    assert layers["second"] == ("recurrent", 3, (STEPS,))
    assert coverage(graph, trace_graph(graph)) == (19, 19)


@pytest.mark.parametrize(
    "name, align",
    [
        ("rnn", "weight-matching"),
        ("gru-both", "weight-matching"),
        ("lstm-both", "activation-matching"),
        ("sequence-to-sequence", "weight-matching"),
        ("gru-cell", "straight-through"),
    ],
)
def test_a_planted_permutation_is_recovered(name: str, align: str):
    net, example = RECURRENT[name][0]()
    spec = trace(net, example)
    images = torch.randn(60, *example.shape[1:], generator=torch.Generator().manual_seed(1))
    data = Batches(images, torch.zeros(60, dtype=torch.int64), size=20)
    prepared = prepare([net, permute(net, spec, spec.random(3))], align=align, data=data)
    assert prepared.notes["equivalence"] < 1e-12
    assert same(tensors_of(prepared.combine((0.5, 0.5))), tensors_of(net))


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_transport_by_weights_recovers_a_planted_permutation(name: str):
    """Weights from the layer to itself are left out: B's order of the units is not known yet on either side."""
    net, example = RECURRENT[name][0]()
    spec = trace(net, example)
    twin = permute(net, spec, spec.random(3))
    prepared = prepare(
        [net, twin], align="optimal-transport", example=example, settings={"align": {"ground": "weights"}}
    )
    assert same(tensors_of(prepared.combine((0.5, 0.5))), tensors_of(net))


@pytest.mark.parametrize("name", ["gru-both", "lstm"])
def test_a_copy_runs_on_the_weights_that_it_was_given(name: str):
    """nn.RNN and its kin keep a second list of their weights, which must not be the old ones."""
    net, example = RECURRENT[name][0]()
    other = {key: tensor + 0.1 for key, tensor in tensors_of(net).items()}
    moved, learned = with_tensors(net, other), Learned(net)
    assert not torch.allclose(moved(example), net(example))
    torch.testing.assert_close(learned(other, example), moved(example))


class Counter(nn.Module):
    """A recurrent layer that says which of two tokens came more often."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.head = getattr(nn, kind)(2, WIDTH, batch_first=True), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


def sequences(count: int, seed: int) -> Batches:
    """Rows of one-hot tokens, the first one given twice, so that there is no draw, and the more frequent one."""
    tokens = torch.randint(2, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    tokens = torch.cat([tokens[:, :1], tokens], 1)
    return Batches(torch.eye(2)[tokens], (tokens.sum(1) > LENGTH / 2).long(), size=64)


def trained(kind: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = Counter(kind)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for images, labels in _epochs(sequences(512, 0), 6):
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net.eval()


def _epochs(data: Batches, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(count):
        yield from data


def test_trained_pairs_are_nearer_after_matching():
    pair, test = [trained("GRU", 0), trained("GRU", 1)], sequences(256, 9)
    naive, aligned = (
        interpolate(*merge(pair, align=key, data=sequences(512, 0)).aligned, test, points=3)
        for key in ("none", "weight-matching")
    )
    assert min(naive.accuracy[0], naive.accuracy[-1]) > 0.95
    assert aligned.loss[1] < naive.loss[1] - 0.1
