import pytest
import torch
from torch import nn

from merging.analysis.activations.read import by_unit, flattened, groups_by_node, named_layers, pooled, walk_together
from merging.analysis.activations.receptive import receptive_shares
from merging.errors import UnknownLayer
from merging.network.graph.graph import Layer, export
from merging.network.graph.image_axes import ImageAxis
from merging.network.permutation import named_tensors
from merging.network.tracing.tracer import trace_graph


def place(dim: int, images: ImageAxis) -> Layer:
    return Layer("layer", "node", "linear", dim, 4, (5, 6), images)


def net(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * 9 * 9, 4)).eval()


@pytest.fixture(scope="module")
def graph():
    return export(net(), torch.rand(2, 1, 22, 22))


def test_a_value_reads_the_same_wherever_its_units_are():
    value = torch.randn(3, 4, 5, 6)
    plain, last = place(1, ImageAxis(0)), place(3, ImageAxis(0))
    assert by_unit(value, plain).shape == (3, 4, 30)
    assert torch.equal(by_unit(value, plain), by_unit(value.permute(0, 2, 3, 1), last))
    assert torch.equal(flattened(value, plain), value.flatten(1))
    assert torch.allclose(pooled(value.permute(0, 2, 3, 1), last), value.mean((2, 3)), atol=1e-6)
    assert torch.equal(pooled(value[:, :, 0, 0], plain), value[:, :, 0, 0])
    assert pooled(value.half(), plain).dtype == torch.float32


def test_a_value_reads_the_same_wherever_its_images_are():
    value = torch.randn(3, 4, 5, 6)  # images, units, and positions 5 x 6
    expected = value.flatten(2)
    by_position = value.permute(2, 0, 1, 3)
    assert torch.equal(by_unit(by_position, place(2, ImageAxis(1))), expected)
    windows = value.permute(0, 2, 3, 1).flatten(0, 1)  # (images x 5, 6, units)
    assert torch.equal(by_unit(windows, place(2, ImageAxis(0, 1, 5))), expected)
    tokens = value.permute(2, 0, 3, 1).flatten(0, 2)  # (5 x images x 6, units)
    assert torch.equal(by_unit(tokens, place(1, ImageAxis(0, 5, 6))), expected)
    assert torch.equal(flattened(tokens, place(1, ImageAxis(0, 5, 6))), value.flatten(1))
    assert torch.equal(by_unit(value[:, :, 0, 0].T, place(0, ImageAxis(1)))[:, :, 0], value[:, :, 0, 0])


def test_networks_walk_side_by_side(graph):
    nets, images = [net(0), net(1)], torch.rand(3, 1, 22, 22)
    wanted = named_layers(graph, ["0", "3"])
    found = {
        layer.name: [v.clone() for v in values]
        for layer, values in walk_together(graph, [named_tensors(n) for n in nets], images, wanted)
    }
    for number, model in enumerate(nets):
        assert torch.allclose(found["0"][number], model[0](images), atol=1e-6)  # before the in-place ReLU
        assert torch.allclose(found["3"][number], model[:4](images), atol=1e-6)


def test_layers_come_in_network_order_once(graph):
    assert [layer.name for layer in named_layers(graph, ["3", "0", "3"])] == ["0", "3"]
    assert named_layers(graph, None) == graph.layers
    with pytest.raises(UnknownLayer, match="conv9"):
        named_layers(graph, ["conv9"])


def test_layers_know_their_group_and_class_logits_have_none(graph):
    groups = groups_by_node(graph, trace_graph(graph))
    by_name = {layer.name: groups.get(layer.node) for layer in graph.layers}
    assert by_name == {"0": "0", "1": "0", "2": "0", "3": "3", "5": None}


def test_a_receptive_field_is_counted_exactly(graph):
    example = torch.rand(1, 1, 22, 22)
    shares = receptive_shares(graph, named_tensors(net()), example)
    rows = {layer.name: shares[layer.node] * 22 for layer in graph.layers}
    assert rows == pytest.approx({"0": 3, "1": 3, "2": 4, "3": 8, "5": 22})


def test_a_dead_network_sees_as_much_as_a_live_one(graph):
    tensors = {name: torch.zeros_like(tensor) for name, tensor in named_tensors(net()).items()}
    example = torch.rand(1, 1, 22, 22)
    assert receptive_shares(graph, tensors, example) == receptive_shares(graph, named_tensors(net()), example)


def test_large_images_are_measured_to_a_band():
    model = nn.Sequential(nn.Conv2d(1, 2, 11), nn.ReLU()).eval()
    example = torch.rand(2, 1, 128, 128)
    share = receptive_shares(export(model, example), named_tensors(model), example)
    assert all(11 / 128 <= value <= 19 / 128 for value in share.values())


def test_inputs_without_rows_are_seen_whole():
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU()).eval()
    example = torch.rand(2, 6)
    assert set(receptive_shares(export(model, example), named_tensors(model), example).values()) == {1.0}
