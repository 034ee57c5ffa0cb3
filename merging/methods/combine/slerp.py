"""SLERP: spherical linear interpolation, which preserves the norm of the weights; averaging reduces the norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from merging.methods.problem import Combiner
from merging.methods.registry import method
from merging.settings import NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from merging.methods.problem import Problem

ALIGNED = 1e-4  # radians: below this angle, the arc is almost a straight line, and the formula would divide by almost 0


@method(
    "combine",
    "slerp",
    label="SLERP",
    paper="Shoemake: Animating Rotation with Quaternion Curves (SIGGRAPH 1985); used for weights since model soups",
    link="https://doi.org/10.1145/325165.325242",
    summary="Interpolates weight tensors along an arc instead of a straight line, which preserves their norm.",
    limits="Each tensor is interpolated separately. Several models are merged one after another, so their order "
    "matters. Opposite tensors have no shortest arc and are interpolated linearly. Running statistics are averaged.",
)
def slerp(problem: Problem, settings: NoSettings) -> Combiner:
    """Combine every parameter as (sin((1-t) w) A + sin(t w) B) / sin w, w the angle between the two flattened tensors.

    Models join one by one: model k joins the models before it at t = weights[k] / (weights[0] + ... + weights[k]).
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

    merged = weighted_mean(models, weights)  # the final value for buffers, such as running statistics
    pairs = [(weight, tensors) for weight, tensors in zip(weights, models, strict=True) if weight != 0]
    for name in parameters:
        total, first = pairs[0]
        point = first[name]
        for weight, tensors in pairs[1:]:
            total += weight
            point = arc_point(point, tensors[name], weight / total)
        merged[name] = point.clone()
    return merged


def arc_point(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Return the point at t (0 is a, 1 is b) on the arc between two tensors of one shape, in their dtype.

    The straight line replaces the arc where a tensor is zero, or where the two have the same or opposite directions.
    Angle and sum are computed in float64.
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
