"""SLERP: spherical linear interpolation, which keeps the length that averaging loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods.problem import Combiner
from merging.methods.registry import method
from merging.settings import NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from merging.methods.problem import Problem

ALIGNED = 1e-4  # radians: below it, the arc is the straight line and its sine would divide by nothing


@method(
    "combine",
    "slerp",
    label="SLERP",
    paper="Shoemake: Animating Rotation with Quaternion Curves (SIGGRAPH 1985); used for weights since model soups",
    link="https://doi.org/10.1145/325165.325242",
    summary="Walks along the arc between two weight tensors instead of the chord, so that their length is kept.",
    limits="Each tensor turns by itself. Several models are taken one after another, so their order matters. Opposite "
    "tensors have no shortest arc. Running statistics are averaged.",
)
def slerp(problem: Problem, settings: NoSettings) -> Combiner:
    """(sin((1-t) w) A + sin(t w) B) / sin w for every parameter, w the angle between A's and B's as flat vectors.

    weights: model k joins what is merged so far at t = weights[k] / (weights[0] + ... + weights[k]).
    """
    from merging.network.permutation import named_tensors

    del settings
    tensors = [named_tensors(model) for model in problem.aligned]
    parameters = [name for name, _ in problem.aligned[0].named_parameters()]
    return Combiner(lambda weights: _along_arcs(tensors, weights, parameters))


def _along_arcs(
    models: Sequence[Mapping[str, Tensor]], weights: Sequence[float], parameters: list[str]
) -> dict[str, Tensor]:
    from merging.methods.algorithms.averaging import weighted_mean

    merged = weighted_mean(models, weights)  # what is no parameter, such as running statistics, stays at that
    used = [(weight, tensors) for weight, tensors in zip(weights, models, strict=True) if weight != 0]
    for name in parameters:
        total, first = used[0]
        point = first[name]
        for weight, tensors in used[1:]:
            total += weight
            point = arc_point(point, tensors[name], weight / total)
        merged[name] = point.clone()
    return merged


def arc_point(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at t (0 is a, 1 is b) of the arc between two tensors of one shape, in their dtype.

    The straight line where either is zero or both point the same way or opposite ways. Angle and sum in float64.
    """
    import torch

    x, y = a.double(), b.double()
    lengths = x.norm() * y.norm()
    cosine = float((x * y).sum() / lengths) if lengths > 0 else 1.0
    angle = float(torch.tensor(cosine, dtype=torch.float64).clamp(-1, 1).arccos())
    if angle < ALIGNED or torch.pi - angle < ALIGNED:
        return ((1 - t) * x + t * y).to(a.dtype)
    near, far, whole = (torch.tensor(part * angle).sin().item() for part in (1 - t, t, 1.0))
    return ((near * x + far * y) / whole).to(a.dtype)
