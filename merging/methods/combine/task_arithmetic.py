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
        help="The factor of each task vector. 0 chooses the factor on held-out training images, or 0.4 without images.",
    )


@method(
    "combine",
    "task-arithmetic",
    label="Task arithmetic",
    paper="Ilharco et al.: Editing Models with Task Arithmetic (ICLR 2023)",
    link="https://arxiv.org/abs/2212.04089",
    summary="Adds the weight changes of all experts to their common base network.",
    limits="Only for experts fine-tuned from one base network. Task vectors that contradict each other cancel.",
    settings=TaskArithmeticSettings,
    needs_base=True,
    ends=False,
)
def task_arithmetic(problem: Problem, settings: TaskArithmeticSettings) -> Combiner:
    """Combine as theta_0 + scale * sum_k n weights[k] (theta_k - theta_0), n the number of models.

    Equal weights give the paper's sum of task vectors.
    Notes of the combination: `scale`; `lengths` (norms) of the task vectors; if the scale was selected, `chosen`,
    `tried` (pairs of scale and held-out loss) and the number of `images` used.
    """
    from merging.methods.algorithms.task_vectors import scaled_sum

    return scaled_sum(problem, summed, lambda number, vector: vector, settings.scale, plain=0.4)


def summed(vectors: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """Return n times the weighted sum of n vectors, name -> tensor of their shapes: the sum if weights are equal."""
    shares = [len(vectors) * weight for weight in weights]
    return {
        name: sum(((share * vector[name]) for share, vector in zip(shares, vectors, strict=True)), start=0 * first)
        for name, first in vectors[0].items()
    }
