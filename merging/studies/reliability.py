"""Reliability of one CKA value: chance level, single images, single directions, other measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.cell_evidence import CellEvidence
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study
from merging.studies.similarity import BESIDE, FLATTENED, PAIRS, WHY, doubts

HEAVY = 0.25  # leverage above which a single image dominates the value
NARROW = 0.2  # a wider interval means too few images


@saved
@dataclass(frozen=True)
class Reliability(CellEvidence):
    """Evidence about one cell of a similarity map.

    Attributes:
        pair: as in PAIRS.
        layers: names of the row's and the column's layer.
        treatment: "pooled" or "flattened".
        dominant: numbers of the test images with the largest leverage.
    """

    pair: str
    layers: tuple[str, str]
    treatment: str

    @property
    def doubts(self) -> tuple[str, ...]:
        """Readable reasons against trusting the value; () where there are none."""
        names = list(doubts(self.value, self.trimmed, self.neighbours, self.procrustes, max(self.first)))
        chance = ["chance"] if not self.value > self.null else []
        words = [WHY[name] for name in [*chance, *names]]
        if max(self.leverage) > HEAVY:
            words.append(f"one image alone has {100 * max(self.leverage):.0f} % of all leverage")
        if self.high - self.low > NARROW:
            words.append(f"the interval is wide ({self.low:.2f} to {self.high:.2f}): take more images")
        return tuple(words)

    @property
    def light(self) -> str:
        """ "green": no reason against the value; "amber": one; "red": several, or not above chance."""
        doubts = self.doubts
        if not doubts and not np.isnan(self.value):
            return "green"
        return "amber" if len(doubts) == 1 and self.value > self.null else "red"


@dataclass(frozen=True)
class ReliabilitySettings:
    """Map, cell, number of images and number of draws."""

    pair: str = setting("A-pi(B)", choices=(*PAIRS, *BESIDE), label="Networks", help="Networks of row and column.")
    row: str = setting("", label="Row's layer", help="The layer's name in torch; if empty, the first layer.")
    column: str = setting("", label="Column's layer", help="The layer's name in torch; if empty, the row's layer.")
    treatment: str = setting(
        "pooled", choices=("pooled", "flattened"), label="Convolutions", help="Averaged over positions, or flattened."
    )
    images: int = setting(2000, low=50, high=4000, label="Images", help="Test images.")
    draws: int = setting(100, low=20, high=2000, label="Draws", help="Half-samples, and the least number of shuffles.")


@study(
    "reliability",
    label="Reliability of a similarity",
    summary="Interval, chance level, dominant images and directions, and other measures, for one CKA value.",
    source="Davari et al.: Reliability of CKA as a Similarity Measure in Deep Learning (ICLR 2023)",
    settings=ReliabilitySettings,
    page="similarity",
    places=(
        "pair",
        "row",
        "column",
    ),
    takes_other=True,
    version=2,
    numbers={
        "cka": Number("CKA of the first layer, A and π(B)", lambda found: found.value),
        "chance": Number("Chance level of CKA in the first layer", lambda found: found.null),
    },
)
def reliability(subject: Subject, settings: ReliabilitySettings) -> Reliability:
    """Examine one cell of a map; each network runs only up to its layer. Raises UnknownLayer."""
    from merging.analysis.activations.features import read_layers
    from merging.analysis.activations.read import named_layers
    from merging.analysis.similarity.reliability import examine
    from merging.network.permutation import named_tensors

    flat = settings.treatment == "flattened"
    data = subject.images(min(settings.images, FLATTENED) if flat else settings.images)
    names = settings.pair.partition("-")[::2]
    subject.need(*names)
    row = subject.graph.layer(settings.row) if settings.row else named_layers(subject.graph, None)[0]
    layers = (row, subject.graph.layer(settings.column) if settings.column else row)
    features = [
        read_layers(subject.graph, named_tensors(subject.nets[name]), data, [layer], flat=flat)[0]
        for name, layer in zip(names, layers, strict=True)
    ]
    evidence = examine(*features, draws=settings.draws, seed=subject.seed, report=subject.part(0.2, 1.0))
    dominant = evidence.dominant if data.order is None else tuple(data.order[list(evidence.dominant)].tolist())
    names_read = (layers[0].name, layers[1].name)
    cell = {"pair": settings.pair, "layers": names_read, "treatment": settings.treatment, "dominant": dominant}
    return Reliability(**{**vars(evidence), **cell})
