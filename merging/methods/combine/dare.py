"""DARE: drop most entries of each expert's task vector at random, rescale the others, and add all to the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from merging.methods.registry import method
from merging.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from merging.methods.problem import Combiner, Problem


@dataclass(frozen=True)
class DareSettings:
    """Settings: drop probability and scale of the task vectors."""

    drop: float = setting(
        0.9,
        label="Drop",
        low=0.0,
        high=0.99,
        step=0.05,
        help="The probability p of dropping an entry of a task vector; the other entries are divided by 1 - p.",
    )
    scale: float = setting(
        0.0,
        label="Scale",
        low=0.0,
        high=3.0,
        step=0.1,
        help="The factor of each task vector. 0 chooses the factor on held-out training images, or 0.4 without images.",
    )


@method(
    "combine",
    "dare",
    label="DARE",
    paper="Yu et al.: Language Models are Super Mario (ICML 2024)",
    link="https://arxiv.org/abs/2311.03099",
    summary="Drops random entries of each expert's task vector, rescales the rest, and adds the vectors to the base.",
    limits="Only for experts fine-tuned from one base network. Made for large models whose weights changed "
    "little; small networks with large changes lose accuracy. The result depends on the seed.",
    settings=DareSettings,
    needs_base=True,
    ends=False,
)
def dare(problem: Problem, settings: DareSettings) -> Combiner:
    """Apply task arithmetic to task vectors with entries dropped with probability `drop` and rescaled (Section 3.2).

    Notes of the combination: as for `task_arithmetic`, with the `lengths` of the thinned task vectors.
    """
    from merging.methods.algorithms.task_vectors import scaled_sum
    from merging.methods.combine.task_arithmetic import summed

    def thin(number: int, vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return model `number`'s task vector, name -> tensor of any shape, thinned with a separate seed per model."""
        return thinned(vector, settings.drop, [problem.seed, number])

    return scaled_sum(problem, summed, thin, settings.scale, plain=0.4)


def thinned(vector: Mapping[str, Tensor], drop: float, seed: list[int]) -> dict[str, Tensor]:
    """Set each entry to 0 with probability `drop` and divide the others by 1 - drop, which keeps the expected value.

    Each tensor keeps its shape. Random numbers are drawn on the CPU, so that every device drops the same entries.
    """
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    tensors = {}
    for name, tensor in vector.items():
        mask = torch.from_numpy(rng.random(tuple(tensor.shape)) >= drop).to(tensor.device)
        tensors[name] = torch.where(mask, tensor / (1 - drop), 0)
    return tensors
