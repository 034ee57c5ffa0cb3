"""Loss landscape on the plane through A, B and pi(B), or through A, B and a third network of the same structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

RESET = "statistics reset at every point"


@saved
@dataclass(frozen=True)
class Landscape:
    """Loss (nats) and accuracy (0..1) over a plane of weights.

    Attributes:
        x, y: (X,) and (Y,), L2 distance in weights along B - A and orthogonal to it.
        loss, accuracy: (Y, X).
        measured: (Y, X) bool, False where neighbours agreed and the value is their mean.
        points: name -> (x, y, distance from the plane, loss, accuracy), measured on all test images of the merge.
        batch_norm: readable description of the treatment of BatchNorm's statistics.
        images: number of test images per point of the grid.
        point_images: number of test images for `points`.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    measured: np.ndarray
    points: dict[str, tuple[float, float, float, float, float]]
    batch_norm: str
    images: int
    point_images: int


@dataclass(frozen=True)
class LandscapeSettings:
    """Resolution, number of images, and treatment of BatchNorm."""

    resolution: int = setting(21, low=5, high=61, step=2, label="Points per side", help="An odd number.")
    images: int = setting(500, low=50, high=10_000, label="Images", help="Number of test images per point of the grid.")
    reset: bool = setting(
        True,
        label="Reset BatchNorm",
        help="Recompute BatchNorm's statistics at every point except the corners; otherwise interpolate them.",
    )


@study(
    "landscape",
    label="Loss landscape",
    summary="The loss and the accuracy on the plane of weights through A, B and π(B), or another network.",
    source="Garipov et al.: Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs (NeurIPS 2018)",
    settings=LandscapeSettings,
    page="landscape",
    other_parameter="third",
    takes_other=True,
    version=3,
    long=True,
    numbers={
        "lowest": Number("Lowest loss on the plane (nats)", lambda found: float(np.nanmin(found.loss))),
    },
)
def landscape(subject: Subject, settings: LandscapeSettings) -> Landscape:
    """Measure the plane through A, B and pi(B), or through A, B and C if the request names C.

    The networks themselves are measured on all test images of the merge, so that their accuracies are those of its
    report; the grid on fewer, because it has hundreds of points.

    The merge and the naive average are marked at the points of the plane that are nearest to them. Their BatchNorm is
    treated as on the grid; the corners are measured unchanged.
    """
    from merging.analysis.path.evaluation import evaluate
    from merging.analysis.path.plane import surface
    from merging.network.batch_norm import batch_norms, reset_batch_norm
    from merging.network.permutation import named_tensors

    nets, data = subject.nets, subject.images(settings.images)
    has_batch_norm = bool(batch_norms(nets["A"]))
    train = subject.images(settings.images, "train") if settings.reset and has_batch_norm else None
    corners = ("A", "B", "C" if "C" in nets else "pi(B)")
    axes, values = surface(
        [nets[name] for name in corners],
        data,
        resolution=settings.resolution,
        reset=train,
        report=subject.part(0.0, 0.97),
    )
    points, every = {}, subject.images(0)
    for name in (*corners, "naive", "merge"):
        net = nets[name] if train is None or name in corners else reset_batch_norm(nets[name], train)
        score = evaluate(net, every)
        points[name] = (*axes.place(named_tensors(nets[name])), score.loss, score.accuracy)
    treatment = RESET if train is not None else "statistics interpolated like weights"
    return Landscape(
        values.x,
        values.y,
        values.loss,
        values.accuracy,
        values.measured,
        points,
        f"BatchNorm: {treatment}" if has_batch_norm else "no BatchNorm",
        data.count,
        every.count,
    )
