"""A report as a worker would make it, of a net with three hidden layers, drawn from a seed: for tests only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from merging.figures.figure import Figure
from merging.naming import letter
from merging.results.reports import LayerInfo, LayerUnits, LossCurve, MergeReport, Metrics, PathPoints, SimilarityMap

LAYERS = ("layers.0", "layers.2", "layers.4")
UNITS = 24
IMAGES = 200
POINTS = 11


def curve(kind: str, split: str, ends: tuple[Metrics, Metrics], points: int = POINTS) -> LossCurve:
    """A parabola of the kind's height between the ends."""
    lambdas = np.linspace(0, 1, points)
    hump = 4 * lambdas * (1 - lambdas) * {"naive": 1.0, "aligned": 0.06, "corrected": 0.02}[kind]
    line = {name: (1 - lambdas) * getattr(ends[0], name) + lambdas * getattr(ends[1], name) for name in vars(ends[0])}
    return LossCurve(
        lambdas,
        line["loss"] + 1.4 * hump,
        line["accuracy"] - 0.5 * hump,
        line["ece"] + 0.1 * hump,
        ends,
        split,
        IMAGES,
        "repair" if kind == "corrected" else "none",
    )


def similarity(row: str, column: str, layers: tuple[str, ...] = LAYERS, seed: int = 0) -> SimilarityMap:
    """Falling with the distance of the layers, one value below 0 and one undefined."""
    far = np.abs(np.subtract.outer(np.arange(len(layers)), np.arange(len(layers))))
    values = 0.95 - 0.3 * far + 0.02 * np.random.default_rng(seed).standard_normal(far.shape)
    values[0, -1], values[-1, 0] = -0.03, np.nan
    return SimilarityMap(values, layers, layers, row, column, "debiased", IMAGES)


def units(layer: str, seed: int = 0) -> LayerUnits:
    """Random facts; unit 3 is dead in every network."""
    rng = np.random.default_rng(seed)
    dead = np.zeros((4, UNITS), bool)
    dead[:, 3] = True
    match = rng.uniform(0.1, 1, UNITS)
    match[3] = np.nan
    return LayerUnits(
        layer=layer,
        kind="linear",
        units=UNITS,
        positions=(),
        partner=rng.permutation(UNITS),
        match=match,
        std=np.where(dead, 0, rng.uniform(0.5, 1, (4, UNITS))),
        peak=np.where(dead, 0, rng.uniform(1, 3, (4, UNITS))),
        dead=dead,
        exemplars=rng.integers(0, IMAGES, (4, UNITS, 9)),
        exemplar_values=-np.sort(-rng.uniform(0, 3, (4, UNITS, 9))),
        exemplar_places=np.full((4, UNITS, 9, 2), 0.5),
        images=IMAGES,
        seen_mean=np.where(dead, 0, rng.uniform(0, 1, (4, UNITS))),
        seen_most=np.where(dead, 0, rng.uniform(1, 3, (4, UNITS))),
    )


def unmeasured(layer: str) -> LayerUnits:
    """What is left of the facts where there are no images."""
    unknown, none = np.full((4, UNITS), np.nan), np.zeros((4, UNITS, 0))
    alive = np.zeros((4, UNITS), bool)
    measured = {"match": unknown[0], "std": unknown, "peak": unknown, "dead": alive, "images": 0}
    shown = {"exemplars": none.astype(int), "exemplar_values": none, "exemplar_places": none[..., None].repeat(2, -1)}
    return replace(units(layer), **measured, **shown)


def scores(count: int, merge: float = 0.86) -> dict[str, dict[str, Metrics]]:
    """Of that many parents, a naive average that guesses and a merge of this accuracy, on test images."""
    accuracy = {letter(number): 0.88 + 0.005 * number for number in range(count)} | {
        "naive": 0.12,
        "merge": merge,
    }
    return {name: {"test": Metrics(1.2 - value, value, 0.02)} for name, value in accuracy.items()}


def path_points(kinds: Sequence[str]) -> PathPoints:
    """Guesses of ten images of ten classes, all right at the ends and wrong between, and variances of the layers."""
    rng, labels = np.random.default_rng(4), np.arange(10)
    guess = np.repeat(((labels[:, None] + np.arange(3)) % 10)[None], POINTS, 0).astype(np.int32)
    guess[1:-1] = (guess[1:-1] + 1) % 10
    probability = np.sort(rng.uniform(0, 0.5, guess.shape))[..., ::-1].astype(np.float32)
    variance = rng.uniform(0.3, 1, (POINTS, len(LAYERS))).astype(np.float32)
    return PathPoints(
        images=np.arange(10),
        labels=labels,
        guess=dict.fromkeys(kinds, guess),
        probability=dict.fromkeys(kinds, probability),
        layers=tuple(LAYERS),
        variance=dict.fromkeys(kinds, variance),
        count=100,
    )


def report(request: dict, *, corrected: bool = False, images: bool = True, notes: dict | None = None) -> MergeReport:
    """The report of a merge request (as JSON values); images=False: what is left when the data set is missing."""
    layers = tuple(LayerInfo(name, "linear", UNITS, (), name) for name in LAYERS)
    known = {
        "request": request,
        "layers": layers,
        "groups": dict.fromkeys(LAYERS, (UNITS, UNITS - 1)),
        "equivalence": 3e-16,
        "permutation": {name: np.random.default_rng(1).permutation(UNITS) for name in LAYERS},
        "seconds": {"matching": 0.4, "curve": 2.0},
        "machine": {"device": "CPU", "threads": "2"},
        "notes": notes or {},
    }
    if not images:
        found = tuple(unmeasured(name) for name in LAYERS)
        return MergeReport(**known, units=found, missing="The images of Fashion-MNIST are not on this machine.")
    if len(request.get("models", ())) > 2:
        return MergeReport(
            **known, scores=scores(len(request["models"])), ensemble={"test": Metrics(0.28, 0.903, 0.02)}
        )
    ends = (Metrics(0.31, 0.8925, 0.02), Metrics(0.30, 0.8948, 0.03))
    kinds = ("naive", "aligned", *(("corrected",) if corrected else ()))
    curves = {kind: {split: curve(kind, split, ends) for split in ("train", "test")} for kind in kinds}
    middles = {
        name: {split: c.at_middle for split, c in curves[kind].items()}
        for name, kind in (("naive", "naive"), ("merge", kinds[-1]))
    }
    pairs = {"A-B": ("A", "B"), "A-pi(B)": ("A", "pi(B)"), "A-merge": ("A", "merge"), "B-merge": ("B", "merge")}
    return MergeReport(
        **known,
        curves=curves,
        points=path_points(kinds),
        scores={name: dict.fromkeys(("train", "test"), end) for name, end in zip("AB", ends, strict=True)} | middles,
        ensemble={split: Metrics(0.28, 0.903, 0.02) for split in ("train", "test")},
        similarity={name: similarity(*pair) for name, pair in pairs.items()},
        units=tuple(units(name, seed) for seed, name in enumerate(LAYERS)),
    )


def validated(figure: Figure) -> go.Figure:
    """The figure as Plotly's own, once it is shown that Plotly takes each value just as it is written."""
    spec, full = figure.spec(), figure.checked()
    taken = json.loads(full.to_json())
    taken["layout"].pop("template")
    assert taken == json.loads(json.dumps(spec))
    return full.update_layout(meta=figure.alt)


def alt_text(figure: go.Figure) -> str:
    """The words of a figure that was drawn."""
    return figure.layout.meta
