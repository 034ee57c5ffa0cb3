"""Results of a sweep: one row per merge, and their means with intervals and trends over an axis. torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from merging.results.intervals import student
from merging.results.reports import FORMAT, MergeReport
from merging.results.saving import saved

Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Measure:
    """A number of a merge, or of a study of it, that a sweep shows over its axes.

    Attributes:
        title: title of the figure's axis, with the unit.
        share: whether the number is a share of 0..1, such as an accuracy, which is shown in per cent.
    """

    title: str
    share: bool = False


# The measures of a merge. `jobs.sweeps.measures` adds those of studies.
MEASURES: dict[str, Measure] = {
    "accuracy": Measure("Test accuracy of the merge", share=True),
    "loss": Measure("Test loss of the merge (nats)"),
    "ece": Measure("Calibration error of the merge", share=True),
    "train_accuracy": Measure("Training accuracy of the merge", share=True),
    "barrier_mean": Measure("Loss barrier above the mean (nats)"),
    "barrier_chord": Measure("Loss barrier above the straight line (nats)"),
    "train_barrier_mean": Measure("Training loss barrier above the mean (nats)"),
    "accuracy_barrier": Measure("Accuracy barrier above the mean", share=True),
    "distance": Measure("Distance |A − π(B)| of the weights"),
    "match": Measure("Mean correlation of matched units"),
    "moved": Measure("Share of units that moved", share=True),
    "parents_accuracy": Measure("Mean test accuracy of the networks", share=True),
    "ensemble_accuracy": Measure("Test accuracy of the ensemble", share=True),
}
# The measures that every lambda of a path has: key -> (split, name of its curve's values).
ALONG_PATHS = {
    **{name: ("test", name) for name in ("accuracy", "loss", "ece")},
    "train_accuracy": ("train", "accuracy"),
}
CLEAR = 0.5  # a weaker rank correlation is no clear trend
NAIVE_TRIPLE: Triple = ("naive", "", "")  # stands for the naive average among the triples of methods
NAIVE = "naive_"  # begins the name of a measure of the naive average


@saved
@dataclass(frozen=True)
class SweepRow:
    """One merge of a sweep.

    Attributes:
        values: the value of each axis.
        triple: keys of align, combine and correct.
        group: number of the group of networks.
        seed: seed of the methods.
        state: "done", "failed", "cancelled", "queued", "running", or "" before its networks are trained.
        run: id of the merge, "" before its networks are trained.
        measures: key of a measure (for the naive average, with NAIVE before it) -> value; only what was measured.
    """

    values: tuple[Any, ...]
    triple: Triple
    group: int
    seed: int
    state: str
    run: str = ""
    measures: dict[str, float] = field(default_factory=dict)


@saved
@dataclass(frozen=True)
class SweepReport:
    """All rows of a finished sweep. request: the sweep's request as JSON values."""

    request: dict[str, Any]
    rows: tuple[SweepRow, ...]
    format: int = FORMAT


@dataclass(frozen=True)
class SweepMark:
    """Mean of a measure at one point of a sweep, over the groups of networks.

    Attributes:
        values: the value of each axis.
        triple: keys of the methods; NAIVE_TRIPLE for the naive average.
        mean: mean over the groups of their means over method seeds.
        low, high: 95 % interval of the mean (Student 1908); NaN for one group.
        by_group: group -> its mean.
    """

    values: tuple[Any, ...]
    triple: Triple
    mean: float
    low: float
    high: float
    by_group: dict[int, float]


@dataclass(frozen=True)
class Trend:
    """Rank correlation of a measure with an axis.

    Attributes:
        triple: keys of the methods.
        mean: mean of the groups' coefficients (Spearman 1904), -1 to 1.
        falling, rising: number of groups whose coefficient is below -CLEAR, or above CLEAR.
        groups: number of groups with a coefficient; one with equal values everywhere has none.
    """

    triple: Triple
    mean: float
    falling: int
    rising: int
    groups: int


def measures_of(report: MergeReport) -> dict[str, float]:
    """Those of MEASURES that were measured, also of the naive average."""
    found: dict[str, float] = {}
    scores = report.scores
    parents = [splits["test"].accuracy for name, splits in scores.items() if len(name) == 1 and "test" in splits]
    if parents:
        found["parents_accuracy"] = math.fsum(parents) / len(parents)
    if "test" in report.ensemble:
        found["ensemble_accuracy"] = report.ensemble["test"].accuracy
    for start, who, curves in (("", "merge", ("corrected", "aligned")), (NAIVE, "naive", ("naive",))):
        values = _scores(report, who) | _barriers(report, curves)
        found |= {f"{start}{name}": value for name, value in values.items()}
    if "distance" in report.notes:
        found["distance"] = float(report.notes["distance"])
    free = {layer.name for layer in report.layers if layer.group}
    matches = np.concatenate([np.empty(0), *(layer.match for layer in report.units if layer.layer in free)])
    if np.isfinite(matches).any():
        found["match"] = float(np.nanmean(matches))
    units, moved = (sum(group[place] for group in report.groups.values()) for place in (0, 1))
    return found | ({"moved": moved / units} if units else {})


def measures_at(report: MergeReport, at: float) -> dict[str, float]:
    """Losses and accuracies at one lambda of the merge's path, with its correction, and of the naive path.

    {} without curves. Raises KeyError if the curves have no such point.
    """
    found: dict[str, float] = {}
    for start, paths in (("", ("corrected", "aligned")), (NAIVE, ("naive",))):
        curves = next((report.curves[path] for path in paths if path in report.curves), {})
        for name, (split, value) in ALONG_PATHS.items():
            if split in curves:
                here = np.flatnonzero(np.isclose(curves[split].lambdas, at))
                if not len(here):
                    raise KeyError(f"The curve has no point at lambda {at:g}.")
                found[f"{start}{name}"] = float(getattr(curves[split], value)[here[0]])
    return found


def _scores(report: MergeReport, who: str) -> dict[str, float]:
    splits = report.scores.get(who, {})
    test = {name: getattr(splits["test"], name) for name in ("accuracy", "loss", "ece")} if "test" in splits else {}
    return test | ({"train_accuracy": splits["train"].accuracy} if "train" in splits else {})


def _barriers(report: MergeReport, paths: Sequence[str]) -> dict[str, float]:
    """Barriers of the first of these paths that was measured."""
    curves = next((report.curves[path] for path in paths if path in report.curves), {})
    found: dict[str, float] = {}
    if "test" in curves:
        test = curves["test"]
        found |= {"barrier_mean": test.barrier().height, "barrier_chord": test.barrier(above="chord").height}
        found["accuracy_barrier"] = test.barrier("accuracy").height
    return found | ({"train_barrier_mean": curves["train"].barrier().height} if "train" in curves else {})


def marks(rows: Iterable[SweepRow], measure: str) -> list[SweepMark]:
    """Means of a measure per point and methods, in the order of the rows; then those of the naive average."""
    return [
        *_marks(((row.values, row.triple), row, measure) for row in rows),
        *_marks(((row.values, NAIVE_TRIPLE), row, f"{NAIVE}{measure}") for row in rows),
    ]


def _marks(entries: Iterable[tuple[tuple[tuple[Any, ...], Triple], SweepRow, str]]) -> list[SweepMark]:
    table: dict[tuple[tuple[Any, ...], Triple], dict[int, list[float]]] = {}
    for key, row, measure in entries:
        value = row.measures.get(measure, math.nan)
        if not math.isnan(value):
            table.setdefault(key, {}).setdefault(row.group, []).append(value)
    found = []
    for (values, triple), groups in table.items():
        by_group = {group: sum(mine) / len(mine) for group, mine in sorted(groups.items())}
        found.append(SweepMark(values, triple, *student(list(by_group.values())), by_group))
    return found


def trends(points: Sequence[SweepMark], axis: int = 0) -> list[Trend]:
    """The trend of every method over an axis of numbers, from groups with three points or more.

    The other axis must be fixed: give only marks with one value of it.
    """
    found = []
    for triple in dict.fromkeys(mark.triple for mark in points):
        mine = [mark for mark in points if mark.triple == triple]
        coefficients = []
        for group in sorted({group for mark in mine for group in mark.by_group}):
            pairs = [(float(mark.values[axis]), mark.by_group[group]) for mark in mine if group in mark.by_group]
            if len(pairs) >= 3:
                coefficients.append(spearman(*zip(*pairs, strict=True)))
        if not all(map(math.isnan, coefficients)):
            each = [0.0 if math.isnan(value) else value for value in coefficients]  # a measure that stays has no trend
            signs = sum(value < -CLEAR for value in each), sum(value > CLEAR for value in each)
            found.append(Trend(triple, math.fsum(each) / len(each), *signs, len(each)))
    return found


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation (Spearman 1904) of two sequences of equal length; NaN if all values of one are equal."""
    first, second = _ranks(x), _ranks(y)
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale else math.nan


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks (n,) from 0; equal values get the mean of their ranks."""
    array = np.asarray(values, float)
    below, equal = (array[:, None] > array).sum(1), (array[:, None] == array).sum(1)
    ranks: np.ndarray = below + (equal - 1) / 2
    return ranks
