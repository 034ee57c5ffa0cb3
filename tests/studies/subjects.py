"""Subjects of studies made from the small trained nets of the tests."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from merging.methods.problem import Alignment, Problem
from merging.network.permutation import permute, with_tensors
from merging.pipeline.merge import prepare
from merging.studies.registry import Subject
from merging.zoo.architectures.table import build
from tests.nets.pairs import CLASSES, SHAPE, blobs, problem, structure, trained


@cache
def merged(kind: str = "cnn", seed: int = 0) -> Subject:
    """Two trained nets of a kind, merged by activation matching, with images."""
    return of(kind, trained(kind, 0), trained(kind, 1), seed)


def of(kind: str, a: nn.Module, b: nn.Module, seed: int = 0) -> Subject:
    """A subject as a worker makes it of two nets."""
    graph, spec = structure(kind)
    prepared = prepare([a, b], align="activation-matching", data=blobs(300), seed=seed)
    alignment: Alignment = prepared.alignment
    aligned = permute(b, spec, alignment.permutations[1])
    nets = {
        "A": a,
        "B": b,
        "pi(B)": aligned,
        "naive": mean(kind, a, b),
        "average": mean(kind, a, aligned),
        "merge": mean(kind, a, aligned),
    }
    data = {"train": blobs(300), "test": blobs(300, 1)}
    return Subject(nets, graph, spec, alignment.permutations[1], True, data, seed)


@cache
def learned(seed: int = 0) -> Subject:
    """Two networks whose units have functions of their own, merged by weights, with images."""
    config = {"widths": [10, 8], "in_shape": list(SHAPE), "classes": CLASSES}
    a, b = (build("adaptive", config, seed=number) for number in (0, 1))
    with torch.no_grad():
        for number, net in enumerate((a, b)):
            for parameter in net.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    data = {"train": blobs(300), "test": blobs(300, 1)}
    prepared = prepare([a, b], data=data["train"], seed=seed)
    _, aligned = prepared.problem.aligned
    average = prepared.combine((0.5, 0.5))
    nets = {"A": a, "B": b, "pi(B)": aligned, "naive": average, "average": average, "merge": average}
    partner = prepared.alignment.permutations[1]
    return Subject(nets, prepared.problem.graph, prepared.problem.spec, partner, True, data, seed)


def mean(kind: str, a: nn.Module, b: nn.Module) -> nn.Module:
    """The plain average."""
    from merging.methods.registry import find

    asked: Problem = problem(kind, (a, b))
    average = find("combine", "average")
    return with_tensors(a, average.run(asked, average.settings())((0.5, 0.5)))
