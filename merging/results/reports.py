"""Results of merges and trainings: frozen values of numpy arrays and JSON types, without tensors.

Workers create them. The web process, the command line and notebooks read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Metric = Literal["loss", "accuracy", "ece"]
FORMAT = 1  # increase by hand when the meaning of a saved value changes


@dataclass(frozen=True)
class Metrics:
    """One evaluation: mean cross-entropy in nats per image, accuracy in 0..1, calibration error (15 bins) in 0..1.

    images: number of images, or of predictions where a network predicts at several positions; 0 if it was not recorded.
    """

    loss: float
    accuracy: float
    ece: float
    images: int = 0


@dataclass(frozen=True)
class Barrier:
    """Largest rise of a metric above the ends of a path (for accuracy: the largest fall below them).

    Attributes:
        height: the rise, in the metric's unit.
        at: lambda of the rise.
    """

    height: float
    at: float


@dataclass(frozen=True)
class LossCurve:
    """Metrics along a path from A (lambda 0) to B (lambda 1).

    Attributes:
        lambdas, loss, accuracy, ece: (P,) float64, one value per evaluated point.
        ends: metrics of the raw checkpoints A and B on the same images. An uncorrected curve has the same values at
            lambda 0 and 1.
        split: "train" or "test".
        images: number of images.
        correct: key of the correction that was applied at every point, or "none".
    """

    lambdas: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    ece: np.ndarray
    ends: tuple[Metrics, Metrics]
    split: str = "test"
    images: int = 0
    correct: str = "none"

    def barrier(self, metric: Metric = "loss", *, above: Literal["mean", "chord"] = "mean") -> Barrier:
        """Compute the barrier, which is negative if the whole path stays below its ends.

        above: "mean" of the ends (Ainsworth et al. 2023, Def. 2.1), or the "chord" between them (Entezari et al. 2022,
        eq. 1).
        """
        values = getattr(self, metric)
        first, last = (getattr(end, metric) for end in self.ends)
        base = np.full_like(values, (first + last) / 2) if above == "mean" else first + self.lambdas * (last - first)
        rise = (base - values) if metric == "accuracy" else (values - base)
        peak = int(np.argmax(rise))
        return Barrier(float(rise[peak]), float(self.lambdas[peak]))

    @property
    def at_middle(self) -> Metrics:
        """All metrics at the evaluated point closest to lambda = 1/2."""
        return Metrics(self.middle("loss"), self.middle("accuracy"), self.middle("ece"), self.images)

    def middle(self, metric: Metric = "loss") -> float:
        """One metric at the evaluated point closest to lambda = 1/2."""
        return float(getattr(self, metric)[int(np.argmin(np.abs(self.lambdas - 0.5)))])


@dataclass(frozen=True)
class PathPoints:
    """What the networks at the P points of every path predict for K images, and how much their L layers vary.

    Attributes:
        images: (K,) int64, numbers of the test images.
        labels: (K,) int64, their classes.
        guess: path -> (P, K, G) int32, the most probable classes, most probable first.
        probability: path -> (P, K, G) float32, their probabilities.
        layers: torch names.
        variance: path -> (P, L) float32, mean variance of a layer's units over images and positions, divided by the
            interpolation (1 - lambda) A + lambda B of the parents'; NaN where that is 0.
        count: number of images on which variances were measured.
    """

    images: np.ndarray
    labels: np.ndarray
    guess: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    layers: tuple[str, ...]
    variance: dict[str, np.ndarray]
    count: int


@dataclass(frozen=True)
class SimilarityMap:
    """Similarity of every pair of layers of two networks.

    Attributes:
        values: (rows, columns) float64, NaN where undefined; never clamped.
        row_layers, column_layers: torch layer names in network order.
        row, column: the networks that these layers belong to ("A", "pi(B)", "merge").
        estimator: the similarity measure.
        images: number of images.
        treatment: how convolutional activations are treated: "pooled" over positions, or "flattened".
    """

    values: np.ndarray
    row_layers: tuple[str, ...]
    column_layers: tuple[str, ...]
    row: str
    column: str
    estimator: str
    images: int
    treatment: str = "pooled"


@dataclass(frozen=True)
class LayerUnits:
    """Measurements of every unit of one layer on the data set: U units, K exemplars, M models.

    Attributes:
        partner: (U,) int64, the unit of B that was matched to A's unit i.
        match: (U,) Pearson correlation of A's unit i and pi(B)'s unit i over images and positions; NaN for dead units.
        std: (M, U) standard deviation of the activation.
        peak: (M, U) largest mean activation over the positions of an image.
        dead: (M, U) bool, whether the activation, or its value after the nonlinearity that follows the layer, is the
            same for all images.
        exemplars: (M, U, K) int64 numbers of the images with the largest activations, in descending order.
        exemplar_values: (M, U, K) the unit's activations for these images.
        exemplar_places: (M, U, K, 2) relative centre (row, column) in 0..1 of the position with the largest activation.
        images: number of images. 0 if nothing could be measured: then all values except `partner` are NaN, and K is 0.
        patch: receptive field of one position as a share of the image's side; 1 for linear layers.
        models: the names of the M models, in order.
        seen_mean, seen_most: (M, U) mean and largest, over images, of the response after the nonlinearity that follows
            the layer (the layer itself if none does), at the strongest position of each image. Empty in results of
            earlier versions.
    """

    layer: str
    kind: str
    units: int
    positions: tuple[int, ...]
    partner: np.ndarray
    match: np.ndarray
    std: np.ndarray
    peak: np.ndarray
    dead: np.ndarray
    exemplars: np.ndarray
    exemplar_values: np.ndarray
    exemplar_places: np.ndarray
    images: int
    patch: float = 1.0
    models: tuple[str, ...] = ("A", "pi(B)", "merge", "naive")
    seen_mean: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    seen_most: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True)
class LayerInfo:
    """A layer that can be displayed: torch name, kind (conv, linear, norm ...), units, positions, group or ""."""

    name: str
    kind: str
    units: int
    positions: tuple[int, ...]
    group: str = ""


@dataclass(frozen=True)
class UnitPicture:
    """A feature-visualization image of one unit.

    Attributes:
        pixels: (H, W, C) float32 in 0..1.
        objective: value of the objective for this image.
        start: value of the objective for the initial, random image.
        how: the settings of the optimisation.
        response: the unit's response to this image, at its strongest position, after the nonlinearity; NaN in results
            of earlier versions.
    """

    pixels: np.ndarray
    objective: float
    start: float
    how: dict[str, Any]
    response: float = float("nan")


@dataclass(frozen=True)
class MergeReport:
    """All results of one merge run.

    Attributes:
        layers: every layer in network order (present even if there are no images).
        groups: permutation group -> (units, units that moved).
        equivalence: largest difference of the outputs of B and pi(B), relative to the largest output, in float64.
        curves: "naive" | "aligned" | "corrected" -> split -> LossCurve. Empty without images and for 3 or more models.
        ensemble: split -> Metrics of the ensemble, which averages the networks' probabilities.
        scores: "A", "B" ..., "naive", "merge" -> split -> Metrics. Empty without images.
        similarity: "A-B", "A-pi(B)", "A-merge", "B-merge" -> SimilarityMap.
        units: one LayerUnits per layer.
        permutation: group -> (units,) int64.
        notes: stage -> what its method recorded, such as objective, restarts and spread.
        seconds: stage -> duration.
        memory: peak bytes that the worker used (on the GPU if there is one), 0 if unknown.
        missing: the reason why there are no curves, or "".
        points: predictions and variances along the curves; None without curves, for networks of unequal widths, for
            labels per position, and in results of earlier versions.
    """

    request: dict[str, Any]
    layers: tuple[LayerInfo, ...]
    groups: dict[str, tuple[int, int]]
    equivalence: float
    curves: dict[str, dict[str, LossCurve]] = field(default_factory=dict)
    ensemble: dict[str, Metrics] = field(default_factory=dict)
    scores: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    similarity: dict[str, SimilarityMap] = field(default_factory=dict)
    units: tuple[LayerUnits, ...] = ()
    permutation: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    memory: int = 0
    missing: str = ""
    points: PathPoints | None = None
    format: int = FORMAT


@dataclass(frozen=True)
class TrainReport:
    """Result of a training. history: one dict per epoch (epoch, train_loss).  images: number of training images."""

    name: str
    checkpoint: str  # sha256 of the safetensors file
    accuracy: float
    loss: float
    history: tuple[dict[str, float], ...]
    seconds: float
    machine: dict[str, str] = field(default_factory=dict)
    images: int = 0
    format: int = FORMAT
