"""Comparison: a grid of merges (methods x networks x seeds), and its table with one row per merge. torch-free."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import ROLES, find
from merging.results.reports import Barrier, MergeReport

Mode = Literal["pairs", "growing"]
MOST_RUNS = 200
NUMBER = re.compile(r"[-+]?\d*[.,]?\d+(e[-+]?\d+)?|[-+]", re.ASCII)  # also a bare sign
FORMULA = ("=", "+", "-", "@", "\t", "\r")
Row = dict[str, Any]

# Column -> its title. Accuracies and shares are 0..1; losses and barriers are in nats; distances are between weights.
COLUMNS: dict[str, str] = {
    "kind": "Kind",
    "align": "Align",
    "combine": "Combine",
    "correct": "Correct",
    "count": "Networks merged",
    "seed": "Seed",
    "state": "State",
    "test_accuracy": "Test accuracy",
    "test_images": "Test images",
    "test_loss": "Test loss",
    "train_accuracy": "Train accuracy",
    "train_loss": "Train loss",
    "barrier_mean": "Barrier above the mean",
    "barrier_chord": "Barrier above the straight line",
    "naive_accuracy": "Accuracy of the naive average",
    "parents_accuracy": "Mean accuracy of the networks",
    "ensemble_accuracy": "Accuracy of the ensemble",
    "distance": "Distance |A − π(B)|",
    "objective": "Matching objective",
    "equivalence": "|B − π(B)|",
    "seconds": "Seconds",
    "memory": "Peak memory (MB)",
    "networks": "Networks",
    "run": "Run",
}
ASKED = ("kind", "align", "combine", "correct", "count", "seed", "state", "networks", "run")
MEASURED = tuple(name for name in COLUMNS if name not in ASKED)


@dataclass(frozen=True)
class Grid:
    """A comparison: every triple of methods (align, combine, correct) on every subject with every seed.

    Attributes:
        models: two or more networks for the images of one data set.
        aligns, combines, corrects: keys of methods; every triple of them is run.
        mode: choice of the subjects, the networks to merge. "pairs": every pair of the same kind; two networks are a
            pair even if their kinds differ. "growing": the first two networks, the first three, and so on.
        base: base network for methods that merge experts, or None.

    The other fields are those of MergeRequest.
    """

    models: tuple[ModelRef, ...]
    aligns: tuple[str, ...]
    combines: tuple[str, ...] = ("average",)
    corrects: tuple[str, ...] = ("none",)
    seeds: tuple[int, ...] = (0,)
    mode: Mode = "pairs"
    base: ModelRef | None = None
    dataset: str = ""
    data_sha256: str = ""
    images: int = 1000
    points: int = 11

    def subjects(self) -> list[tuple[ModelRef, ...]]:
        """The networks to merge, one tuple per subject."""
        if self.mode == "pairs":
            pairs: list[tuple[ModelRef, ...]] = list(itertools.combinations(self.models, 2))
            return pairs if len(pairs) == 1 else [pair for pair in pairs if pair[0].label == pair[1].label]
        return [self.models[:count] for count in range(2, len(self.models) + 1)]

    def requests(self) -> tuple[MergeRequest, ...]:
        """One merge request per cell of the grid, in table order, without method triples that do not fit the networks.

        Raises InvalidRequest if no request is left, or there are more than MOST_RUNS cells.
        """
        if len(self.models) > 2 and not self.subjects():
            raise InvalidRequest("No two of these networks are of the same kind. Choose two networks of the same kind.")
        triples = list(itertools.product(self.aligns, self.combines, self.corrects))
        cells = itertools.product(self.subjects(), triples, self.seeds)
        count = len(self.subjects()) * len(triples) * len(self.seeds)
        candidates = [self._request(*cell) for cell in itertools.islice(cells, MOST_RUNS + 1)]
        unique = tuple({request.id: request for request in candidates if isinstance(request, MergeRequest)}.values())
        if not unique:
            why = next(
                (text for text in candidates if isinstance(text, str)), "Choose at least two networks and one method."
            )
            raise InvalidRequest(f"None of these methods fits these networks. {why}")
        if count > MOST_RUNS:
            raise InvalidRequest(
                f"This comparison has {count} merges; the limit is {MOST_RUNS}. Choose fewer methods or networks."
            )
        return unique

    def left_out(self) -> list[str]:
        """Labels of methods that fit none of the subjects."""
        in_use = {(role, getattr(request, role)) for request in self.requests() for role in ROLES}
        methods = [*(("align", key) for key in self.aligns), *(("combine", key) for key in self.combines)]
        return [find(role, key).label for role, key in methods if (role, key) not in in_use]  # type: ignore[arg-type]

    def left_alone(self) -> list[str]:
        """Names of networks that no merge uses, because no other network has the same kind and the same outputs."""
        merged = {model.sha256 for request in self.requests() for model in request.models}
        return [model.name for model in self.models if model.sha256 not in merged]

    def _request(self, models: tuple[ModelRef, ...], triple: tuple[str, str, str], seed: int) -> MergeRequest | str:
        """Request of a cell, or the reason why there is none."""
        align, combine, correct = triple
        needs_base = find("combine", combine).needs_base
        try:
            return MergeRequest(
                models,
                align,
                combine,
                correct,
                dataset=self.dataset,
                data_sha256=self.data_sha256,
                images=self.images,
                points=self.points,
                seed=seed,
                base=self.base if needs_base else None,
            )
        except InvalidSetting:
            raise
        except InvalidRequest as error:
            return str(error)


def row_of(request: MergeRequest, state: str, report: MergeReport | None) -> Row:
    """Row of one merge in the table; memory is in bytes, and values that were not measured are NaN."""
    row: Row = {
        "networks": " + ".join(model.name for model in request.models),
        "kind": " + ".join(dict.fromkeys(model.label for model in request.models)),
        "count": len(request.models),
        **{role: getattr(request, role) for role in ROLES},
        "seed": request.seed,
        "state": state,
        **dict.fromkeys(MEASURED, math.nan),
        "run": request.id,
    }
    values = row | (_measured(report) if report is not None else {})
    return {name: values[name] for name in COLUMNS}


def _measured(report: MergeReport) -> Row:
    notes = report.notes
    row: Row = {
        "distance": notes.get("distance", math.nan),
        "objective": notes.get("objective", math.nan),
        "equivalence": report.equivalence,
        "seconds": sum(report.seconds.values()),
        "memory": report.memory or math.nan,
    }
    for split in ("train", "test"):
        if split in report.scores.get("merge", {}):
            metrics = report.scores["merge"][split]
            row |= {f"{split}_accuracy": metrics.accuracy, f"{split}_loss": metrics.loss}
    if "test" in report.scores.get("merge", {}):
        known = [
            report.scores["merge"]["test"].images,
            *(c["test"].images for c in report.curves.values() if "test" in c),
        ]
        row["test_images"] = max(known) or math.nan  # older results name the number of images only with a curve
        accuracy = {name: splits["test"].accuracy for name, splits in report.scores.items()}
        parents = [value for name, value in accuracy.items() if len(name) == 1]
        row |= {"naive_accuracy": accuracy.get("naive", math.nan), "parents_accuracy": sum(parents) / len(parents)}
        row["ensemble_accuracy"] = report.ensemble["test"].accuracy
    curve = report.curves.get("corrected", report.curves.get("aligned", {})).get("test")
    if curve is not None:
        mean, chord = (curve.barrier("loss", above=above) for above in ("mean", "chord"))  # type: ignore[arg-type]
        row |= {"barrier_mean": _height(mean), "barrier_chord": _height(chord)}
    return row


def headline_figures(report: MergeReport) -> tuple[float | None, float | None]:
    """Test accuracy (0..1) of the merge, and its loss barrier above the mean (nats); None for what was not measured."""
    row = _measured(report)
    accuracy, barrier = (row.get(name, math.nan) for name in ("test_accuracy", "barrier_mean"))
    return (None if math.isnan(accuracy) else accuracy), (None if math.isnan(barrier) else barrier)


def _height(barrier: Barrier) -> float:
    return barrier.height


def by_kind(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Kind of network -> its rows, in order of appearance. Means over rows of several kinds would be meaningless."""

    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["kind"], []).append(row)
    return groups


def differing(rows: Sequence[Row], keys: Iterable[str]) -> list[str]:
    """The columns among `keys` whose values differ between rows."""
    return [key for key in keys if len({str(row[key]) for row in rows}) > 1]


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (0 for one run) of a column over runs with equal methods and number of networks."""

    triple: tuple[str, str, str]
    count: int
    runs: int
    mean: float
    spread: float


def summaries(rows: Sequence[Row], column: str) -> list[Summary]:
    """One Summary over seeds and subjects per method triple and number of networks; rows with NaN are ignored."""
    groups: dict[tuple[tuple[str, str, str], int], list[float]] = {}
    for row in rows:
        if not math.isnan(row[column]):
            groups.setdefault(((row["align"], row["combine"], row["correct"]), row["count"]), []).append(row[column])
    results = []
    for (triple, count), values in groups.items():
        mean = math.fsum(values) / len(values)
        squares = math.fsum((value - mean) ** 2 for value in values)
        spread = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else 0.0
        results.append(Summary(triple, count, len(values), mean, spread))
    return results


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with the keys of COLUMNS as header; NaN is an empty field."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_value(row[key]) for key in COLUMNS} for row in rows)
    return out.getvalue()


def to_values(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON values; NaN and infinity are null."""

    def value(cell: Any) -> Any:
        return None if isinstance(cell, float) and not math.isfinite(cell) else cell

    return [{key: value(row[key]) for key in COLUMNS} for row in rows]


def csv_value(value: Any) -> Any:
    """A value as a cell of a CSV file: NaN is empty, and texts that begin like a formula are quoted."""
    return "" if isinstance(value, float) and math.isnan(value) else csv_text(value)


def csv_text(value: Any) -> Any:
    """A value, quoted if it is a text that begins like a formula, which a spreadsheet would run; numbers do not."""
    if not isinstance(value, str) or value[:1] not in FORMULA or NUMBER.fullmatch(value):
        return value
    return f"'{value}"
