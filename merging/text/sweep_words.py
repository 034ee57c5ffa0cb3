"""Words and tables for sweeps: names of methods and values, sentences on trends, CSV. torch-free."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from merging.jobs.requests.comparison import csv_value
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.axes import LAMBDA, SweepAxis, find_axis
from merging.jobs.sweeps.measures import measures
from merging.jobs.trained import option_text
from merging.methods.registry import ROLES, find
from merging.results.sweep_report import (
    NAIVE,
    NAIVE_TRIPLE,
    SweepMark,
    SweepRow,
    Trend,
    Triple,
    marks,
    trends,
)
from merging.text import numbers

METHOD_COLUMNS = (*ROLES, "group", "seed", "state", "run")


def axes_of(sweep: SweepRequest) -> list[SweepAxis]:
    """The axes of a sweep."""
    return [find_axis(key) for key, _ in sweep.axes]


def method_name(triple: Triple, others: Sequence[Triple] = ()) -> str:
    """Name of a triple of methods. others: all triples of the figure; steps that are the same in all are left out."""
    if triple == NAIVE_TRIPLE:
        return "Naive average"
    real = [one for one in others if one != NAIVE_TRIPLE]
    labels = [
        find(role, key).label
        for place, (role, key) in enumerate(zip(ROLES, triple, strict=True))
        if (role, key) != ("correct", "none") and (role == "align" or len({one[place] for one in real}) > 1 or not real)
    ]
    return " · ".join(labels)


def value_text(value: Any) -> str:
    """A value of an axis as text: "128", "0.003", "sgd"."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def measure_text(measure: str, value: float | None) -> str:
    """A measure with its unit."""
    if measures()[measure].share:
        return numbers.accuracy(value)
    if measure == "match":
        return numbers.correlation(value)
    return f"{value:.1f}" if measure == "distance" and value is not None else numbers.loss(value)


def measured_names(rows: Sequence[SweepRow]) -> list[str]:
    """The measures that at least one row has, in the order of `measures()`."""
    known = {name.removeprefix(NAIVE) for row in rows for name in row.measures}
    return [name for name in measures() if name in known]


def unfinished_parts(sweep: SweepRequest, rows: Sequence[SweepRow]) -> str:
    """Number of merges and studies that did not finish, as in "1 of 6 merges"; "" if there are none."""
    done = [row for row in rows if row.state == "done"]
    lacking = sum(  # no study is measured along λ, so each row is a merge here
        not any(name.removeprefix(NAIVE).startswith(f"{study}.") for name in row.measures)
        for row in done
        for study in sweep.studies
    )
    merges = _merges(sweep, rows)
    failed = merges - _merges(sweep, done)
    parts = [f"{len(failed)} of {len(merges)} merges"] if failed else []
    parts += [f"{lacking} of {len(done) * len(sweep.studies)} studies"] if lacking else []
    return " and ".join(parts)


def merges_done(sweep: SweepRequest, rows: Sequence[SweepRow]) -> str:
    """Number of finished merges, as in "5 of 6 merges"."""
    done = _merges(sweep, [row for row in rows if row.state == "done"])
    return f"{len(done)} of {len(_merges(sweep, rows))} merges"


def _merges(sweep: SweepRequest, rows: Sequence[SweepRow]) -> set[tuple[Any, ...]]:
    """What the merges behind the rows differ in; all points of an axis over λ are read from one merge."""
    along = [number for number, (key, _) in enumerate(sweep.axes) if key != LAMBDA]
    return {(*(row.values[number] for number in along), row.triple, row.group, row.seed) for row in rows}


def usual_measure(sweep: SweepRequest) -> str:
    """The measure that is shown first: the barrier; the loss over λ; the accuracy for more than two networks."""
    if any(key == LAMBDA for key, _ in sweep.axes):
        return "loss"
    return "accuracy" if max(sweep.at("networks", sweep.networks)) > 2 else "barrier_mean"


def describe_trends(sweep: SweepRequest, rows: Sequence[SweepRow], measure: str) -> list[str]:
    """One sentence per method on the trend of a measure over an axis of numbers; [] for two axes, words, or λ."""
    axis = axes_of(sweep)[0]
    if len(sweep.axes) > 1 or axis.kind is str or axis.key == LAMBDA:
        return []
    points = marks(rows, measure)
    every = [mark.triple for mark in points]
    what = _in_sentence(measures()[measure].title.partition(" (")[0])
    return [_trend(trend, what, _in_sentence(axis.label), method_name(trend.triple, every)) for trend in trends(points)]


def _trend(trend: Trend, what: str, over: str, method: str) -> str:
    words = "Spearman" if trend.groups == 1 else "mean Spearman"
    tail = f"({words} {numbers.correlation(trend.mean)})"
    groups = "the one group" if trend.groups == 1 else f"all {trend.groups} groups"
    if trend.falling == trend.groups or trend.rising == trend.groups:
        way = "falls" if trend.falling else "rises"
        return f"{method}: the {what} {way} with the {over} in {groups} {tail}."
    if not trend.falling and not trend.rising:
        where = "the one group" if trend.groups == 1 else f"any of the {trend.groups} groups"
        return f"{method}: the {what} has no clear trend over the {over} in {where} {tail}."
    counts = f"falls in {trend.falling} and rises in {trend.rising} of {trend.groups} groups"
    return f"{method}: the {what} {counts} with the {over} {tail}."


def _in_sentence(label: str) -> str:
    """A label within a sentence."""
    return label[:1].lower() + label[1:]


def describe_points(sweep: SweepRequest, points: Sequence[SweepMark], measure: str) -> str:
    """A figure of a sweep as text: every mean, by method."""
    axes, every = axes_of(sweep), [mark.triple for mark in points]
    parts = []
    for triple in dict.fromkeys(every):
        means = [
            f"{', '.join(map(value_text, mark.values))}: {measure_text(measure, mark.mean)}"
            + (f" ({len(mark.by_group)} of {sweep.groups} groups)" if len(mark.by_group) < sweep.groups else "")
            for mark in points
            if mark.triple == triple
        ]
        parts.append(f"{method_name(triple, every)}: {'; '.join(means)}")
    over = " and ".join(axis.label.lower() for axis in axes)
    return (
        f"{measures()[measure].title} over {over}. {'. '.join(parts)}."
        if parts
        else "No merge of this sweep has finished."
    )


def sweep_command(sweep: SweepRequest, threads: str = "") -> str:
    """Shell command of a sweep. threads: of the workers that ran it, on which the last digits depend; "" if unknown."""
    words = ["python -m merging sweep", f"--architecture {sweep.architecture}"]
    words += [f"--config {name}={option_text(value)}" for name, value in sweep.config.items()]
    words += [f"--data {sweep.dataset}"]
    words += [f"--axis {key}={','.join(map(value_text, values))}" for key, values in sweep.axes]
    for role, keys in zip(ROLES, (sweep.aligns, sweep.combines, sweep.corrects), strict=True):
        words.append(f"--{role} {','.join(keys)}")
    words += [f"--set {name}={value}" for name, value in sweep.settings.items()]
    words += [f"--study {','.join(sweep.studies)}"] if sweep.studies else []
    names = ("epochs", "common", "networks", "groups", "seeds", "images", "points", "seed")
    words += [f"--{name} {getattr(sweep, name)}" for name in names]
    words += [f"--first-group {sweep.first_group}"] if sweep.first_group else []
    return " ".join([*words, *([f"--threads {threads}"] if threads else [])])


def sweep_csv(sweep: SweepRequest, rows: Sequence[SweepRow]) -> str:
    """All rows as CSV: axes, methods, group, seed, state, run, then every measure; shares are 0..1."""
    keys = [key for key, _ in sweep.axes]
    known = {name for row in rows for name in row.measures}
    names = [name for measure in measured_names(rows) for name in (measure, NAIVE + measure) if name in known]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*keys, *METHOD_COLUMNS, *names])
    for row in rows:
        cells = [*row.values, *row.triple, row.group, row.seed, row.state, row.run]
        writer.writerow([*map(csv_value, cells), *(row.measures.get(name, "") for name in names)])
    return out.getvalue()
