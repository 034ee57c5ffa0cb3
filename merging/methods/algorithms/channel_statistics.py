"""Mean and standard deviation of the channels that a correction looks at: which they are, and measuring them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from merging.network.batch_norm import passes
from merging.network.data import Batches
from merging.network.permutation import PermutationSpec

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)

_Hook = Callable[[str, nn.Module, Tensor], Tensor | None]


@dataclass(frozen=True)
class ChannelStatistics:
    """mean, std: (channels,) float64, over images and positions."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class ChannelSums:
    """Over `rows` images and positions: total, squares, the sums of values and squares, (channels,) float64."""

    rows: int
    total: Tensor
    squares: Tensor

    def __add__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(self.rows + other.rows, self.total + other.total, self.squares + other.squares)

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Mean and standard deviation over all rows."""
        mean = self.total / self.rows
        return ChannelStatistics(mean, (self.squares / self.rows - mean.square()).clamp_min(0).sqrt())


def pre_activations(model: nn.Module, spec: PermutationSpec, example: Tensor) -> tuple[str, ...]:
    """Names of the modules whose outputs a correction restores, in the order in which they run on example (n, ...).

    These are the norms with an affine part, and the convolutions and linear layers that do not feed a norm directly.
    Left out: layers whose outputs are in no permutation group, as the logits are, weights that two modules share, and
    norms with a weight of their own at every position.
    """
    hidden = {name for name, pairs in spec.by_parameter.items() if any(axis.dim == 0 for axis, _ in pairs)}
    names = {id(p): name for name, p in model.named_parameters()}
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    found: dict[str, None] = {}
    made: dict[int, tuple[str, int, Tensor]] = {}  # the tensors are held, for else an id could be used again

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        """A hook: remember what made the output, of any shape, and forget a maker that a norm follows."""
        source, version, _ = made.get(id(given), ("", -1, given))
        if isinstance(module, _NORMS) and version == given._version:  # no in-place operation came between
            found.pop(source, None)
        weight = module.weight
        shared = owners[id(weight)] > 1
        by_channel = isinstance(module, _WEIGHTED) or (isinstance(weight, Tensor) and weight.dim() == 1)
        if isinstance(weight, nn.Parameter) and names.get(id(weight)) in hidden and by_channel and not shared:
            found.setdefault(name)
        if isinstance(module, _WEIGHTED):
            made[id(output)] = (name, output._version, output)

    handles = [
        module.register_forward_hook(lambda m, args, output, name=name: note(name, m, args[0], output))
        for name, module in model.named_modules()
        if isinstance(module, (*_WEIGHTED, *_NORMS))
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(found)


def measure(model: nn.Module, names: Sequence[str], data: Batches) -> dict[str, list[ChannelSums]]:
    """Module name -> sums over its output channels, one a call in the order of `data`, the model in eval mode."""
    sums: dict[str, list[ChannelSums]] = {name: [] for name in names}

    def count(name: str, module: nn.Module, output: Tensor) -> None:
        """A hook: count in the module's output, of any shape."""
        sums[name].append(channel_sums(module, output))

    run_all = passes(model, data)
    with hooked(model, names, count):
        run_all()
    return sums


def overall(calls: Sequence[ChannelSums]) -> ChannelStatistics:
    """Mean and standard deviation of one module's channels over all its calls."""
    return reduce(add, calls).statistics


@contextmanager
def hooked(model: nn.Module, names: Sequence[str], hook: _Hook) -> Iterator[None]:
    """Inside, every call of these modules goes through hook(name, module, output), which may return another output."""
    modules = [(name, model.get_submodule(name)) for name in names]
    handles = [m.register_forward_hook(lambda m, _, output, name=name: hook(name, m, output)) for name, m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def channel_dim(module: nn.Module, output: Tensor) -> int:
    """The dimension that holds the channels: 1 of (n, channels, ...), the last of a linear layer's (..., channels)."""
    if isinstance(module, nn.Linear):
        return output.dim() - 1
    # Some subclasses of LayerNorm are for pictures and keep the channels where convolutions do.
    sizes = module.normalized_shape if isinstance(module, nn.LayerNorm) else ()
    last = output.shape[-1:] == sizes and (type(module) is nn.LayerNorm or output.shape[1:2] != sizes)
    return output.dim() - 1 if last else 1


def channel_sums(module: nn.Module, output: Tensor) -> ChannelSums:
    """Sums a channel over one output, shape (n, channels, ...) or (..., channels); half precision in float32."""
    channels = channel_dim(module, output)
    values = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    if channels == 1 and output.dim() > 2:  # as exact as var_mean, and three times as fast
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
    else:
        variance, mean = torch.var_mean(values, dim=[d for d in range(output.dim()) if d != channels], correction=0)
    rows, mean = output.numel() // output.shape[channels], mean.double()
    return ChannelSums(rows, mean * rows, (variance.double() + mean.square()) * rows)
