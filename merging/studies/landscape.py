"""The loss landscape on the plane through A, B and pi(B), or any third network of their structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Subject, study

RESET = "statistics reset at every point"


@saved
@dataclass(frozen=True)
class Landscape:
    """Loss (nats) and accuracy (0..1) over a plane of weights.

    x: (X,), y: (Y,) L2 distance in weights along B - A and orthogonal to it.  loss, accuracy: (Y, X).  measured: (Y, X)
    bool, False where neighbours agreed and the value is theirs.  points: name -> (x, y, distance from the plane, loss,
    accuracy).  batch_norm: how its statistics were treated, in words.  images: how many test images.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    measured: np.ndarray
    points: dict[str, tuple[float, float, float, float, float]]
    batch_norm: str
    images: int


@dataclass(frozen=True)
class LandscapeSettings:
    """How finely, on how many images, and what happens to BatchNorm."""

    resolution: int = setting(21, low=5, high=61, step=2, label="Points a side", help="An odd number.")
    images: int = setting(500, low=50, high=10_000, label="Images", help="Test images that every point is measured on.")
    reset: bool = setting(
        True,
        label="Reset BatchNorm",
        help="Take BatchNorm's statistics anew at every point but the corners; else they are interpolated.",
    )


@study(
    "landscape",
    label="Loss landscape",
    summary="The loss and the accuracy on the plane of weights through A, B and π(B), or another network.",
    source="Garipov et al.: Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs (NeurIPS 2018)",
    settings=LandscapeSettings,
    takes_other=True,
    version=2,
)
def landscape(subject: Subject, settings: LandscapeSettings) -> Landscape:
    """The plane of A, B and pi(B), or of A, B and C where that is named, with the merge and the naive average marked
    where they lie nearest to and, but for the corners, measured with BatchNorm treated as at every other point."""
    from merging.analysis.path.evaluation import evaluate
    from merging.analysis.path.plane import surface
    from merging.network.batch_norm import batch_norms, reset_batch_norm
    from merging.network.permutation import named_tensors

    nets, data = subject.nets, subject.images(settings.images)
    normed = bool(batch_norms(nets["A"]))
    train = subject.images(settings.images, "train") if settings.reset and normed else None
    corners = ("A", "B", "C" if "C" in nets else "pi(B)")
    found, values = surface(
        [nets[name] for name in corners],
        data,
        resolution=settings.resolution,
        reset=train,
        report=subject.part(0.0, 0.97),
    )
    points = {}
    for name in (*corners, "naive", "merge"):
        net = nets[name] if train is None or name in corners else reset_batch_norm(nets[name], train)
        measured = evaluate(net, data)
        points[name] = (*found.place(named_tensors(nets[name])), measured.loss, measured.accuracy)
    treatment = RESET if train is not None else "statistics interpolated like weights"
    return Landscape(
        values.x,
        values.y,
        values.loss,
        values.accuracy,
        values.measured,
        points,
        f"BatchNorm: {treatment}" if normed else "no BatchNorm",
        data.count,
    )
