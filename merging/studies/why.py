"""Why a merge works or fails: variance, layers' shares of the barrier, weights, confidence, and lost images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from merging.results.reports import Metrics
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Subject, study

if TYPE_CHECKING:
    from merging.analysis.causes.spectra import Alike
    from merging.network.data import Batches

NETS = ("A", "pi(B)", "naive", "average", "merge")
LOST = 24  # images shown


@saved
@dataclass(frozen=True)
class Why:
    """Measurements of one merge; L layers with units, W weights, B blocks of layers.

    layers: torch names.  variance: net -> (L,) mean variance of the units' activations over the mean of A's and
    pi(B)'s.  blocks, share, error: (B,) nats of the barrier half-way (the plain average of A and pi(B), nothing
    corrected) that each block of layers causes, and its standard error; total: their sum; orders: sampled.
    weights: names.  alignment, distance: (2, W) of A with B, and of A with pi(B): singular vectors, relative L2.
    scores, confidence: net -> Metrics, mean confidence; "ensemble" too.  calibration: net -> (3, 15) count, confidence,
    accuracy a bin.  lost: test-image numbers that both parents get right and the merge gets wrong, the surest mistakes
    first; lost_as: what the merge calls them.  both_right, lost_count, gained_count: of `images`; gained: both wrong,
    the merge right.
    """

    layers: tuple[str, ...]
    variance: dict[str, np.ndarray]
    blocks: tuple[str, ...]
    share: np.ndarray
    error: np.ndarray
    total: float
    orders: int
    weights: tuple[str, ...]
    alignment: np.ndarray
    distance: np.ndarray
    scores: dict[str, Metrics]
    confidence: dict[str, float]
    calibration: dict[str, np.ndarray]
    lost: tuple[int, ...]
    lost_as: tuple[int, ...]
    both_right: int
    lost_count: int
    gained_count: int
    images: int


@dataclass(frozen=True)
class WhySettings:
    """How many images and orders."""

    images: int = setting(1000, low=100, high=10_000, label="Images", help="Test images that are measured.")
    orders: int = setting(
        16, low=2, high=256, label="Orders", help="Random orders of layers, and their reverses, for their shares."
    )


@study(
    "why",
    label="Why this merge works or fails",
    summary="Variance collapse, each layer's share of the barrier, singular vectors, confidence, lost images.",
    source="Jordan et al. 2023 (variance); Shapley 1953 (shares); Ito et al. 2025 (singular vectors); Guo et al. 2017",
    settings=WhySettings,
)
def why(subject: Subject, settings: WhySettings) -> Why:
    """Everything the page on a run's reasons shows. The shares take most of the time: they run 2 x orders x blocks
    x 2 evaluations of half the images."""
    from merging.analysis.activations.read import named_layers
    from merging.analysis.causes.attribution import attribute
    from merging.analysis.path.predictions import answers
    from merging.network.permutation import named_tensors

    nets, data = subject.nets, subject.images(settings.images)
    half, average = subject.images(max(settings.images // 2, 100)), named_tensors(nets["average"])
    how: dict[str, Any] = {"orders": settings.orders, "seed": subject.seed, "report": subject.part(0, 0.7)}
    found = attribute(nets["A"], nets["pi(B)"], average, half, **how)
    subject.report("studying", 0.7, "how widely units vary")
    variance = _variance(subject, data)
    subject.report("studying", 0.85, "weights and answers")
    pairs = _spectra(subject)
    said = {name: answers([net], data) for name, net in nets.items() if name != "pi(B)"}
    said["ensemble"] = answers([nets["A"], nets["B"]], data)
    right = {name: one.right for name, one in said.items()}
    lost = np.flatnonzero(right["A"] & right["B"] & ~right["merge"])
    lost = lost[np.argsort(-said["merge"].confidence[lost], kind="stable")]
    numbers = data.order.numpy() if data.order is not None else np.arange(data.count)
    return Why(
        layers=tuple(layer.name for layer in named_layers(subject.graph, None)),
        variance=variance,
        blocks=found.blocks,
        share=found.share,
        error=found.error,
        total=found.total,
        orders=found.orders,
        weights=tuple(one.name for one in pairs[0]),
        alignment=np.array([[one.alignment for one in pair] for pair in pairs]),
        distance=np.array([[one.distance for one in pair] for pair in pairs]),
        scores={name: one.score for name, one in said.items()},
        confidence={name: float(one.confidence.mean()) for name, one in said.items()},
        calibration={name: one.calibration() for name, one in said.items()},
        lost=tuple(numbers[lost[:LOST]].tolist()),
        lost_as=tuple(said["merge"].guess[lost[:LOST]].tolist()),
        both_right=int((right["A"] & right["B"]).sum()),
        lost_count=len(lost),
        gained_count=int((~right["A"] & ~right["B"] & right["merge"]).sum()),
        images=data.count,
    )


def _variance(subject: Subject, data: Batches) -> dict[str, np.ndarray]:
    from merging.analysis.causes.variance import variances

    spread = {n: np.array([float(v.mean()) for v in variances(subject.graph, subject.nets[n], data)]) for n in NETS}
    parents = (spread["A"] + spread["pi(B)"]) / 2
    return {name: _ratio(values, parents) for name, values in spread.items()}


def _spectra(subject: Subject) -> list[tuple[Alike, ...]]:
    """A's weights with B's, and with pi(B)'s."""
    from merging.analysis.causes.spectra import compare_weights

    weights = [{n: p.detach() for n, p in subject.nets[net].named_parameters()} for net in ("A", "B", "pi(B)")]
    return [compare_weights(weights[0], other) for other in weights[1:]]


def _ratio(values: np.ndarray, parents: np.ndarray) -> np.ndarray:
    return np.divide(values, parents, out=np.full_like(values, np.nan), where=parents > 0)
