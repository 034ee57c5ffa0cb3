"""Task arithmetic: add the experts' task vectors (expert minus base) to their common base network."""

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
class TaskArithmeticSettings:
    """Settings: scale of the task vectors."""

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
    "task-arithmetic",
    label="Task arithmetic",
    paper="Ilharco et al.: Editing Models with Task Arithmetic (ICLR 2023)",
    link="https://arxiv.org/abs/2212.04089",
    summary="Adds to a base network what each expert learned since it started from there.",
    limits="Only for experts fine-tuned from one base network. Task vectors that contradict each other cancel.",
    settings=TaskArithmeticSettings,
    needs_base=True,
    ends=False,
)
def task_arithmetic(problem: Problem, settings: TaskArithmeticSettings) -> Combiner:
    """Combine as theta_0 + scale * sum_k n weights[k] (theta_k - theta_0), n the number of models.

    Equal weights give the paper's sum of task vectors.
    Notes of the combination: `scale`, `lengths` (norms) of the task vectors, and the curve of the scale's selection
    where it was selected.
    """
    from merging.methods.algorithms.task_vectors import scaled_sum

    return scaled_sum(problem, summed, lambda number, vector: vector, settings.scale, plain=0.4)


def summed(vectors: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return n times the weighted sum of n vectors, name -> tensor of their shapes: the plain sum for equal weights."""
    shares = [len(vectors) * weight for weight in weights]
    return {
        name: sum(((share * vector[name]) for share, vector in zip(shares, vectors, strict=True)), start=0 * first)
        for name, first in vectors[0].items()
    }
