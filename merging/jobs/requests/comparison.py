"""A grid of merges, align x combine x correct over networks and seeds, and one row of figures a merge. No torch."""

from __future__ import annotations

import csv
import io
import itertools
import math
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
Row = dict[str, Any]

# Column -> its name on the screen. Accuracies and shares are 0..1, losses and barriers nats, distances of weights.
COLUMNS: dict[str, str] = {
    "kind": "Kind",
    "align": "Align",
    "combine": "Combine",
    "correct": "Correct",
    "count": "Networks merged",
    "seed": "Seed",
    "state": "State",
    "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
    "train_accuracy": "Train accuracy",
    "train_loss": "Train loss",
    "barrier_mean": "Barrier above the mean",
    "barrier_chord": "Barrier above the chord",
    "naive_accuracy": "Naive average",
    "parents_accuracy": "Networks, mean",
    "ensemble_accuracy": "Ensemble",
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
    """What is compared: every method triple on every subject with every seed.

    models: two or more, which see one data set's images.  mode: "pairs", every two of one kind, or the only two;
    "growing": the first 2, 3 ... of them merged at once.  base: for methods of experts, or None.  Other fields as of
    MergeRequest.
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
        """The networks of each merge."""
        if self.mode == "pairs":
            pairs: list[tuple[ModelRef, ...]] = list(itertools.combinations(self.models, 2))
            return pairs if len(pairs) == 1 else [pair for pair in pairs if pair[0].label == pair[1].label]
        return [self.models[:count] for count in range(2, len(self.models) + 1)]

    def requests(self) -> tuple[MergeRequest, ...]:
        """One request a cell, in the order of the table; triples that do not fit the networks are left out.

        Raises InvalidRequest where nothing is left, or more than 200 merges would be made.
        """
        if len(self.models) > 2 and not self.subjects():
            raise InvalidRequest(
                "No two of these networks are of one kind, so none are merged. Choose two of one kind."
            )
        triples = itertools.product(self.aligns, self.combines, self.corrects)
        cells = list(itertools.product(self.subjects(), triples, self.seeds))
        made = [self._request(*cell) for cell in cells[: MOST_RUNS + 1]]
        found = tuple({request.id: request for request in made if isinstance(request, MergeRequest)}.values())
        if not found:
            why = next((text for text in made if isinstance(text, str)), "Choose two networks and one method or more.")
            raise InvalidRequest(f"None of these methods fits these networks. {why}")
        if len(cells) > MOST_RUNS:
            raise InvalidRequest(
                f"That would be {len(cells)} merges, and {MOST_RUNS} is the most. Choose fewer methods or networks."
            )
        return found

    def left_out(self) -> list[str]:
        """Methods that cannot be run on any of the subjects, by their names."""
        used = {(role, getattr(request, role)) for request in self.requests() for role in ROLES}
        wanted = [*(("align", key) for key in self.aligns), *(("combine", key) for key in self.combines)]
        return [find(role, key).label for role, key in wanted if (role, key) not in used]  # type: ignore[arg-type]

    def left_alone(self) -> list[str]:
        """Networks that are in no merge, by their names: of a kind, or with outputs, that no other one has."""
        merged = {model.sha256 for request in self.requests() for model in request.models}
        return [model.name for model in self.models if model.sha256 not in merged]

    def _request(self, models: tuple[ModelRef, ...], triple: tuple[str, str, str], seed: int) -> MergeRequest | str:
        """The request of a cell, or why there is none."""
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
    """The table's row of one merge; NaN for what is not measured (yet). memory: bytes."""
    told: Row = {
        "networks": " + ".join(model.name for model in request.models),
        "kind": " + ".join(dict.fromkeys(model.label for model in request.models)),
        "count": len(request.models),
        **{role: getattr(request, role) for role in ROLES},
        "seed": request.seed,
        "state": state,
        **dict.fromkeys(MEASURED, math.nan),
        "run": request.id,
    }
    found = told | (_measured(report) if report is not None else {})
    return {name: found[name] for name in COLUMNS}


def _measured(report: MergeReport) -> Row:
    notes = report.notes
    found: Row = {
        "distance": notes.get("distance", math.nan),
        "objective": notes.get("objective", math.nan),
        "equivalence": report.equivalence,
        "seconds": sum(report.seconds.values()),
        "memory": report.memory or math.nan,
    }
    for split in ("train", "test"):
        if split in report.scores.get("merge", {}):
            metrics = report.scores["merge"][split]
            found |= {f"{split}_accuracy": metrics.accuracy, f"{split}_loss": metrics.loss}
    if "test" in report.scores.get("merge", {}):
        accuracy = {name: splits["test"].accuracy for name, splits in report.scores.items()}
        parents = [value for name, value in accuracy.items() if len(name) == 1]
        found |= {"naive_accuracy": accuracy.get("naive", math.nan), "parents_accuracy": sum(parents) / len(parents)}
        found["ensemble_accuracy"] = report.ensemble["test"].accuracy
    curve = report.curves.get("corrected", report.curves.get("aligned", {})).get("test")
    if curve is not None:
        mean, chord = (curve.barrier("loss", above=above) for above in ("mean", "chord"))  # type: ignore[arg-type]
        found |= {"barrier_mean": _height(mean), "barrier_chord": _height(chord)}
    return found


def _height(barrier: Barrier) -> float:
    return barrier.height


def by_kind(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Kind of network -> its rows, kinds in the order in which they come first: their figures have no common mean."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["kind"], []).append(row)
    return found


def differing(rows: Sequence[Row], keys: Iterable[str]) -> list[str]:
    """Of these columns, those that are not the same in all rows."""
    return [key for key in keys if len({str(row[key]) for row in rows}) > 1]


@dataclass(frozen=True)
class Summary:
    """A method over all its runs with one number of networks: mean and standard deviation (0 for one run)."""

    triple: tuple[str, str, str]
    count: int
    runs: int
    mean: float
    spread: float


def summaries(rows: Sequence[Row], column: str) -> list[Summary]:
    """One Summary a method triple and number of networks, over seeds and subjects, of the rows that have the column."""
    groups: dict[tuple[tuple[str, str, str], int], list[float]] = {}
    for row in rows:
        if not math.isnan(row[column]):
            groups.setdefault(((row["align"], row["combine"], row["correct"]), row["count"]), []).append(row[column])
    found = []
    for (triple, count), values in groups.items():
        mean = math.fsum(values) / len(values)
        squares = math.fsum((value - mean) ** 2 for value in values)
        spread = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else 0.0
        found.append(Summary(triple, count, len(values), mean, spread))
    return found


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV with the columns' keys as head, as long as there are columns; NaN is left empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _written(row[key]) for key in COLUMNS} for row in rows)
    return out.getvalue()


def to_values(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows for JSON: NaN as null."""
    return [{key: None if _written(row[key]) == "" else row[key] for key in COLUMNS} for row in rows]


def _written(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value
