"""Nonlinearities that units have learned: the modules that hold them, and their curves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def learned_nonlinearities(net: nn.Module) -> dict[str, nn.Module]:
    """Name -> module, for modules that apply a separate learned function to each unit, such as PReLU per channel.

    Such a module has no submodules and no buffers, and every parameter is (units,). On trial inputs, each output
    depends nonlinearly on the same unit's input and on nothing else, for one image as for several.
    """
    return {name: module for name, module in net.named_modules() if (units := _units(module)) and _bends(module, units)}


@torch.no_grad()
def learned_curves(modules: Mapping[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    """Name -> (units, points): values of each unit's function at x (points,), in float32 on the CPU."""
    curves = {}
    for name, module in modules.items():
        like = next(module.parameters())
        points = x.to(like)[:, None].expand(-1, len(like)).contiguous()
        curves[name] = module(points).T.float().cpu()
    return curves


def _units(module: nn.Module) -> int:
    """Common length of all parameters of the module; 0 where they are not one number per unit."""
    shapes = {tuple(parameter.shape) for parameter in module.parameters()}
    alone = next(module.children(), None) is None and next(module.buffers(), None) is None
    lengths = [shape[0] for shape in shapes if len(shape) == 1]
    return lengths[0] if alone and len(shapes) == len(lengths) == 1 and lengths[0] > 1 else 0


@torch.no_grad()
def _bends(module: nn.Module, units: int) -> bool:
    like = next(module.parameters())
    a, b = (torch.randn(2, 4, units, generator=torch.Generator().manual_seed(0)) * 2).to(like)
    other = torch.where(torch.arange(units, device=like.device) % 2 == 0, a, b)
    try:
        first, second, mixed, alone = (module(x) for x in (a, b, other, a[:1]))
        middle = module((a + b) / 2)
    except (RuntimeError, ValueError, IndexError):  # the module does not accept inputs (n, units)
        return False
    even = torch.arange(units, device=like.device) % 2 == 0
    by_unit = first.shape == a.shape and torch.allclose(mixed, torch.where(even, first, second), atol=1e-5)
    by_image = by_unit and torch.allclose(alone, first[:1], atol=1e-5)
    return by_image and not torch.allclose(middle, (first + second) / 2, atol=1e-5)
