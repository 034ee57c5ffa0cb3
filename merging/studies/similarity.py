"""Similarity of two networks of a merge, layer by layer, by every measure, with reasons to doubt single values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.intervals import finite_mean
from merging.results.reports import SimilarityMap
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

PAIRS = ("A-B", "A-pi(B)", "A-merge", "B-merge", "A-average", "B-average", "A-naive", "B-naive")
BESIDE = ("A-C", "B-C")  # with a network that was not merged, which shows the effect of another seed alone
FLATTENED = 512  # images: a layer's n x n Gram and its features are held at once
APART = 0.3  # CKA is doubted if it differs more from neighbours, Procrustes, or CKA without the top 1 %
FIRST = 0.8  # share of variance in one direction above which CKA reflects that direction alone
WHY = {
    "trimmed": "few images decide: without the 1 % of images with the most leverage, CKA changes by more than .3",
    "neighbours": "CKA misses a similarity: the share of common neighbours is higher by more than .3",
    "procrustes": "another measure disagrees: CKA and Procrustes differ by more than .3",
    "first": "one direction decides: more than 80 % of a layer's variance lies in it",
    "chance": "CKA is not above chance: shuffled images give as high a value",
}


@saved
@dataclass(frozen=True)
class Similarities:
    """Maps of one pair of networks by several measures.

    Attributes:
        maps: measure -> SimilarityMap, all of one shape (rows, columns).
        labels: measure -> its displayed name.
        distrust: (rows, columns) reasons for doubt, as keys of WHY joined by ", "; "" for a cell without doubt.
        first: (2, layers) share of variance in the first principal component, of the rows' and the columns' network.
    """

    maps: dict[str, SimilarityMap]
    labels: dict[str, str]
    distrust: tuple[tuple[str, ...], ...]
    first: np.ndarray


@dataclass(frozen=True)
class SimilaritySettings:
    """Pair of networks, treatment of convolutions, and number of images."""

    pair: str = setting("A-pi(B)", choices=(*PAIRS, *BESIDE), label="Networks", help="Networks of rows and columns.")
    treatment: str = setting(
        "pooled",
        choices=("pooled", "flattened"),
        label="Convolutions",
        help="Averaged over positions, or position by position (at most 512 images).",
    )
    images: int = setting(1000, low=50, high=4000, label="Images", help="Number of test images to use.")


def doubts(cka: float, trimmed: float, neighbours: float, procrustes: float, first: float) -> tuple[str, ...]:
    """Keys of WHY that speak against a CKA value, after Davari et al. 2023; () where none does.

    Neighbours count only where they show a similarity that CKA misses. The opposite is normal, no reason for doubt:
    networks with a CKA of .97 share half to three quarters of their neighbours.
    first: the larger share of variance in the first principal component of the two layers.
    """
    if np.isnan(cka):
        return ()
    checks = [
        ("trimmed", abs(cka - trimmed) > APART),
        ("neighbours", abs(cka - neighbours) > APART and neighbours > cka),
        ("procrustes", abs(cka - procrustes) > APART),
        ("first", first > FIRST),
    ]
    return tuple(name for name, speaks in checks if speaks)


@study(
    "similarity",
    label="Similarity by every measure",
    summary="CKA in four forms, Procrustes, SVCCA and mutual nearest neighbours, for all pairs of layers.",
    source="Kornblith et al. 2019; Williams et al. 2021; Raghu et al. 2017; Huh et al. 2024; Davari et al. 2023",
    settings=SimilaritySettings,
    page="similarity",
    places=("pair",),
    takes_other=True,
    numbers={
        "cka": Number(
            "Mean CKA of the same layer in A and π(B)", lambda found: finite_mean(np.diagonal(found.maps["cka"].values))
        ),
        "doubted": Number(
            "Share of CKA values with a reason for doubt",
            lambda found: float(np.mean([bool(cell) for row in found.distrust for cell in row])),
            share=True,
        ),
    },
)
def similarity_study(subject: Subject, settings: SimilaritySettings) -> Similarities:
    """Compute all measures for every pair of layers of two networks, on a random sample of test images.

    Memory: images x features of both networks in float64, and images^2 per layer for neighbours and the RBF kernel.
    """
    from merging.analysis.activations.features import read_layers
    from merging.analysis.activations.read import named_layers
    from merging.analysis.similarity.measures import MEASURES, Side, map_of
    from merging.network.permutation import named_tensors

    count = min(settings.images, FLATTENED) if settings.treatment == "flattened" else settings.images
    data, flat = subject.images(count), settings.treatment == "flattened"
    row, _, column = settings.pair.partition("-")
    subject.need(row, column)
    sides = [
        [Side(x) for x in read_layers(subject.graph, named_tensors(subject.nets[name]), data, flat=flat)]
        for name in (row, column)
    ]
    layers = tuple(layer.name for layer in named_layers(subject.graph, None))
    maps, labels = {}, {}
    for number, (key, (label, _)) in enumerate(MEASURES.items()):
        subject.report("studying", (number + 1) / (len(MEASURES) + 1), label)
        values, labels[key] = map_of(key, *sides), label
        maps[key] = SimilarityMap(values, layers, layers, row, column, key, data.count, settings.treatment)
    first = np.array([[side.first_component for side in own] for own in sides])
    cells = np.stack([maps[key].values for key in ("cka", "cka-trimmed", "knn", "procrustes")], -1)
    distrust = tuple(
        tuple(", ".join(doubts(*map(float, (*cells[i, j], max(first[0, i], first[1, j]))))) for j in range(len(layers)))
        for i in range(len(layers))
    )
    return Similarities(maps, labels, distrust, first)
