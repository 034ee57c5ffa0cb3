"""DARE: drop most of what each expert learned, rescale the rest, and add it up."""

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
    """How much is dropped, and how far to go."""

    drop: float = setting(
        0.9,
        label="Drop",
        low=0.0,
        high=0.99,
        step=0.05,
        help="The chance that an entry of a task vector is dropped; the others are divided by one minus it.",
    )
    scale: float = setting(
        0.0,
        label="Scale",
        low=0.0,
        high=3.0,
        step=0.1,
        help="How much of each task vector is added. 0 chooses it on held-out training images; without any it is 0.4.",
    )


@method(
    "combine",
    "dare",
    label="DARE",
    paper="Yu et al.: Language Models are Super Mario (ICML 2024)",
    link="https://arxiv.org/abs/2311.03099",
    summary="Drops a random part of what each expert learned, makes up for it in the rest, and adds that to the base.",
    limits="Only for experts fine-tuned from one base network. Made for large models with tiny changes: small networks "
    "with large ones lose by it. The result depends on the seed.",
    settings=DareSettings,
    needs_base=True,
    ends=False,
)
def dare(problem: Problem, settings: DareSettings) -> Combiner:
    """Task arithmetic on task vectors whose entries are dropped with probability `drop` and rescaled (Section 3.2).

    Notes: `scale`, `lengths` of the thinned task vectors, and how the scale was chosen where it was.
    """
    from merging.methods.algorithms.task_vectors import scaled_sum
    from merging.methods.combine.task_arithmetic import summed

    def thin(number: int, vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A model's task vector, name -> tensor of its parameters' shapes, thinned by a seed of its own."""
        return thinned(vector, settings.drop, [problem.seed, number])

    return scaled_sum(problem, summed, thin, settings.scale, plain=0.4)


def thinned(vector: Mapping[str, Tensor], drop: float, seed: list[int]) -> dict[str, Tensor]:
    """Each entry nought with probability `drop`, else divided by 1 - drop, so that its mean stays; shapes are kept.

    Drawn on the CPU, so that every device drops the same.
    """
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    found = {}
    for name, tensor in vector.items():
        kept = torch.from_numpy(rng.random(tuple(tensor.shape)) >= drop).to(tensor.device)
        found[name] = torch.where(kept, tensor / (1 - drop), 0)
    return found
