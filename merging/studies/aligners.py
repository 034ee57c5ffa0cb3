"""Weight, activation and straight-through alignment of the same pair, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merging.results.reports import Metrics
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

if TYPE_CHECKING:
    from torch import nn

COMPARED = ("none", "weight-matching", "activation-matching", "straight-through")


@saved
@dataclass(frozen=True)
class Aligners:
    """Measures of K aligners, each taken on the plain average of A and pi(B) without correction.

    Attributes:
        keys, labels: keys and labels of the aligners.
        scores: key -> Metrics on test images.
        distance: (K,) |A - pi(B)| divided by |A - B|.
        alignment: (K,) alignment of singular vectors, mean over weights.
        variance: (K, L) mean variance of each layer's units, divided by the parents' mean.
        layers: torch names.
        moved: (K,) share of units that pi moves to another place.
        images: number of test images.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    scores: dict[str, Metrics]
    distance: np.ndarray
    alignment: np.ndarray
    variance: np.ndarray
    layers: tuple[str, ...]
    moved: np.ndarray
    images: int


@dataclass(frozen=True)
class AlignersSettings:
    """Number of images."""

    images: int = setting(
        0, low=0, high=10_000, label="Images", help="Number of test images, 0 for all of the merge's."
    )


@study(
    "aligners",
    label="Alignments side by side",
    summary="Loss, distances, spectra and variance without alignment, and aligned in three ways.",
    source="Ainsworth et al.: Git Re-Basin (ICLR 2023), Algorithms 1 and 2, Section 3.1",
    settings=AlignersSettings,
    page="why",
    long=True,
    numbers={
        "weights": Number(
            "Distance after weight matching, relative to |A − B|",
            lambda found: float(found.distance[found.keys.index("weight-matching")]),
        ),
        "activations": Number(
            "Distance after activation matching, relative to |A − B|",
            lambda found: float(found.distance[found.keys.index("activation-matching")]),
        ),
    },
)
def aligners(subject: Subject, settings: AlignersSettings) -> Aligners:
    """Align B to A with each aligner at its default settings, and measure the average of the two."""
    from merging.analysis.activations.read import named_layers
    from merging.analysis.causes.spectra import compare_weights
    from merging.analysis.causes.variance import variances
    from merging.analysis.path.evaluation import evaluate
    from merging.methods.registry import find
    from merging.pipeline.merge import prepare

    a, b = subject.nets["A"], subject.nets["B"]
    data, train = subject.images(settings.images), subject.data["train"]
    parents = sum(np.array([float(v.mean()) for v in variances(subject.graph, net, data)]) for net in (a, b)) / 2
    weights = {name: p.detach() for name, p in a.named_parameters()}
    start = _distance(a, b)
    rows, scores = [], {}
    for number, key in enumerate(COMPARED):
        piece = subject.part(number / len(COMPARED), (number + 1) / len(COMPARED))
        prepared = prepare([a, b], align=key, data=train, seed=subject.seed, report=piece)
        average, aligned = prepared.merge().merged, prepared.problem.aligned[1]
        scores[key] = evaluate(average, data)
        spectra = compare_weights(weights, {name: p.detach() for name, p in aligned.named_parameters()})
        spread = np.array([float(v.mean()) for v in variances(subject.graph, average, data)])
        changes = [p.cpu().numpy() != np.arange(len(p)) for p in prepared.alignment.permutations[1].values()]
        rows.append(
            (
                _distance(a, aligned) / start if start else float("nan"),
                float(np.nanmean([one.alignment for one in spectra])),
                np.divide(spread, parents, out=np.full_like(spread, np.nan), where=parents > 0),
                float(np.concatenate(changes).mean()) if changes else 0.0,
            )
        )
    distance, alignment, variance, moved_share = (np.array(column) for column in zip(*rows, strict=True))
    labels = tuple(find("align", key).label for key in COMPARED)
    layers = tuple(layer.name for layer in named_layers(subject.graph, None))
    return Aligners(COMPARED, labels, scores, distance, alignment, variance, layers, moved_share, data.count)


def _distance(a: nn.Module, b: nn.Module) -> float:
    """L2 distance of all parameters."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return float(sum((p.detach().double() - q.detach().double()).square().sum() for p, q in pairs)) ** 0.5
