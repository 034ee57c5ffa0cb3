"""Mean and standard deviation of pre-activation channels: selection of the modules, and measurement."""

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
from torch.nn.modules.instancenorm import _InstanceNorm

from merging.network.batch_norm import passes
from merging.network.data import Batches
from merging.network.permutation import PermutationSpec

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

_Hook = Callable[[str, nn.Module, Tensor], Tensor | None]


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of one module's output channels: `mean` and `std`, (channels,) float64, over images and positions."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class ChannelSums:
    """Sums over the outputs of one module.

    Attributes:
        rows: number of summed rows: one per image and position.
        total: (channels,) float64 sums of the values.
        squares: (channels,) float64 sums of their squares.
    """

    rows: int
    total: Tensor
    squares: Tensor

    def __add__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(self.rows + other.rows, self.total + other.total, self.squares + other.squares)

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Return mean and standard deviation over all rows."""
        mean = self.total / self.rows
        return ChannelStatistics(mean, (self.squares / self.rows - mean.square()).clamp_min(0).sqrt())


@dataclass(frozen=True)
class PreActivations:
    """Modules whose outputs a correction restores, and what it cannot restore.

    Attributes:
        modules: names of the modules, in the order in which they run.
        left_out: names of other weights that make units, such as those of attention, of recurrent layers and of
            `torch.nn.functional.linear`, shared ones, and those of a norm per position.
    """

    modules: tuple[str, ...]
    left_out: tuple[str, ...]


def pre_activations(model: nn.Module, spec: PermutationSpec, example: Tensor) -> PreActivations:
    """Return the modules whose outputs a correction restores.

    These are the norms with an affine part, and the convolutions and linear layers that do not feed a norm directly.
    Left out are layers whose outputs are in no permutation group (such as the logits), modules that share a weight
    with another module, transposed convolutions with groups, and norms with a separate weight per position.
    example: input (n, ...) to run.
    """
    hidden = {(name, axis.dim) for name, pairs in spec.by_parameter.items() for axis, _ in pairs}
    names = {id(p): name for name, p in model.named_parameters()}
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    selection: dict[str, None] = {}
    producers: dict[int, tuple[str, int, Tensor]] = {}  # keeps the tensors, because Python reuses the ids of freed ones
    before_norms: set[str] = set()  # names of the modules whose norm is corrected in their place

    def note(name: str, module: nn.Module, operand: Tensor, output: Tensor) -> None:
        """Forward hook: select the module; if it is a norm, deselect the layer that directly feeds it."""
        source, version, _ = producers.get(id(operand), ("", -1, operand))
        if isinstance(module, _NORMS) and version == operand._version:  # equal: no in-place operation in between
            selection.pop(source, None)
            before_norms.add(source)
        weight = module.weight
        own = names.get(id(weight), "")
        grouped = isinstance(module, _TRANSPOSED) and module.groups > 1
        by_channel = isinstance(module, _WEIGHTED) or (isinstance(weight, Tensor) and weight.dim() == 1)
        if (own, unit_dim(module)) in hidden and by_channel and owners[id(weight)] == 1 and not grouped:
            selection.setdefault(name)
        if isinstance(module, _WEIGHTED):
            producers[id(output)] = (name, output._version, output)

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
    makes = [name for name, pairs in spec.by_parameter.items() if any(not axis.used for axis, _ in pairs)]
    shapes = {name: parameter.dim() for name, parameter in model.named_parameters()}
    served = {f"{name}.weight" for name in (*selection, *before_norms)}
    return PreActivations(tuple(selection), tuple(n for n in makes if shapes.get(n, 0) > 1 and n not in served))


def unit_dim(module: nn.Module) -> int:
    """Return the dimension of the module's weight that makes its channels: 1 in a transposed convolution, else 0."""
    return 1 if isinstance(module, _TRANSPOSED) else 0


def bias_of(module: nn.Module) -> Tensor | None:
    """Return the module's bias; None if it has none, as an RMSNorm never has."""
    return getattr(module, "bias", None)


def measure_channels(model: nn.Module, names: Sequence[str], data: Batches) -> dict[str, list[ChannelSums]]:
    """Return module name -> sums per output channel, one ChannelSums per call in the order of `data`, in eval mode."""
    sums: dict[str, list[ChannelSums]] = {name: [] for name in names}

    def count(name: str, module: nn.Module, output: Tensor) -> None:
        """Forward hook: add the sums of the module's output, of any shape."""
        sums[name].append(channel_sums(module, output))

    run_all = passes(model, data)
    with hooked(model, names, count):
        run_all()
    return sums


def pooled_statistics(calls: Sequence[ChannelSums]) -> ChannelStatistics:
    """Return the mean and standard deviation of one module's channels over all its calls."""
    return reduce(add, calls).statistics


@contextmanager
def hooked(model: nn.Module, names: Sequence[str], hook: _Hook) -> Iterator[None]:
    """Call hook(name, module, output) at every forward pass of these modules; a returned tensor replaces the output."""
    modules = [(name, model.get_submodule(name)) for name in names]
    handles = [m.register_forward_hook(lambda m, _, output, name=name: hook(name, m, output)) for name, m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def channel_dim(module: nn.Module, output: Tensor) -> int:
    """Return the channel dimension: 1 for (n, channels, ...), the last for (..., channels) as from a linear layer."""
    if isinstance(module, nn.Linear):
        return output.dim() - 1
    # Some subclasses of LayerNorm are for images and keep the channels in dimension 1, as convolutions do.
    sizes = module.normalized_shape if isinstance(module, nn.LayerNorm | nn.RMSNorm) else ()
    plain = type(module) in (nn.LayerNorm, nn.RMSNorm)
    last = output.shape[-1:] == sizes and (plain or output.shape[1:2] != sizes)
    return output.dim() - 1 if last else 1


def channel_sums(module: nn.Module, output: Tensor) -> ChannelSums:
    """Return the sums per channel of an output, (n, channels, ...) or (..., channels), in float32 or higher."""
    channels = channel_dim(module, output)
    values = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    if channels == 1 and output.dim() > 2:  # as exact as var_mean, and three times as fast
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
    else:
        variance, mean = torch.var_mean(values, dim=[d for d in range(output.dim()) if d != channels], correction=0)
    rows, mean = output.numel() // output.shape[channels], mean.double()
    return ChannelSums(rows, mean * rows, (variance.double() + mean.square()) * rows)
