"""Restoring the channels' mean and standard deviation after averaging: the algorithm of REPAIR and RESCALE."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from merging.errors import DataUnavailable
from merging.methods.algorithms.channel_statistics import (
    ChannelStatistics,
    ChannelSums,
    bias_of,
    channel_dim,
    channel_sums,
    hooked,
    measure_channels,
    pooled_statistics,
    pre_activations,
    unit_dim,
)
from merging.methods.problem import Corrector, Problem
from merging.network.batch_norm import batch_norm_in_training, batch_norms, passes
from merging.network.data import Batches, training_sample

BATCH = 500  # largest batch, in images: the result depends on the batch size, so the device must not determine it
NOTHING = (
    "The correction changes hidden linear layers, convolutions and norms of torch.nn whose weights are their own and "
    "belong to channels. This network has none, so nothing changed."
)
FLAT = 1e-6  # relative to the goal's std: a channel with a smaller std is constant up to rounding and is not rescaled


@dataclass(frozen=True)
class ChannelGoal:
    """Target statistics of a module's channels.

    Attributes:
        overall: statistics over all images.
        calls: statistics per call of the module, in order; one call per batch and per use of the module.
    """

    overall: ChannelStatistics
    calls: tuple[ChannelStatistics, ...]


def correction_data(problem: Problem, images: int) -> Batches:
    """Return at most `images` random training images in batches of equal size, for a pass that averages over batches.

    Raises DataUnavailable without data, or if a batch has only one image, whose standard deviation is undefined.
    """
    sample = training_sample(problem.data, images, problem.seed)
    passes = -(-sample.count // min(sample.size, BATCH))
    data = sample.sized(max(1, sample.count // passes)).even()
    if min(data.size, data.count) < 2:
        raise DataUnavailable(
            "A correction measures standard deviations over a batch, so batches need at least 2 images."
        )
    return data


def restorer(problem: Problem, images: int, *, shift: bool) -> Corrector:
    """Return a corrector that restores every pre-activation's standard deviation and, if `shift`, its mean.

    The goal is the weighted mean of the aligned models' statistics (Jordan et al. 2023, eq. 4-5), which are measured
    here, once, on at most `images` images.
    Notes of the correction: `corrected`, names of the corrected modules; `not_shifted`, modules whose mean stays
    because they have no bias; `left_out`, weights of layers that are not corrected although they make units;
    `images`, number of images read; `reason` if no layer can be corrected.
    """
    data = correction_data(problem, images)
    first = problem.aligned[0]
    found = pre_activations(first, problem.spec, data.on_model(first).example())
    names = found.modules
    if not names:
        return Corrector(lambda net, weights: net, {"corrected": [], "reason": NOTHING})
    problem.report("correcting", 0.0, "measuring the parents' channels")
    parents = [measure_channels(model, names, data) for model in problem.aligned]

    def run(net: nn.Module, weights: tuple[float, ...]) -> nn.Module:
        goals = {name: _goal([parent[name] for parent in parents], weights) for name in names}
        return restore(net, goals, data, shift=shift)

    unbiased = [name for name in names if bias_of(first.get_submodule(name)) is None] if shift else []
    notes = {"corrected": list(names), "not_shifted": unbiased, "left_out": list(found.left_out)}
    return Corrector(run, {**notes, "images": data.count})


def restore(model: nn.Module, goals: Mapping[str, ChannelGoal], data: Batches, *, shift: bool) -> nn.Module:
    """Return a copy of `model` in which the modules of `goals` have the goals' std and, if `shift`, mean.

    Correcting one layer changes the inputs of later layers. Therefore one pass measures all layers, and immediately
    corrects each layer's output to the parents' statistics on the same batch. Afterwards the scale and shift computed
    over all batches are folded into weight and bias. The result is exact for one batch; for several batches, most of
    the noise between them cancels. Norms stay in the network; BatchNorm's running statistics become those of its new
    input. A layer without a bias is only scaled.
    """
    twin = copy.deepcopy(model).eval()
    sums: dict[str, list[ChannelSums]] = {name: [] for name in goals}

    def correct(name: str, module: nn.Module, output: Tensor) -> Tensor:
        """Forward hook: return the module's output, of any shape, with the parents' statistics on this batch."""
        sums[name].append(channel_sums(module, output))
        goal = goals[name].calls[len(sums[name]) - 1]
        scale, offset = _affine(module, sums[name][-1].statistics, goal, shift)
        shape = [1] * output.dim()
        shape[channel_dim(module, output)] = -1
        return (output * scale.to(output.dtype).view(shape)).add_(offset.to(output.dtype).view(shape))

    others = [name for name in batch_norms(twin) if name not in goals]  # BatchNorm without an affine part is only reset
    run_all = passes(twin, data)
    with batch_norm_in_training(twin, others), hooked(twin, list(goals), correct):
        run_all()
    for name, goal in goals.items():
        module, statistics = twin.get_submodule(name), pooled_statistics(sums[name])
        scale, offset = _affine(module, statistics, goal.overall, shift)
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            _renew(module, statistics)
        _fold(module, scale, offset)
    return twin


def _goal(parents: Sequence[Sequence[ChannelSums]], weights: Sequence[float]) -> ChannelGoal:
    calls = zip(*([call.statistics for call in parent] for parent in parents), strict=True)
    return ChannelGoal(
        _mean([pooled_statistics(parent) for parent in parents], weights), tuple(_mean(c, weights) for c in calls)
    )


def _mean(parts: Sequence[ChannelStatistics], weights: Sequence[float]) -> ChannelStatistics:
    shares = torch.tensor(weights, dtype=torch.float64, device=parts[0].mean.device)
    mean = shares @ torch.stack([part.mean for part in parts])
    std = shares @ torch.stack([part.std for part in parts])
    return ChannelStatistics(mean, std.clamp_min(0))  # beyond an endpoint, a negative weight can give a negative std


def _affine(module: Any, now: ChannelStatistics, goal: ChannelStatistics, shift: bool) -> tuple[Tensor, Tensor]:
    """Return the scale and offset, (channels,) each, that change the statistics `now` into those of the goal."""
    scale = torch.where(now.std > FLAT * goal.std, goal.std / now.std, 1.0)
    if bias_of(module) is None:
        return scale, torch.zeros_like(scale)
    return scale, (goal.mean if shift else now.mean) - scale * now.mean


def _fold(module: Any, scale: Tensor, offset: Tensor) -> None:
    """Write y -> scale * y + offset into the module's weight and bias."""
    weight, bias = module.weight, bias_of(module)
    shape = [1] * weight.dim()
    shape[unit_dim(module)] = -1
    with torch.no_grad():
        weight.copy_(weight.double() * scale.view(shape))
        if bias is not None:
            bias.copy_(bias.double() * scale + offset)


def _renew(module: Any, output: ChannelStatistics) -> None:
    """Set a BatchNorm's running statistics to its input's, computed from its output's; its function does not change."""
    mean, variance, weight, bias = (
        t.detach().double() for t in (module.running_mean, module.running_var, module.weight, module.bias)
    )
    slope = weight / (variance + module.eps).sqrt()
    live = slope.abs() > 0
    new_mean = torch.where(live, mean + (output.mean - bias) / slope, mean)
    new_variance = torch.where(live, (output.std / slope).square(), variance)
    with torch.no_grad():
        module.running_mean.copy_(new_mean)
        module.running_var.copy_(new_variance)
        module.weight.copy_(slope * (new_variance + module.eps).sqrt())
        module.bias.copy_(bias + slope * (new_mean - mean))
