"""The exported graph computes what the module computes, with any weights, and names what a person knows."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn

from merging.errors import IncompatibleModels, UnknownLayer, UnsupportedOperation
from merging.network.graph.graph import Graph, export, structural_difference
from merging.network.permutation import named_tensors
from tests.nets.nets import NETS, Forward, between, cnn, mlp, ready, residual, used_twice
from tests.nets.nets_refused import REFUSED

RUN = (
    "mlp",
    "cnn-batch",
    "act-hardswish-in-place",
    "residual-batch",
    "residual-cat",
    "tied",
    "normalised",
    "transformer",
)


@cache
def net(name: str) -> tuple[nn.Module, torch.Tensor, Graph]:
    model, example = NETS[name]()
    return model, example, export(model, example)


@pytest.mark.parametrize("name", RUN)
def test_run_is_the_module_bit_for_bit_at_another_batch_size(name: str):
    model, example, graph = net(name)
    images = torch.randn(5, *example.shape[1:])
    output, kept = graph.run(named_tensors(model), images)
    assert kept == {}
    assert torch.equal(output, model(images.clone()))


def test_run_takes_other_weights_and_one_image():
    _, example, graph = net("cnn-batch")
    other, _ = ready(copy.deepcopy(net("cnn-batch")[0]), seed=1)
    output, _ = graph.run(named_tensors(other), example[:1])
    assert torch.equal(output, other(example[:1]))


def test_run_works_in_double_precision():
    model, example, graph = net("residual-batch")
    double, images = copy.deepcopy(model).double(), example.double()
    assert torch.equal(graph.run(named_tensors(double), images)[0], double(images))


def test_kept_values_survive_the_in_place_relu_behind_them():
    model, example, graph = net("cnn")
    conv, relu = graph.layer("0.0"), graph.layer("0.1")
    _, kept = graph.run(named_tensors(model), example, keep=[conv.node, relu.node])
    assert torch.equal(kept[conv.node], model[0][0](example))
    assert (kept[conv.node] < 0).any()
    assert torch.equal(kept[relu.node], kept[conv.node].relu())


def test_run_stops_at_a_node_and_needs_no_more_of_it():
    model, example, graph = net("cnn")
    weights = {name: tensor for name, tensor in named_tensors(model).items() if not name.startswith("3.")}
    weights |= {name: tensor[:0] for name, tensor in named_tensors(model).items() if name.startswith("3.")}
    output, kept = graph.run(weights, example, until=graph.layer("0.2").node)
    assert output is None
    assert torch.equal(kept[graph.layer("0.2").node], model[0][2](model[0][:2](example)))


def test_a_walk_passes_every_value_before_it_is_overwritten():
    model, example, graph = net("cnn")
    nodes = [layer.node for layer in graph.layers]
    _, kept = graph.run(named_tensors(model), example, keep=nodes)
    met = [(node, value.clone()) for node, value in graph.walk(named_tensors(model), example, nodes)]
    assert [node for node, _ in met] == nodes
    assert all(torch.equal(value, kept[node]) for node, value in met)


def test_run_is_differentiable_with_respect_to_the_images():
    model, example, graph = net("residual-batch")
    here, there = (example.clone().requires_grad_() for _ in range(2))
    graph.run(named_tensors(model), here)[0].square().sum().backward()
    model(there).square().sum().backward()
    assert torch.equal(here.grad, there.grad)
    model.zero_grad(set_to_none=True)


def test_run_does_not_write_into_the_callers_images():
    model, example = ready(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 3)), (6,))
    images = example.clone()
    export(model, images).run(named_tensors(model), images)
    assert torch.equal(images, example)
    assert (images < 0).any()


def test_run_says_which_tensor_or_node_is_missing():
    model, example, graph = net("mlp")
    with pytest.raises(IncompatibleModels, match=r"1\.weight"):
        graph.run({}, example)
    with pytest.raises(UnknownLayer, match="conv_99"):
        graph.run(named_tensors(model), example, keep=["conv_99"])


def test_export_leaves_the_model_as_it_was():
    model, example = cnn(nn.BatchNorm2d)
    model.train()
    seen = []
    model[0][0].register_forward_hook(lambda *_: seen.append(1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export(model, example)
    assert model.training
    assert len(model[0][0]._forward_hooks) == 1
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_one_example_is_enough_for_any_batch():
    model, example = mlp()
    graph = export(model, example[:1])
    images = torch.randn(7, *example.shape[1:])
    assert torch.equal(graph.run(named_tensors(model), images)[0], model(images))


def test_layers_are_named_as_in_torch():
    layers = net("cnn-batch")[2].layers
    assert [layer.name for layer in layers] == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "3"]
    assert [layer.kind for layer in layers] == ["conv", "norm", "activation", "conv", "norm", "activation", "linear"]
    assert [(layer.dim, layer.units, layer.positions) for layer in layers][::6] == [(1, 6, (8, 8)), (1, 5, ())]


def test_a_second_use_and_a_blocks_sum_have_names_of_their_own():
    names = [layer.name for layer in net("residual-batch")[2].layers]
    assert "1.0:add" in names
    assert names.index("1.0.act") < names.index("1.0:add") < names.index("1.0.act (2nd use)")
    assert len(set(names)) == len(names)
    uses = [layer.name for layer in export(*used_twice()).layers if layer.name.startswith("a")]
    assert uses == ["act", "again", "act (2nd use)", "again (2nd use)", "act (3rd use)"]


class Residual(nn.Module):
    """A block whose output is a functional ReLU, and whose inner one is functional too."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.two(torch.relu(self.one(x))) + x)


def test_a_block_names_its_functional_output():
    graph = export(*ready(nn.Sequential(nn.Linear(3, 4), Residual(), nn.Linear(4, 2)), (3,)))
    assert [layer.name for layer in graph.layers] == ["0", "1.one", "1:relu", "1.two", "1:add", "1", "2"]
    assert graph.layer("1").kind == "activation"


def test_the_input_normalisation_flatten_and_dropout_are_no_layers():
    assert [layer.name for layer in net("normalised")[2].layers] == ["conv", "forward:tanh", "forward:mean", "head"]
    assert "2" not in [layer.name for layer in net("cnn")[2].layers]


def test_tokens_hold_their_units_last():
    found = {layer.name: (layer.dim, layer.units) for layer in net("transformer")[2].layers}
    assert found["norm1"] == (2, 6)
    assert found["up"] == (2, 10)
    assert found["forward:gelu"] == (2, 10)


class _Patches(nn.Module):
    """A picture to tokens, as in vision transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.act = nn.Conv2d(1, 12, 4, 4), nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.embed(x).flatten(2).transpose(1, 2)).mean(1)


def test_flattened_positions_keep_the_units_where_they_are():
    layers = {layer.name: layer for layer in export(_Patches(), torch.rand(2, 1, 16, 16)).layers}
    assert (layers["act"].units, layers["act"].positions) == (12, (16,))


def test_an_unknown_layer_names_the_nearest():
    graph = net("residual-batch")[2]
    assert graph.layer("1.0").name == "1.0.act (2nd use)"
    with pytest.raises(UnknownLayer, match=r"1\.0\.conv1"):
        graph.layer("1.0.conv11")


def test_signature_is_equal_for_one_structure_and_no_other():
    graph = net("residual-batch")[2]
    twin = export(*residual())
    assert graph.signature == twin.signature
    assert structural_difference(graph, twin) == ""
    assert export(*residual(shortcut="pad")).signature != graph.signature
    assert export(*residual(lambda width: nn.GroupNorm(1, width))).signature != graph.signature


@pytest.mark.parametrize(
    "other, words",
    [
        (mlp(widths=(7, 9)), r"3.weight has shape \(6, 7\) in the first network and \(9, 7\) in the second"),
        (mlp(nn.GELU), r"2 is aten.relu.default in the first network, but aten.gelu.default \(2\)"),
        (mlp(widths=(7, 6, 6)), "has shape|Only the second network has a tensor 7.weight"),
    ],
)
def test_difference_names_the_first_difference(other: tuple[nn.Module, torch.Tensor], words: str):
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(structural_difference(net("mlp")[2], export(*other)))


def test_difference_sees_attributes_and_constants():
    first = export(*between(lambda y: y * torch.tensor(2.0)))
    assert "constant" in structural_difference(first, export(*between(lambda y: y * torch.tensor(3.0))))
    strided = ready(nn.Sequential(nn.Conv2d(3, 4, 2, stride=2)))
    assert "[2, 2]" in structural_difference(export(*ready(nn.Sequential(nn.Conv2d(3, 4, 2)))), export(*strided))


@pytest.mark.parametrize("name", ["by-value", "fixed-batch"])
def test_what_cannot_be_exported_is_said_in_words(name: str, capsys: pytest.CaptureFixture[str]):
    factory, words = REFUSED[name]
    with pytest.raises(UnsupportedOperation, match=words.replace("(", r"\(").replace(")", r"\)")):
        export(*factory())
    assert capsys.readouterr().err == ""


def halves(y: torch.Tensor) -> torch.Tensor:
    """Split the channels in two, as groups do: a view of channels-last images that fails for two and more of them."""
    return y.view(2 * y.shape[0], y.shape[1] // 2, *y.shape[2:]).reshape(y.shape)


@pytest.mark.parametrize(
    "read, last",
    [(lambda y: y, True), (lambda y: y.view(-1, 216), False), (halves, False)],
    ids=["any", "view", "halves"],
)
def test_images_come_in_the_order_that_a_cpu_runs_the_network_fastest_in(read, last: bool):
    model, example = between(read)
    tensors, graph = named_tensors(model), export(model, example)
    images = torch.randn(5, *example.shape[1:])
    ordered = graph.ordered(images)
    assert torch.equal(ordered, images)
    assert ordered.is_contiguous(memory_format=torch.channels_last) is last
    torch.testing.assert_close(graph.run(tensors, ordered)[0], model(images))
    rows = torch.randn(5, 6)  # no images at all
    head = export(*ready(nn.Sequential(nn.Linear(6, 3)), (6,)))
    assert head.ordered(rows) is rows


def test_a_network_that_reads_memory_keeps_the_contiguous_order_for_all_weights():
    """Its result depends on the order, but by no more than rounding with weights that are nearly 0."""
    model, example = between(lambda y: y + 1e-6 * torch.as_strided(y, y.shape, (216, 36, 6, 1)))
    graph = export(model, example)
    assert graph.order is torch.contiguous_format


def test_two_tensors_in_one_memory_are_refused():
    both = torch.ones(5)
    run = lambda m, x: m.head(x) * m.left * m.right  # noqa: E731
    model, example = ready(Forward(run, head=nn.Linear(6, 3), left=both[:3], right=both[2:]), (6,))
    with pytest.raises(UnsupportedOperation, match="left and right share memory"):
        export(model, example)


def counted(m: Forward, x: torch.Tensor) -> torch.Tensor:
    m.count.add_(1)
    return m.head(x) * m.count


@pytest.mark.parametrize(
    "run, words",
    [
        (lambda m, x: (m.head(x), x), "returns a tuple"),
        (lambda m, x: m.head(x[:, :2]), r"does not run on images of shape \(2, 6\)"),
        (counted, "changes count in place"),
    ],
)
def test_what_is_no_plain_network_is_said_in_words(run, words: str):
    model, example = ready(Forward(run, head=nn.Linear(6, 3), count=torch.zeros(())), (6,))
    with pytest.raises(UnsupportedOperation, match=words):
        export(model, example)
