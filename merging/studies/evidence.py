"""Does it hold? The pictures' story over all layers: who follows whom, against the noise of seeds, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from merging.results.saving import saved
from merging.settings import setting
from merging.studies.layer import SLOTS, LayerSettings, layer, layer_of, layers_with_partners
from merging.studies.registry import Subject, study
from merging.studies.units import PARENTS, WORDS, answers_to, outcome, pictures_of

if TYPE_CHECKING:
    from merging.network.graph.graph import Layer

MEASURES = {
    "cross": "response to the parent's picture (0: average image, 1: strongest)",
    "overlap": "share of the nine strongest images in common",
    "pixels": "pixel correlation of the pictures",
}
ROWS = ("merge", "naive", "parents", "noise")
MOST = 100_000  # units of a layer, and layers
RESAMPLES = 1000
IMAGES = 2000


@saved
@dataclass(frozen=True)
class Evidence:
    """N units, sampled from every layer with weights, in the measures of MEASURES; NaN where undefined.

    layer: (N,) which of `layers`; unit: (N,) its number.  match: (N,) activation correlation of A's unit and its
    partner.  values: measure -> row -> (N,): "merge", the mean of its unit to A's and to pi(B)'s; "naive", of the naive
    average's unit to A's and to B's at the same place; "parents", of A's and pi(B)'s to each other; "noise", of A's and
    of pi(B)'s to a second picture of their own, NaN for "overlap", which no picture enters.
    fates: "merge" and "naive" -> N words of `studies.units.WORDS`.
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
        """Mean over units (of one layer) and its 95 % interval by resampling units; NaN where nothing is known."""
        values = self.values[measure][row]
        return self._resampled(values if layer is None else values[self.layer == layer])

    def gain(self, measure: str) -> tuple[float, float, float]:
        """The same of each unit's difference, merge less naive: pairs, for the units differ more than the merges do."""
        return self._resampled(self.values[measure]["merge"] - self.values[measure]["naive"])

    def shares(self, row: str) -> dict[str, float]:
        """Word -> share of the units that fared so in the merge, or in the naive average; in the order of WORDS."""
        return {word: self.fates[row].count(word) / max(len(self.fates[row]), 1) for word in WORDS}

    def _resampled(self, values: np.ndarray) -> tuple[float, float, float]:
        known = values[~np.isnan(values)]
        if len(known) == 0:
            return (float("nan"),) * 3
        drawn = np.random.default_rng(self.seed).integers(0, len(known), (RESAMPLES, len(known)))
        low, high = np.quantile(known[drawn].mean(1), [0.025, 0.975])
        return float(known.mean()), float(low), float(high)


@dataclass(frozen=True)
class EvidenceSettings:
    """How many units of a layer, and how their pictures are made. MOST of both: all units of all layers."""

    units: int = setting(16, low=2, high=MOST, label="Units a layer", help="Drawn at random, living in both parents.")
    layers: int = setting(6, low=1, high=MOST, label="Layers", help="At most so many, spread over the depth.")
    steps: int = setting(128, low=16, high=4096, label="Steps", help="Optimisation steps of a picture.")


@study(
    "evidence",
    label="Does it hold?",
    summary="Over all layers: how much the merge's units follow their parents', against seed noise.",
    source="Borowski et al. 2021 (exemplars); cross-activation and the seed baseline are this program's own",
    settings=EvidenceSettings,
    version=2,
)
def evidence(subject: Subject, settings: EvidenceSettings) -> Evidence:
    """Ten passes of pictures a layer for every 16 of its units. Memory: images x units of one layer, and its units'
    pictures, in five networks."""
    named, _ = layers_with_partners(subject)
    weighty = [one for one in named if one.kind in ("conv", "linear")] or named
    every = np.unique(np.linspace(0, len(weighty) - 1, min(settings.layers, len(weighty))).round().astype(int))
    layers, rng = [weighty[at] for at in every], np.random.default_rng(subject.seed)
    ends = np.cumsum([0, *(min(settings.units, one.units) for one in layers)])
    pieces = [subject.reported(start, end) for start, end in pairwise((ends / ends[-1]).tolist())]
    sampled = [_sampled(piece, place, settings, rng) for piece, place in zip(pieces, layers, strict=True)]
    return Evidence(
        layers=tuple(one.name for one in layers),
        layer=np.concatenate([np.full(len(one.unit), at) for at, one in enumerate(sampled)]),
        unit=np.concatenate([one.unit for one in sampled]),
        match=np.concatenate([one.match for one in sampled]),
        values={
            measure: {row: np.concatenate([one.values[measure][row] for one in sampled]) for row in ROWS}
            for measure in MEASURES
        },
        fates={row: tuple(word for one in sampled for word in one.fates[row]) for row in PARENTS},
        images=subject.images(IMAGES).count,
        steps=settings.steps,
        seed=subject.seed,
    )


@dataclass(frozen=True)
class _Sampled:
    """Some units of one layer: (K,) numbers and match correlations, measure -> row -> (K,), row -> K words."""

    unit: np.ndarray
    match: np.ndarray
    values: dict[str, dict[str, np.ndarray]]
    fates: dict[str, tuple[str, ...]]


def _sampled(subject: Subject, place: Layer, settings: EvidenceSettings, rng: np.random.Generator) -> _Sampled:
    """Units that live in both parents, drawn at random, in all measures."""
    from merging.analysis.pictures.settings import PictureSettings, pixel_correlation

    seen = layer(subject.reported(0.0, 0.04), LayerSettings(place.name, IMAGES))
    alive = np.flatnonzero(~seen.dead[:2].any(0))
    drawn = np.sort(rng.permutation(alive)[: settings.units])
    nothing = np.full(len(drawn), np.nan)
    if len(drawn) == 0:
        values = {measure: dict.fromkeys(ROWS, nothing) for measure in MEASURES}
        return _Sampled(drawn, nothing, values, dict.fromkeys(PARENTS, ()))
    how, chosen = PictureSettings(steps=settings.steps), tuple(drawn.tolist())
    partner = layer_of(subject, place.name)[1]
    pieces = (subject.reported(0.04, 0.5), subject.reported(0.5, 0.96))
    made = [
        pictures_of(piece, place, partner, chosen, how, subject.seed + number) for number, piece in enumerate(pieces)
    ]
    cross, own = answers_to(subject, place, chosen, *made)
    pixels = np.array([[pixel_correlation(x, y) for y in made[0]] for x in made[0]])
    noise = [pixel_correlation(x, y) for x, y in zip(*made, strict=True)]
    values = {
        "cross": _rows(cross, (own[0] + own[1]) / 2),
        "overlap": _rows(seen.overlap[:, :, drawn], nothing),
        "pixels": _rows(pixels, (noise[0] + noise[1]) / 2),
    }
    fates = {
        row: tuple(
            outcome(cross[:, :, at], seen.response[:, :, unit], bool(seen.dead[SLOTS.index(row), unit]), row)[0]
            for at, unit in enumerate(chosen)
        )
        for row in PARENTS
    }
    return _Sampled(drawn, seen.activation[0, 1, drawn], values, fates)


def _rows(table: np.ndarray, noise: np.ndarray) -> dict[str, np.ndarray]:
    """(K,) values of ROWS from (M, M, K) of rows to columns, both as in SLOTS."""
    a, b, merge, naive, old = range(len(SLOTS))
    return {
        "merge": (table[merge, a] + table[merge, b]) / 2,
        "naive": (table[naive, a] + table[naive, old]) / 2,
        "parents": (table[a, b] + table[b, a]) / 2,
        "noise": noise,
    }
