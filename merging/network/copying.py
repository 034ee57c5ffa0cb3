"""Deep copies of networks, with a readable error for networks that cannot be copied."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from merging.errors import UnsupportedOperation

_REMEDIES = {
    BasePruningMethod: "torch.nn.utils.prune.remove(layer, {0!r})",
    WeightNorm: "torch.nn.utils.remove_weight_norm(layer, {0!r})",
    SpectralNorm: "torch.nn.utils.remove_spectral_norm(layer, {0!r})",
}


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of the model in eval mode.

    Raises:
        UnsupportedOperation: when the model cannot be copied, or is the output of torch.jit or torch.compile instead of
            the network itself. The message says what to pass instead.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedOperation(
            "This is a TorchScript program. Give the nn.Module that it was compiled from, with the same weights."
        )
    if isinstance(model._modules.get("_orig_mod"), nn.Module):
        raise UnsupportedOperation("This is the output of torch.compile. Give the original network: `net._orig_mod`.")
    try:
        return copy.deepcopy(model).eval()
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError) as error:
        reason = _remade(model) or str(error).strip().splitlines()[0][:300]
        raise UnsupportedOperation(f"The network cannot be copied: {reason}") from error


def _remade(model: nn.Module) -> str:
    """Return a sentence about the first layer whose hook recomputes a weight before each pass, or "" if there is none.

    torch cannot deep-copy such a layer. The sentence names the function that removes the hook.
    """
    for path, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            for kind, call in _REMEDIES.items():
                if isinstance(hook, kind):
                    name = getattr(hook, "name", None) or getattr(hook, "_tensor_name", "weight")
                    return f"its layer {path} recomputes {name} before each pass. Call {call.format(name)} first."
    return ""
