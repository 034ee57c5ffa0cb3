"""Causes of a merge's success or failure: variance, shares of the barrier, weights, confidence, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from merging.results.intervals import finite_mean
from merging.results.reports import Metrics
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

if TYPE_CHECKING:
    from merging.analysis.causes.spectra import Alike
    from merging.network.data import Batches

NETS = ("A", "pi(B)", "naive", "average", "merge")
LOST = 24  # largest number of images in `Why.lost`


@saved
@dataclass(frozen=True)
class Why:
    """Measurements of one merge; L is the number of layers that have units, W of weights, B of blocks of layers.

    Attributes:
        layers: torch names.
        variance: network -> (L,) mean variance of the units' activations, divided by the mean of A's and pi(B)'s.
        blocks: names of the blocks of layers.
        share: (B,) each block's share of the barrier at the midpoint, in nats, for the plain average of A and pi(B)
            without correction.
        error: (B,) nats, standard error of `share`.
        total: sum of the shares.
        orders: number of sampled orders of the blocks, for the shares.
        weights: names of the weights.
        alignment: (2, W) alignment of the singular vectors of A with B, and of A with pi(B).
        distance: (2, W) relative L2 distance of the same pairs of weights.
        scores: network -> Metrics, also for "ensemble".
        confidence: network -> mean confidence, also for "ensemble".
        calibration: network -> (3, 15) count, confidence and accuracy per bin.
        lost: indices of test images that both parents get right and the merge gets wrong, most confident errors first.
        lost_as: the classes that the merge predicts for the images in `lost`.
        both_right: number of images, out of `images`, that both parents get right.
        lost_count: number of images that both parents get right and the merge gets wrong.
        gained_count: number of images that both parents get wrong and the merge gets right.
        images: number of test images.
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
    """Numbers of images and of orders."""

    images: int = setting(
        0, low=0, high=10_000, label="Images", help="Number of test images, 0 for all of the merge's."
    )
    share_images: int = setting(
        500, low=50, high=10_000, label="Images for shares", help="Number of test images for the shares of the barrier."
    )
    orders: int = setting(
        16, low=2, high=256, label="Orders", help="Number of random orders of layers, each also reversed, for shares."
    )


@study(
    "why",
    label="Why this merge works or fails",
    summary="Variance collapse, each layer's share of the barrier, singular vectors, confidence, the merge's errors.",
    source="Jordan et al. 2023 (variance); Shapley 1953 (shares); Ito et al. 2025 (singular vectors); Guo et al. 2017",
    settings=WhySettings,
    page="why",
    numbers={
        "variance": Number(
            "Variance of units, relative to the networks'",
            lambda found: finite_mean(found.variance["merge"]),
            lambda found: finite_mean(found.variance["naive"]),
        ),
        "singular_vectors": Number(
            "Alignment of singular vectors, A and π(B)",
            lambda found: finite_mean(found.alignment[1]),
        ),
        "confidence": Number(
            "Mean confidence of the merge",
            lambda found: found.confidence["merge"],
            lambda found: found.confidence["naive"],
            share=True,
        ),
        "lost": Number("Images only the merge gets wrong", lambda found: found.lost_count / found.images, share=True),
        "gained": Number(
            "Images only the merge gets right", lambda found: found.gained_count / found.images, share=True
        ),
    },
)
def why(subject: Subject, settings: WhySettings) -> Why:
    """Compute all measurements of Why.

    The blocks' shares take most of the time: 2 x orders x blocks x 2 evaluations of `share_images` images.
    """
    from merging.analysis.activations.read import named_layers
    from merging.analysis.causes.attribution import attribute
    from merging.analysis.path.predictions import answers
    from merging.network.permutation import named_tensors

    nets, data = subject.nets, subject.images(settings.images)
    few, average = subject.images(settings.share_images), named_tensors(nets["average"])
    how: dict[str, Any] = {"orders": settings.orders, "seed": subject.seed, "report": subject.part(0, 0.7)}
    shares = attribute(nets["A"], nets["pi(B)"], average, few, **how)
    subject.report("studying", 0.7, "variance of the units")
    variance = _variance(subject, data)
    subject.report("studying", 0.85, "weights and predictions")
    pairs = _spectra(subject)
    outputs = {name: answers([net], data) for name, net in nets.items() if name != "pi(B)"}
    outputs["ensemble"] = answers([nets["A"], nets["B"]], data)
    right = {name: one.right for name, one in outputs.items()}
    lost = np.flatnonzero(right["A"] & right["B"] & ~right["merge"])
    lost = lost[np.argsort(-outputs["merge"].confidence[lost], kind="stable")]
    numbers = data.order.numpy() if data.order is not None else np.arange(data.count)
    return Why(
        layers=tuple(layer.name for layer in named_layers(subject.graph, None)),
        variance=variance,
        blocks=shares.blocks,
        share=shares.share,
        error=shares.error,
        total=shares.total,
        orders=shares.orders,
        weights=tuple(one.name for one in pairs[0]),
        alignment=np.array([[one.alignment for one in pair] for pair in pairs]),
        distance=np.array([[one.distance for one in pair] for pair in pairs]),
        scores={name: one.score for name, one in outputs.items()},
        confidence={name: float(one.confidence.mean()) for name, one in outputs.items()},
        calibration={name: one.calibration() for name, one in outputs.items()},
        lost=tuple(numbers[lost[:LOST]].tolist()),
        lost_as=tuple(outputs["merge"].guess[lost[:LOST]].tolist()),
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
    """Similarity of A's weights with B's, and with pi(B)'s."""
    from merging.analysis.causes.spectra import compare_weights

    weights = [{n: p.detach() for n, p in subject.nets[net].named_parameters()} for net in ("A", "B", "pi(B)")]
    return [compare_weights(weights[0], other) for other in weights[1:]]


def _ratio(values: np.ndarray, parents: np.ndarray) -> np.ndarray:
    return np.divide(values, parents, out=np.full_like(values, np.nan), where=parents > 0)
