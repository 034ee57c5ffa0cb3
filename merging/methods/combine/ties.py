"""TIES: trim small changes, elect a sign for every parameter, and average the experts that agree with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.problem import Combiner, Problem


@dataclass(frozen=True)
class TiesSettings:
    """Settings: share of each task vector's entries to keep, and scale of the merged vector."""

    keep: float = setting(
        0.2,
        label="Keep",
        low=0.001,
        high=1.0,
        step=0.05,
        help="The share of each task vector's entries that is kept, largest first; the other entries are set to 0.",
    )
    scale: float = setting(
        0.0,
        label="Scale",
        low=0.0,
        high=3.0,
        step=0.1,
        help="The factor of the merged vector. 0 chooses the factor on held-out training images, or 1 without images.",
    )


@method(
    "combine",
    "ties",
    label="TIES",
    paper="Yadav et al.: TIES-Merging: Resolving Interference When Merging Models (NeurIPS 2023)",
    link="https://arxiv.org/abs/2306.01708",
    summary="Keeps each expert's largest changes, elects a sign per parameter, and averages the changes of that sign.",
    limits="Only for experts fine-tuned from one base network. With two experts, the larger change sets the sign.",
    settings=TiesSettings,
    needs_base=True,
    ends=False,
)
def ties(problem: Problem, settings: TiesSettings) -> Combiner:
    """Combine as theta_0 + scale * disjoint mean of the trimmed task vectors (Algorithm 1).

    The models' weights apply to the votes for a sign and to the mean.
    Notes of the combination: as for `task_arithmetic`, with the `lengths` of the trimmed task vectors.
    """
    from merging.methods.algorithms.task_vectors import scaled_sum

    return scaled_sum(problem, agreed, lambda number, vector: trimmed(vector, settings.keep), settings.scale, plain=1.0)


def trimmed(vector: Mapping[str, Tensor], keep: float) -> dict[str, Tensor]:
    """Return the vector with only its largest entries, a share `keep` over all tensors; the others become 0.

    vector: name -> tensor, of any shape.
    """
    import torch

    sizes = torch.cat([tensor.abs().flatten() for tensor in vector.values()])
    count = max(1, round(keep * len(sizes)))
    least = sizes.kthvalue(len(sizes) - count + 1).values
    return {name: torch.where(tensor.abs() >= least, tensor, 0) for name, tensor in vector.items()}


def agreed(vectors: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return, per entry, the weighted mean over the vectors with the elected sign, which is that of the weighted sum.

    vectors: one dict per model, name -> tensor. The result has the same names and shapes, and is 0 where the weighted
    sum is 0.
    """
    import torch

    merged = {}
    for name in vectors[0]:
        pairs = [(weight, vector[name]) for weight, vector in zip(weights, vectors, strict=True)]
        sign = torch.stack([weight * tensor for weight, tensor in pairs]).sum(0).sign()
        votes = [(weight, torch.where((tensor.sign() == sign) & (sign != 0), tensor, 0)) for weight, tensor in pairs]
        total = torch.stack([weight * tensor for weight, tensor in votes]).sum(0)
        share = torch.stack([weight * (tensor != 0) for weight, tensor in votes]).sum(0)
        merged[name] = torch.where(share > 0, total / share, 0)
    return merged
