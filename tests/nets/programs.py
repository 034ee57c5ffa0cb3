"""Exported programs for the tests: what torch.export.save writes of small networks, each made once."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from merging.network.programs.module import ProgramModule
from merging.zoo.checkpoints.reading.programs.program import Exported, read_program
from tests.nets.nets import NETS, Net, ready


class Pinned(nn.Module):
    """A net with all that a state dict does not hold: a tensor attribute, a buffer that is not persistent, a literal, a
    mask of minus infinity; and with a largest value by dimension, pieces, and a batch size in its arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(4, 4), nn.Linear(4, 3)
        self.shift = 0.1 * torch.arange(8.0)
        self.register_buffer("scale", 1 + 0.1 * torch.arange(4.0), persistent=False)
        self.register_buffer("mask", torch.tensor([False, True, False, False]))

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.first(x) + self.shift).relu().chunk(2, dim=1)
        y = torch.stack([left, right]).max(dim=0).values * torch.tensor([1.0, 2.0, 1.0, 2.0])
        y = (self.second(y).masked_fill(self.mask, float("-inf")).softmax(1) + y) * self.scale
        return self.head(y.view(x.shape[0] * 2, 2).reshape(x.shape[0], 4))


class Attention(nn.Module):
    """One attention block with a softmax whose number type is written out, and torch's own attention beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.head = nn.Linear(4, 8), nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.embed(x)).split(8, dim=-1)
        q, k, v = (part.view(x.shape[0], -1, 2, 4).transpose(1, 2) for part in parts)
        weights = F.softmax(q @ k.transpose(-1, -2), dim=-1, dtype=torch.float32).to(q.dtype)
        y = weights @ v + F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(y.transpose(1, 2).reshape(x.shape[0], -1, 8).mean(1))


OWN: dict[str, Callable[[], Net]] = {
    "pinned": lambda: ready(Pinned(), (6,)),
    "attention": lambda: ready(Attention(), (5, 4)),
}


def net(name: str) -> Net:
    """A network of `NETS` or of this file, with an example of its input."""
    return (OWN.get(name) or NETS[name])()


def saved(model: nn.Module, x: Tensor, **options: object) -> bytes:
    """What a person's torch.export.save writes: for any number of images unless `options` say otherwise."""
    wishes = {"dynamic_shapes": ({0: Dim.DYNAMIC},)} | options
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model, (x,), **wishes), out)
    return out.getvalue()


@cache
def file_of(name: str) -> bytes:
    """The .pt2 file of a network."""
    model, x = net(name)
    return saved(model.eval(), x)


@cache
def exported(name: str) -> Exported:
    """The network read back."""
    return read_program(file_of(name))


def module(name: str) -> ProgramModule:
    """The network read back, as a module of its own."""
    found = exported(name)
    return ProgramModule(found.program, found.state, found.constants)


def loaded(data: bytes) -> nn.Module:
    """What torch alone makes of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(io.BytesIO(data)).module()


def inputs(x: Tensor, count: int, seed: int = 0) -> Tensor:
    """Random inputs (count, ...) like the example."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *x.shape[1:])
    if x.is_floating_point():
        return torch.randn(shape, generator=generator)
    return torch.randint(int(x.max()) + 1, shape, generator=generator)
