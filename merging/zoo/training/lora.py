"""Low-rank adapters (LoRA, Hu et al. 2022): fine-tuning that adds a matrix of low rank to each weight."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """Parametrisation W + B A of a weight W (o, ...), with B (o, rank) and A (rank, numbers per output of W).

    B starts at 0, so that the training starts from W. The scale, alpha / rank in the paper, is 1.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        narrow = min(rank, rows, columns)
        self.a = nn.Parameter(torch.empty(narrow, columns, device=weight.device, dtype=weight.dtype))
        self.b = nn.Parameter(torch.zeros(rows, narrow, device=weight.device, dtype=weight.dtype))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the adapter's change."""
        return weight + (self.b @ self.a).view(weight.shape)


def add_adapters(module: nn.Module, rank: int) -> None:
    """Add an adapter to the weight of every linear layer and convolution, and freeze all other parameters."""
    module.requires_grad_(False)
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def fold_adapters(module: nn.Module) -> None:
    """Add what the adapters learned to the weights, and remove the adapters."""
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)  # type: ignore[arg-type]
    module.requires_grad_(True)


def folded_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Name -> tensor as after `fold_adapters`, without changing the module."""
    tensors = {name: value for name, value in module.state_dict().items() if ".parametrizations." not in f".{name}"}
    for name, layer in module.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            tensors[f"{name}.weight" if name else "weight"] = layer.weight
    return tensors
