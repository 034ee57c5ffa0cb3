"""Evidence over all layers: how far the merge's units follow their parents', against seed noise, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from merging.results.intervals import bootstrap, finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.layer import SLOTS, LayerSettings, layer, layer_of, layers_with_partners
from merging.studies.registry import Number, Subject, study
from merging.studies.units import PARENTS, WORDS, answers_to, outcome, pictures_of

if TYPE_CHECKING:
    from merging.network.graph.graph import Layer

MEASURES = {
    "cross": "response to the parent's picture (0: mean over images, 1: largest)",
    "overlap": "share of the nine strongest images in common",
    "pixels": "pixel correlation of the pictures",
}
ROWS = ("merge", "naive", "parents", "noise")
MOST = 100_000  # largest number of units per layer, and of layers
ALL_UNITS = {"units": MOST, "layers": MOST}  # settings that take all units of all layers
IMAGES = 2000


@saved
@dataclass(frozen=True)
class Evidence:
    """Measures of N units, sampled from every layer with weights; NaN where undefined.

    Each row of `values` compares units. "merge": the merge's unit with A's and with pi(B)'s unit, mean of both.
    "naive": the naive average's unit with A's and with B's unit of the same number, mean of both. "parents": A's unit
    with pi(B)'s, mean of both directions. "noise": A's and pi(B)'s unit, each with its own second picture, mean of
    both; NaN for "overlap", which uses no pictures.

    Attributes:
        layers: torch names.
        layer: (N,) index into `layers`.
        unit: (N,) number of the unit.
        match: (N,) correlation of the activations of A's unit and of its partner in B.
        values: key of MEASURES -> row -> (N,).
        fates: "merge" and "naive" -> N keys of `studies.units.WORDS`.
        images: number of test images.
        steps: optimisation steps per picture.
        seed: random seed of the samples and resamples.
    """

    layers: tuple[str, ...]
    layer: np.ndarray
    unit: np.ndarray
    match: np.ndarray
    values: dict[str, dict[str, np.ndarray]]
    fates: dict[str, tuple[str, ...]]
    images: int
    steps: int
    seed: int

    def interval(self, measure: str, row: str, layer: int | None = None) -> tuple[float, float, float]:
        """Mean over units (of one layer, if given) and its 95 % interval over resampled units; NaN if all are NaN."""
        values = self.values[measure][row]
        return bootstrap(values if layer is None else values[self.layer == layer], self.seed)

    def gain(self, measure: str) -> tuple[float, float, float]:
        """Mean and interval of the difference per unit, merge minus naive.

        The differences are paired, because units differ more from each other than the two merges do.
        """
        return bootstrap(self.values[measure]["merge"] - self.values[measure]["naive"], self.seed)

    def shares(self, row: str) -> dict[str, float]:
        """Key of WORDS -> share of the units with that fate in the merge or naive average, in order of WORDS."""
        return {word: self.fates[row].count(word) / max(len(self.fates[row]), 1) for word in WORDS}

    def fates_of(self, layer: str, units: Sequence[int]) -> dict[int, str]:
        """Unit -> its fate in the merge, for those of these units of a layer that were measured."""
        at = self.layers.index(layer) if layer in self.layers else -1
        known = {int(self.unit[row]): self.fates["merge"][row] for row in np.flatnonzero(self.layer == at)}
        return {unit: known[unit] for unit in units if unit in known}


def _share(word: str) -> Number:
    """The share of units with this fate."""
    return Number(
        f"Share of units {word}",
        lambda found: found.shares("merge")[word],
        lambda found: found.shares("naive")[word],
        share=True,
    )


@dataclass(frozen=True)
class EvidenceSettings:
    """Number of units per layer, of layers, and of steps per picture. MOST takes all units or all layers."""

    units: int = setting(
        16,
        low=2,
        high=MOST,
        label="Units per layer",
        help="Drawn at random among the units that are dead in neither parent.",
    )
    layers: int = setting(6, low=1, high=MOST, label="Layers", help="At most this many, spread over the depth.")
    steps: int = setting(128, low=16, high=4096, label="Steps", help="Number of optimisation steps per picture.")


@study(
    "evidence",
    label="Does it hold?",
    summary="How much the merge's units follow their parents' units in all layers, compared with seed noise.",
    source="Borowski et al. 2021 (exemplars); cross-activation and the seed baseline are this program's own",
    settings=EvidenceSettings,
    page="neurons",
    version=3,
    long=True,
    numbers={
        **{word: _share(word) for word in WORDS},
        "response": Number(
            "Response to the networks' pictures (0: mean image, 1: largest)",
            lambda found: finite_mean(found.values["cross"]["merge"]),
            lambda found: finite_mean(found.values["cross"]["naive"]),
        ),
    },
)
def evidence(subject: Subject, settings: EvidenceSettings) -> Evidence:
    """Measure a sample of units from every chosen layer, in ten passes of pictures per layer and per 16 units.

    Memory: images x units of one layer, and the pictures of its units, in five networks.
    """
    named, _ = layers_with_partners(subject)
    with_weights = [one for one in named if one.kind in ("conv", "linear")] or named
    every = np.unique(
        np.linspace(0, len(with_weights) - 1, min(settings.layers, len(with_weights))).round().astype(int)
    )
    layers, rng = [with_weights[at] for at in every], np.random.default_rng(subject.seed)
    ends = np.cumsum([0, *(min(settings.units, one.units) for one in layers)])
    pieces = [subject.reported(start, end) for start, end in pairwise((ends / ends[-1]).tolist())]
    samples = [_sampled(piece, place, settings, rng) for piece, place in zip(pieces, layers, strict=True)]
    return Evidence(
        layers=tuple(one.name for one in layers),
        layer=np.concatenate([np.full(len(one.unit), at) for at, one in enumerate(samples)]),
        unit=np.concatenate([one.unit for one in samples]),
        match=np.concatenate([one.match for one in samples]),
        values={
            measure: {row: np.concatenate([one.values[measure][row] for one in samples]) for row in ROWS}
            for measure in MEASURES
        },
        fates={row: tuple(word for one in samples for word in one.fates[row]) for row in PARENTS},
        images=subject.images(IMAGES).count,
        steps=settings.steps,
        seed=subject.seed,
    )


@dataclass(frozen=True)
class _Sampled:
    """Measures of K units of one layer.

    Attributes:
        unit: (K,) numbers.
        match: (K,) activation correlations with the partners.
        values: measure -> row -> (K,).
        fates: row -> K keys of WORDS.
    """

    unit: np.ndarray
    match: np.ndarray
    values: dict[str, dict[str, np.ndarray]]
    fates: dict[str, tuple[str, ...]]


def _sampled(subject: Subject, place: Layer, settings: EvidenceSettings, rng: np.random.Generator) -> _Sampled:
    """Measures of a random sample of units that are dead in neither parent."""
    from merging.analysis.pictures.settings import PictureSettings, pixel_correlation

    facts = layer(subject.reported(0.0, 0.04), LayerSettings(place.name, IMAGES))
    alive = np.flatnonzero(~facts.dead[:2].any(0))
    unit_numbers = np.sort(rng.permutation(alive)[: settings.units])
    nothing = np.full(len(unit_numbers), np.nan)
    if len(unit_numbers) == 0:
        values = {measure: dict.fromkeys(ROWS, nothing) for measure in MEASURES}
        return _Sampled(unit_numbers, nothing, values, dict.fromkeys(PARENTS, ()))
    how, numbers = PictureSettings(steps=settings.steps), tuple(unit_numbers.tolist())
    partner = layer_of(subject, place.name)[1]
    pieces = (subject.reported(0.04, 0.5), subject.reported(0.5, 0.96))
    pictures = [
        pictures_of(piece, place, partner, numbers, how, subject.seed + number) for number, piece in enumerate(pieces)
    ]
    cross, own = answers_to(subject, place, numbers, *pictures)
    pixels = np.array([[pixel_correlation(x, y) for y in pictures[0]] for x in pictures[0]])
    noise = [pixel_correlation(x, y) for x, y in zip(*pictures, strict=True)]
    values = {
        "cross": _rows(cross, (own[0] + own[1]) / 2),
        "overlap": _rows(facts.overlap[:, :, unit_numbers], nothing),
        "pixels": _rows(pixels, (noise[0] + noise[1]) / 2),
    }
    fates = {
        row: tuple(
            outcome(cross[:, :, at], facts.response[:, :, unit], bool(facts.dead[SLOTS.index(row), unit]), row)[0]
            for at, unit in enumerate(numbers)
        )
        for row in PARENTS
    }
    return _Sampled(unit_numbers, facts.activation[0, 1, unit_numbers], values, fates)


def _rows(table: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
    """Values (K,) of each of ROWS, from a table (M, M, K) with rows and columns in order of SLOTS."""
    a, b, merge, naive, old = range(len(SLOTS))
    return {
        "merge": (table[merge, a] + table[merge, b]) / 2,
        "naive": (table[naive, a] + table[naive, old]) / 2,
        "parents": (table[a, b] + table[b, a]) / 2,
        "noise": noise,
    }
