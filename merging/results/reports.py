"""Results of merges and trainings: frozen values of numpy arrays and JSON, without tensors.

Workers make them; the web process, the command line and notebooks read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Metric = Literal["loss", "accuracy", "ece"]
FORMAT = 1  # raised by hand when the meaning of a saved value changes


@dataclass(frozen=True)
class Metrics:
    """One evaluation: mean cross-entropy in nats an image; accuracy and calibration error (ECE, 15 bins) in 0..1."""

    loss: float
    accuracy: float
    ece: float


@dataclass(frozen=True)
class Barrier:
    """How far the path rises above its ends (for accuracy: falls below), in the metric's unit, and at which lambda."""

    height: float
    at: float


@dataclass(frozen=True)
class LossCurve:
    """Metrics along the straight line from A (lambda 0) to B (lambda 1).

    lambdas, loss, accuracy, ece: (P,) float64. ends: the raw checkpoints A and B on the same images; an uncorrected
    curve starts and stops exactly there. split: "train" or "test"; images: how many.
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
        """The barrier: above the mean of the ends (Ainsworth et al. 2023, Def. 2.1), or above the chord between
        them (Entezari et al. 2022, eq. 1). May be negative where the path stays below."""
        values = getattr(self, metric)
        first, last = (getattr(end, metric) for end in self.ends)
        base = np.full_like(values, (first + last) / 2) if above == "mean" else first + self.lambdas * (last - first)
        rise = (base - values) if metric == "accuracy" else (values - base)
        peak = int(np.argmax(rise))
        return Barrier(float(rise[peak]), float(self.lambdas[peak]))

    @property
    def at_middle(self) -> Metrics:
        """All metrics at the evaluated point nearest to lambda = 1/2."""
        return Metrics(self.middle("loss"), self.middle("accuracy"), self.middle("ece"))

    def middle(self, metric: Metric = "loss") -> float:
        """The metric at the evaluated point nearest to lambda = 1/2."""
        return float(getattr(self, metric)[int(np.argmin(np.abs(self.lambdas - 0.5)))])


@dataclass(frozen=True)
class SimilarityMap:
    """Layer-by-layer similarity. values: (rows, columns) float64, NaN where undefined; never clamped.

    row_layers, column_layers: torch layer names in network order; row, column: whose layers ("A", "pi(B)", "merge");
    treatment: how convolutional activations were read ("pooled" over positions, or "flattened").
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
    """Facts about every unit of one layer, measured on the data set. U units, K exemplars, M models in `models`' order.

    partner: (U,) int64, B's unit that was matched to A's unit i.  match: (U,) Pearson correlation of A's unit i and
    pi(B)'s unit i over images and positions; NaN for a dead unit.  std: (M, U) standard deviation of the activation.
    peak: (M, U) largest value over the images of the picture objective (mean over positions).  dead: (M, U) bool, it
    answers all images alike.  exemplars: (M, U, K) int64 image numbers by falling activation; exemplar_values: (M, U,
    K); exemplar_places: (M, U, K, 2) relative centre (row, column) in 0..1 of the strongest position.  images: 0 where
    nothing could be measured: then only `partner` is known, the rest is NaN, and K is 0.
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
    patch: float = 1.0  # share of the image's side that one position sees (receptive field), 1 for linear layers
    models: tuple[str, ...] = ("A", "pi(B)", "merge", "naive")


@dataclass(frozen=True)
class LayerInfo:
    """A layer one can look into: torch name, kind (conv, linear, norm ...), units, positions, group or ""."""

    name: str
    kind: str
    units: int
    positions: tuple[int, ...]
    group: str = ""


@dataclass(frozen=True)
class UnitPicture:
    """A feature-visualization image of one unit. pixels: (H, W, C) float32 in 0..1.

    objective: its value at the picture; start: at the first, random image; how: the settings it was made with.
    """

    pixels: np.ndarray
    objective: float
    start: float
    how: dict[str, Any]


@dataclass(frozen=True)
class MergeReport:
    """Everything a run found. curves: "naive" | "aligned" | "corrected" -> split -> LossCurve (empty without images and
    for more than two models).

    ensemble: split -> Metrics of the mean of the nets' probabilities.  scores: "A", "B" ..., "naive", "merge" -> split
    -> Metrics (empty without images).  similarity: "A-B", "A-pi(B)", "A-merge",
    "B-merge".  units: one LayerUnits a layer.  layers: every layer in network order (known without images too).
    equivalence: max |B - pi(B)| over the outputs, relative, in float64.  groups: name -> (units, units that moved).
    notes: objective, restarts, spread and the like, by stage.  memory: the most bytes that the worker held meanwhile
    (of the GPU where there is one), 0 where not known.  missing: why there are no curves, or "".
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
    format: int = FORMAT


def letter(number: int) -> str:
    """What a model of a merge is called by its place: A, B, C ..."""
    return "ABCDEFGHIJ"[number]


@dataclass(frozen=True)
class TrainReport:
    """A finished training on the worker. history: one dict an epoch (epoch, train_loss); images: it trained on."""

    name: str
    checkpoint: str  # sha256 of the safetensors file
    accuracy: float
    loss: float
    history: tuple[dict[str, float], ...]
    seconds: float
    machine: dict[str, str] = field(default_factory=dict)
    images: int = 0
    format: int = FORMAT
