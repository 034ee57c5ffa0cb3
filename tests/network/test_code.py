"""When one export serves two networks: only where nothing that decides about the operations differs."""

import collections
import functools

import pytest
import torch
from torch import nn

from merging.network.graph import export as exporting
from merging.network.graph.code import code_of
from merging.network.graph.graph import export, structural_difference
from merging.network.permutation import named_tensors
from merging.zoo.architectures.table import build

EXAMPLE = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
SCALE = 2.0


def net(**changes) -> nn.Sequential:
    how = {"stride": 1, "padding": 1, "bias": True, "act": nn.ReLU, "p": 0.1, "eps": 1e-5, "out": 4} | changes
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=how["stride"], padding=how["padding"], bias=how["bias"]),
        nn.BatchNorm2d(4, eps=how["eps"]), how["act"](), nn.Dropout(how["p"]), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, how["out"]),
    )  # fmt: skip


class Scaled(nn.Module):
    """A network of a user, whose code reads a variable of its module."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x) * SCALE


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(exporting, "_known", {})


def count_exports(monkeypatch) -> list[int]:
    calls, real = [], exporting._export
    monkeypatch.setattr(exporting, "_export", lambda *args: calls.append(1) or real(*args))
    return calls


def test_networks_with_the_same_code_share_an_export_and_their_graphs_are_those_of_their_own(monkeypatch):
    calls = count_exports(monkeypatch)
    first, second = net(), net()
    graphs = [export(model, EXAMPLE) for model in (first, second)]
    assert len(calls) == 1
    monkeypatch.setattr(exporting, "_known", {})
    alone = export(second, EXAMPLE)
    assert graphs[1].operations == alone.operations and not structural_difference(graphs[0], alone)
    assert graphs[1].images == alone.images and graphs[1].record == alone.record
    with torch.no_grad():
        assert torch.equal(graphs[1].run(named_tensors(second), EXAMPLE)[0], second.eval()(EXAMPLE))


@pytest.mark.parametrize(
    "changes",
    [{"stride": 2}, {"padding": "same"}, {"bias": False}, {"act": nn.GELU}, {"p": 0.2}, {"eps": 1e-3}, {"out": 5}],
)
def test_whatever_may_change_the_operations_is_part_of_the_code(changes):
    assert code_of(net(**changes)) != code_of(net())


def test_a_module_that_is_changed_later_is_exported_anew(monkeypatch):
    calls, model = count_exports(monkeypatch), net()
    before = export(model, EXAMPLE)
    model[0].stride = (2, 2)
    after = export(model, EXAMPLE)
    assert len(calls) == 2 and "stride" not in structural_difference(before, before)
    assert structural_difference(before, after)


@pytest.mark.parametrize("other", [EXAMPLE.double(), EXAMPLE[:, :, :8], EXAMPLE.to(memory_format=torch.channels_last)])
def test_another_kind_of_example_is_another_export(monkeypatch, other):
    calls, model = count_exports(monkeypatch), net().to(other.dtype)
    export(net(), EXAMPLE)
    export(model, other)
    assert len(calls) == 2


def test_tied_weights_and_modules_used_twice_are_part_of_the_code():
    apart = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    twice = nn.Sequential(tied[0], tied[0])
    assert len({code_of(apart), code_of(tied), code_of(twice)}) == 3


def test_which_of_the_modules_is_used_twice_is_part_of_the_code():
    a, b = nn.ReLU(), nn.ReLU()  # layers are named by the first place of their module
    nets = [nn.Sequential(nn.Linear(3, 3), a, nn.Linear(3, 3), b, nn.Linear(3, 3), last) for last in (a, b)]
    assert code_of(nets[0]) != code_of(nets[1])


def test_what_cannot_be_compared_is_never_shared():
    hooked, holding = net(), net()
    hooked[0].register_forward_hook(lambda module, args, output: 2 * output)
    holding[0].mask = torch.ones(3)
    holding.other = object()
    assert code_of(hooked) is None and code_of(holding) is None


class Free(nn.Module):
    """A network of a user, whose code may look at anything that its attributes hold."""

    def __init__(self, prepare=lambda module: None):
        super().__init__()
        self.layer, self.zero = nn.Linear(3, 2), 0.0
        prepare(self)

    def forward(self, x):
        return self.layer(x)


class Settings(dict):
    """A dictionary that holds more than its entries."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale


def with_own(scale):
    own = functools.partial(torch.add)
    own.scale = scale
    return own


LOOPED = []
LOOPED.append(LOOPED)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda module: module.register_module("squash", None),
        lambda module: module.register_buffer("squash", None),
        lambda module: module.register_parameter("squash", None),
        lambda module: setattr(module, "zero", -0.0),
        lambda module: setattr(module.layer, "training", False),
    ],
    ids=["module", "buffer", "parameter", "minus zero", "training"],
)
def test_what_forward_can_see_is_part_of_the_code(prepare):
    assert code_of(Free(prepare)) is not None and code_of(Free(prepare)) == code_of(Free(prepare))
    assert code_of(Free(prepare)) != code_of(Free())


@pytest.mark.parametrize(
    "value",
    [Settings(2), with_own(2), collections.defaultdict(int), collections.ChainMap({}), LOOPED, torch.Size([2])],
    ids=["dict", "partial", "defaultdict", "ChainMap", "looped", "Size"],
)
def test_attributes_that_may_hold_more_are_not_compared(value):
    assert code_of(Free(lambda module: setattr(module, "value", value))) is None


def test_a_replaced_forward_is_exported_anew(monkeypatch):
    calls, model, example = count_exports(monkeypatch), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), -torch.ones(2, 3)
    export(model, example)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x - 1)
    after = export(model, example)
    assert len(calls) == 2
    assert torch.equal(after.run(named_tensors(model), example)[0], model(example))


def test_code_of_users_may_read_what_changes_so_its_exports_are_not_kept(monkeypatch):
    calls, model, example = count_exports(monkeypatch), Scaled(), torch.ones(2, 3)
    assert code_of(model) == code_of(Scaled()) and code_of(model, known=True) is None
    before = export(model, example)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    after = export(model, example)
    assert len(calls) == 2
    outputs = [graph.run(named_tensors(model), example)[0] for graph in (before, after)]
    assert torch.allclose(outputs[0] * 1.5, outputs[1])


ZOO = ("mlp", "cnn", "vgg11", "resnet20", "tv_resnet18", "torchvision/mobilenet_v3_small", "torchvision/vit_b_16")


@pytest.mark.parametrize("key", ZOO)
def test_networks_of_the_zoo_have_known_code(key):
    with torch.device("meta"):
        models = [build(key, {"widths": [4]} if key in ("mlp", "cnn") else {}) for _ in range(2)]
    codes = [code_of(model, known=True) for model in models]
    assert codes[0] is not None and codes[0] == codes[1] and hash(codes[0]) == hash(codes[1])
