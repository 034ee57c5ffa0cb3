"""Small networks and pairs of them for the tests of merging: random ones, permuted twins, and a really trained pair."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from merging.methods.problem import Problem
from merging.network.data import Batches
from merging.network.graph.graph import Graph, export
from merging.network.permutation import Permutation, PermutationSpec, invert, permute
from merging.network.tracing.tracer import trace_graph

SHAPE = (1, 8, 8)
CLASSES = 5


class Block(nn.Module):
    """A residual block of two convolutions with BatchNorm and, where the shape changes, a convolutional shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        same = stride == 1 and before == width
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


def mlp() -> nn.Module:
    """Two hidden layers, no norm."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 20), nn.ReLU(inplace=True), nn.Linear(20, CLASSES)
    )


def cnn() -> nn.Module:
    """Two convolutions, one with BatchNorm, then a flatten: the linear layer sees 16 positions a channel."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(12, 14, 3, padding=1), nn.BatchNorm2d(14),
        nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(14 * 16, 18), nn.ReLU(),
        nn.Linear(18, CLASSES),
    )  # fmt: skip


def residual() -> nn.Module:
    """A stem and three residual blocks, one of which changes the width."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), Block(12, 12, 1), Block(12, 16, 2),
        Block(16, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES),
    )  # fmt: skip


NETS = {"mlp": mlp, "cnn": cnn, "residual": residual}


def make(kind: str, seed: int) -> nn.Module:
    """A net in eval mode with weights, norm parameters and running statistics drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = NETS[kind]()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@cache
def structure(kind: str) -> tuple[Graph, PermutationSpec]:
    """The graph and the spec of a kind of net, traced once."""
    graph = export(make(kind, 0), torch.rand(2, *SHAPE))
    return graph, trace_graph(graph)


def problem(kind: str, models: tuple[nn.Module, ...], **more: object) -> Problem:
    """The problem of merging these models of one kind; not aligned."""
    return Problem(models, *structure(kind), data=blobs(300), **{"aligned": models, **more})


def twin(kind: str, model: nn.Module, seed: int) -> tuple[nn.Module, Permutation]:
    """A permuted copy and the permutation that brings it back."""
    _, spec = structure(kind)
    shuffled = spec.random(seed)
    return permute(model, spec, shuffled), invert(shuffled)


@cache
def blobs(count: int, seed: int = 0, size: int = 100) -> Batches:
    """Images of five noisy patterns, sorted by class as many data sets are: (count, 1, 8, 8) in 0..1."""
    patterns = np.random.default_rng(7).random((CLASSES, 64))
    rng = np.random.default_rng([1, seed])
    labels = np.sort(np.arange(count) % CLASSES)
    images = np.clip(patterns[labels] + 0.35 * rng.standard_normal((count, 64)), 0, 1)
    return Batches(torch.tensor(images, dtype=torch.float32).view(-1, *SHAPE), torch.from_numpy(labels), size)


@cache
def trained(kind: str, seed: int, epochs: int = 8) -> nn.Module:
    """A net trained on `blobs` for a second or so."""
    model = make(kind, seed).train()
    data = blobs(1000)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for epoch in range(epochs):
            for images, labels in data.sample(1000, seed=100 * seed + epoch):
                loss = nn.functional.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    for parameter in model.parameters():
        parameter.grad = None
    return model.eval()


def accuracy(model: nn.Module, data: Batches) -> float:
    """Share of right answers, 0..1."""
    with torch.no_grad():
        return sum(float((model(x).argmax(1) == y).sum()) for x, y in data) / data.count


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, to see later whether they changed."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit, the sign of zero included."""
    return a.keys() == b.keys() and all(a[k].numpy().tobytes() == b[k].numpy().tobytes() for k in a)
