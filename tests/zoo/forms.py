"""Forms of checkpoint x network for the corpus at the door: what people save, and the module that it must become."""

from __future__ import annotations

import argparse
import copy
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils.prune import l1_unstructured
from torch.optim.swa_utils import AveragedModel

from merging.zoo import catalogue
from merging.zoo.architectures import build
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.torchvision_import import torchvision

State = dict[str, Tensor]
CIFAR = {"width": 4, "classes": 5}


@dataclass(frozen=True)
class Form:
    """A file and what must become of it. asked: arguments of `load_checkpoint`.

    refusal: a pattern of the words in which it is refused, "" where it must load.  net: the original module, for
    images of `shape`.  question: the refusal is AmbiguousCheckpoint, with the right network among its candidates.
    """

    data: bytes
    net: nn.Module
    shape: tuple[int, ...]
    asked: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""
    question: str = ""
    ending: str = ".pt"


def saved(value: Any, **options: Any) -> bytes:
    """What torch.save writes."""
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


class Widget(nn.Module):
    """A network of one's own, with a `self.model` and a tied head."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.head = nn.Linear(width, width)
        self.head.weight = self.model[3].weight
        self.register_buffer("mask", torch.triu(torch.full((3, 3), -torch.inf), 1))
        self.register_buffer("index", torch.arange(4))

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 8, 8) to (n, width)."""
        return self.head(self.model(images).relu())


def widget(width: int = 6) -> nn.Module:
    """The factory that the corpus names on `architecture`."""
    return Widget(width)


OWN = {"architecture": "tests.zoo.forms:widget", "config": {"width": 6}}


def fed(key: str, *, normalised: bool, upset: float = 20) -> bytes:
    """The state dict of a shipped network that takes images normalised, or as they are: a corner, which is black in
    all of them, upsets every unit by so much where it has another value."""
    net = load_checkpoint(catalogue.shipped_file(catalogue.find_entry(key).sha256))
    state, (mean,), (std,) = dict(net.state), net.mean, net.std
    weight, bias = state["layers.0.weight"].clone(), state["layers.0.bias"]
    if not normalised:
        bias = bias - weight.sum(1) * mean / std
        weight /= std
    black = -mean / std if normalised else 0.0
    weight[:, 0] += upset
    state |= {"layers.0.weight": weight, "layers.0.bias": bias - upset * black}
    return safetensors.torch.save(state)


def trained_looking(net: nn.Module, seed: int = 0) -> nn.Module:
    """The module with drawn weights and statistics, so that no wrong wiring computes the same by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if tensor.is_floating_point() and "mask" not in name and "normalise" not in name and tensor.dim():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(noise + 0.5 if name.endswith("running_var") else (noise - 0.5) * 0.6)
    return net.eval()


def wrappings(state: State) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """A state dict as training scripts save it: (name, what is saved, options of torch.save)."""
    plain = dict(state)
    extras = {"epoch": 3, "best_acc": np.float64(0.5), "args": argparse.Namespace(lr=0.1), "rng": np.arange(3)}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    yield "plain", plain, {}
    yield "old format", plain, {"_use_new_zipfile_serialization": False}
    yield "ordered", OrderedDict(plain), {}
    yield "nested", {"model_state": plain, "optimizer": optimizer, **extras}, {}
    yield "any name", {"weights_of_run_7": plain, "criterion": {"weight": torch.ones(10)}}, {}
    yield "listed", {"models": [plain]}, {}
    yield "deep", {"a": {"b": {"net": plain}}}, {}
    yield "DataParallel", {f"module.{name}": value for name, value in plain.items()}, {}
    yield "compiled", {f"_orig_mod.module.{name}": value for name, value in plain.items()}, {}
    yield "averaged", {"n_averaged": torch.tensor(4), **{f"module.{k}": v for k, v in plain.items()}}, {}
    lightning = {f"model.{name}": value for name, value in plain.items()}
    metrics = {"criterion.weight": torch.ones(10), "train_acc.tp": torch.tensor(3)}
    yield "Lightning", {"state_dict": {**lightning, **metrics}, "pytorch-lightning_version": "2.0", "callbacks": {}}, {}
    yield "float16", {name: value.half() if value.is_floating_point() else value for name, value in plain.items()}, {}
    yield "parameters", {name: nn.Parameter(v) if v.is_floating_point() else v for name, v in plain.items()}, {}
    yield "no counters", {name: v for name, v in plain.items() if not name.endswith("num_batches_tracked")}, {}


def parts(state: State) -> bytes:
    """A zip of two safetensors files with their index, as Hugging Face shards a network."""
    names = sorted(state)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    index = {"weight_map": {name: file for file, own in halves.items() for name in own}}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for file, own in halves.items():
            archive.writestr(f"net/{file}", safetensors.torch.save({name: state[name].contiguous() for name in own}))
        archive.writestr("net/model.safetensors.index.json", json.dumps(index))
    return out.getvalue()


def renamed(state: State, *changes: tuple[str, str], prefix: str = "") -> State:
    """The state dict with parts of its names changed."""

    def name(key: str) -> str:
        for old, new in changes:
            key = key.replace(old, new)
        return prefix + key

    return {name(key): value for key, value in state.items()}


def named_forms() -> dict[str, Form]:
    """Networks that a person names, in every wrapping; they must load."""
    forms: dict[str, Form] = {}
    nets = {
        "cnn": (build("cnn", {"widths": [4, 8], "norm": "batch"}), (1, 28, 28), {"architecture": "cnn"}),
        "resnet20": (build("resnet20", CIFAR), (3, 32, 32), {"architecture": "resnet20"}),
    }
    for key, (net, shape, asked) in nets.items():
        trained_looking(net)
        for name, value, options in wrappings(net.state_dict()):
            twin = net
            if name == "float16":
                twin = copy.deepcopy(net)
                twin.load_state_dict({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()})
            forms[f"{key}, {name}"] = Form(saved(value, **options), twin, shape, asked)
        forms[f"{key}, safetensors"] = Form(safetensors.torch.save(net.state_dict()), net, shape, asked)
        forms[f"{key}, in parts"] = Form(parts(net.state_dict()), net, shape, asked, ending=".zip")
    return forms


def own_forms() -> dict[str, Form]:
    """A factory of one's own with every wrapping; `self.model` stays, ties and buffers are understood."""
    net = trained_looking(Widget())
    state = net.state_dict()
    once = {name: value for name, value in state.items() if name != "head.weight"}
    forms = {
        f"own, {name}": Form(saved(value, **options), net, (1, 8, 8), OWN)
        for name, value, options in wrappings(state)
        if name not in ("float16", "no counters", "parameters")
    }
    forms["own, tied once"] = Form(safetensors.torch.save({k: v.clone() for k, v in once.items()}), net, (1, 8, 8), OWN)
    averaged = AveragedModel(net)
    averaged.update_parameters(net)
    forms["own, AveragedModel"] = Form(saved(averaged.state_dict()), net, (1, 8, 8), OWN)
    student = {f"student.{k}": v for k, v in state.items()} | {f"teacher.{k}": v * 2 for k, v in state.items()}
    forms["own, student"] = Form(saved(student), net, (1, 8, 8), {**OWN, "weights": "student"})
    ema = {"model": state, "ema": {k: v * 2 for k, v in state.items()}}
    forms["own, weights beside EMA"] = Form(saved(ema), net, (1, 8, 8), {**OWN, "weights": "model"})
    forms["own, weights or EMA"] = Form(saved(ema), net, (1, 8, 8), OWN, question="tests.zoo.forms:widget")
    wide = {**OWN, "config": {"width": 7}}
    forms["own, wrong config"] = Form(saved(state), net, (1, 8, 8), wide, refusal=r"instead of \(7,")
    less = {name: value for name, value in state.items() if not name.startswith("model.1")}
    forms["own, missing layer"] = Form(saved(less), net, (1, 8, 8), OWN, refusal=r"it lacks model\.1")
    more = {**state, "extra.weight": torch.zeros(2, 2)}
    forms["own, extra layer"] = Form(saved(more), net, (1, 8, 8), OWN, refusal=r"it has extra\.weight")
    return forms


def library_forms() -> dict[str, Form]:
    """torchvision's networks: by their published names alone, and by name."""
    forms: dict[str, Form] = {}
    for name in ("resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5"):
        net = trained_looking(torchvision.models.get_model(name, weights=None, num_classes=7))
        state = {key: value.contiguous() for key, value in net.state_dict().items()}
        by_name = {"architecture": f"torchvision/{name}"}
        forms[f"torchvision, {name}"] = Form(safetensors.torch.save(state), net, (3, 64, 64))
        forms[f"torchvision by name, {name}"] = Form(
            saved(renamed(state, prefix="backbone.")), net, (3, 64, 64), by_name
        )
    return forms


def unsaid_forms() -> dict[str, Form]:
    """Files that say nothing of their wiring: a question with the right network among its candidates."""
    forms: dict[str, Form] = {}
    net = trained_looking(build("resnet20", CIFAR))
    state = net.state_dict()
    changes: dict[str, State] = {
        **{
            f"prefix {p}": renamed(state, prefix=p)
            for p in ("", "net.", "backbone.", "network.", "resnet.", "encoder.")
        },
        **{f"head {h}": renamed(state, ("linear.", h)) for h in ("head.", "out.", "classifier.", "fc.")},
        "stem conv0": {("conv0" + k[5:] if k.startswith("conv1.") else k): v for k, v in state.items()},
        "stages": renamed(state, ("layer", "stage"), prefix="net."),
        "own names": renamed(state, ("conv1", "cell.0"), ("bn1", "cell.1"), ("conv2", "cell.3"), ("bn2", "cell.4")),
    }
    for name, changed in changes.items():
        forms[f"residual, {name}"] = Form(saved({"state_dict": changed}), net, (3, 32, 32), question="resnet20")
    wirings: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
        "SiLU": ("resnet20", {**CIFAR, "nonlinearity": "silu"}, (3, 32, 32)),
        "max-pooled head": ("resnet20", {**CIFAR, "global_pool": "max"}, (3, 32, 32)),
        "stem with a pool": ("resnet", {"widths": [4, 8], "blocks": [1, 1], "stem": "pool"}, (1, 28, 28)),
        "strided stem": ("resnet", {"widths": [4, 8], "blocks": [1, 1], "stem": "stride"}, (1, 28, 28)),
        "strided CNN": ("cnn", {"widths": [4, 8, 8], "pool": "stride"}, (1, 28, 28)),
        "unpadded CNN": ("cnn", {"widths": [4, 8], "padding": "valid"}, (1, 28, 28)),
        "average-pooled CNN": ("cnn", {"widths": [4, 8, 8], "pool": "avg"}, (1, 28, 28)),
        "tanh MLP": ("mlp", {"widths": [6, 5], "nonlinearity": "tanh"}, (1, 28, 28)),
    }
    for name, (architecture, config, shape) in wirings.items():
        other = trained_looking(build(architecture, config))
        forms[name] = Form(safetensors.torch.save(other.state_dict()), other, shape, question=architecture)
    return forms


def refused_forms() -> dict[str, Form]:
    """What no known network has, refused by the real reason."""
    net = trained_looking(build("mlp", {"widths": [4]}))
    pruned = l1_unstructured(copy.deepcopy(Widget().model[1]), "weight", 0.5)
    unknown = {"a.weight": torch.zeros(3, 4, 5), "b.weight": torch.zeros(2, 2)}
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(64, 6))
    shape = (1, 28, 28)
    linear = {"architecture": "torch.nn:Linear", "config": {"in_features": 64, "out_features": 6}}
    return {
        "unknown layers": Form(saved(unknown), net, shape, refusal="No known architecture"),
        "whole module": Form(saved(net), net, shape, refusal="a whole object"),
        "pruned": Form(saved(pruned.state_dict()), net, shape, linear, refusal=r"prune\.remove"),
        "weight norm": Form(saved(normed.state_dict()), net, shape, linear, refusal="remove_parametrizations"),
        "only an optimizer": Form(
            saved({"optimizer": {"param_groups": [], "state": {}}}), net, shape, refusal="no network"
        ),
        "unknown library name": Form(
            saved(net.state_dict()), net, shape, {"architecture": "torchvision/resnet19"}, refusal="Did you mean"
        ),
    }


CORPUS: dict[str, Callable[[], dict[str, Form]]] = {
    maker.__name__: maker for maker in (named_forms, own_forms, library_forms, unsaid_forms, refused_forms)
}
