"""Result of a merge: the accuracies half-way between A and B, the curves, the barriers, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import streamlit as st

from merging.figures.curve import AXES, KINDS, Above, curve_label, curves_of
from merging.figures.scores import scores_figure
from merging.methods.registry import table
from merging.results.intervals import wilson
from merging.results.reports import MergeReport, Metric
from merging.text import numbers
from merging.text.method_notes import remarks
from merging.text.verdicts.merge import headline, verdict
from ui.panels.path_panel import path_with_points
from ui.runs.next_steps import offer_next_steps
from ui.shell.address import one_of
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw, unbroken
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.words import meaning

T = TypeVar("T")
METRICS: dict[Metric, str] = {"loss": "Loss", "accuracy": "Accuracy", "ece": "Calibration"}
SPLITS = {"test": "Test images", "train": "Train images"}
ABOVE: dict[Above, str] = {"mean": "above the mean", "chord": "above the straight line"}


def result(report: MergeReport, found: Chosen | None = None, key: str = "") -> None:
    """Show everything about a finished merge. key: distinguishes two results on one page.

    found: the run, where its studies are to be shown too.
    """
    with st.container(key=f"headline{key}"):
        st.markdown(f"## {unbroken(kept(headline, report))}", anchors=False)
        if not (report.curves or report.scores):
            st.info(report.missing, icon=":material/image_not_supported:")
            _remark(report)
            return
        (half_way if report.curves else worth)(report)
    if not report.curves:
        return _many(report, key)
    metric, split, above = _controls(report, key)
    path_with_points(report, (metric, split, above), found, key, partial(_barriers, report, metric, split))
    if found is not None:
        offer_next_steps(report, found)
    link("words", "What these words mean", icon=":material/menu_book:")


def _barriers(report: MergeReport, metric: Metric, split: str) -> None:
    """Show the barriers of all curves, and the verdict."""
    st.markdown(kept(barrier_table, report, metric, split), width="stretch")
    _say(report)


def _say(report: MergeReport) -> None:
    """Show the verdict and the remarks on these networks."""
    st.markdown(unbroken(kept(verdict, report)))
    _remark(report)


def _remark(report: MergeReport) -> None:
    for remark in kept(remarks, report):
        st.caption(plain(remark))


def half_way(report: MergeReport, split: str = "test") -> None:
    """Show the main accuracies: the averages and the merge half-way from A to B, then A, B and the ensemble."""
    curves = curves_of(report, split)
    words = {"naive": "Naive average", "aligned": _first(report), "corrected": "Merge"}
    boxed = [
        (words[kind], curves[kind].middle("accuracy"), _help(report, kind, split)) for kind in KINDS if kind in curves
    ]
    first = next(iter(curves.values()))
    beside = [(name, end.accuracy, f"Accuracy of {name} alone.") for name, end in zip("AB", first.ends, strict=True)]
    if split in report.ensemble:
        beside.append(("Ensemble", report.ensemble[split].accuracy, meaning("ensemble")))
    boxes = st.columns([4] * len(boxed) + [3] * len(beside))
    for box, (label, value, help) in zip(boxes, [*boxed, *beside], strict=True):
        certain = f" 95 % interval: {numbers.interval(value, first.images)} (Wilson)." if first.images else ""
        box.metric(label, numbers.accuracy(value), help=help + certain)
    if first.images:
        low, high = wilson(boxed[-1][1], first.images)
        st.caption(
            f"Measured on this run's {numbers.count(first.images)} {split} images. The "
            f"95 % interval of the {boxed[-1][0].lower()}'s accuracy is ±{numbers.points((high - low) / 2)}."
        )


def _first(report: MergeReport) -> str:
    """Label of the merge before its correction."""
    combine, align = (report.request.get(role, usual) for role, usual in (("combine", "average"), ("align", "none")))
    if combine != "average":
        return table("combine")[combine].label
    if align != "none":
        return "Aligned average"
    return "Average" if "corrected" in report.curves else "Merge"


def worth(report: MergeReport, split: str = "test") -> None:
    """Show the accuracies for more than two networks, where there is no path: naive average, merge and ensemble."""
    scores = {"Naive average": report.scores["naive"][split], "Merge": report.scores["merge"][split]}
    scores |= {"Ensemble": report.ensemble[split]} if split in report.ensemble else {}
    for box, (label, score) in zip(st.columns(len(scores)), scores.items(), strict=True):
        box.metric(label, numbers.accuracy(score.accuracy), help=f"Accuracy on {split} images.")


def _many(report: MergeReport, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = _choice("What", list(METRICS), METRICS.__getitem__, f"metric{key}", "; ".join(AXES.values()))
        splits = [split for split in SPLITS if split in report.scores["merge"]]
        split = _choice("Images", splits, SPLITS.__getitem__, f"split{key}", meaning("images"))
    draw(kept(scores_figure, report, metric, split), f"scores{key}", f"{metric}-{split}", width="stretch")
    _say(report)
    link("words", "What these words mean", icon=":material/menu_book:")


def _help(report: MergeReport, kind: str, split: str) -> str:
    return f"Accuracy half-way between A and B (λ = ½) on {split} images, {curve_label(report, kind)}."


def barrier_table(report: MergeReport, metric: Metric, split: str) -> str:
    """Return the half-way value and both barriers of every curve as a Markdown table."""
    write = numbers.metric(metric)
    lines = [
        "| | half-way | barrier above the mean | above the straight line between the endpoints |",
        "|---|---:|---:|---:|",
    ]
    for kind, curve in curves_of(report, split).items():
        mean, chord = (curve.barrier(metric, above=above) for above in ("mean", "chord"))
        heights = [
            f"{numbers.signed_difference(metric, b.height)} :gray[at λ {numbers.ratio(b.at)}]" for b in (mean, chord)
        ]
        cells = [curve_label(report, kind), write(curve.middle(metric)), *heights]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _controls(report: MergeReport, key: str) -> tuple[Metric, str, Above]:
    splits = [split for split in SPLITS if curves_of(report, split)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = _choice("What", list(METRICS), METRICS.__getitem__, f"metric{key}", "; ".join(AXES.values()))
        split = _choice("Images", splits, SPLITS.__getitem__, f"split{key}", meaning("images"))
        above = _choice("Barrier", list(ABOVE), ABOVE.__getitem__, f"above{key}", meaning("barrier"))
    return metric, split, above


def _choice(label: str, options: list[T], form: Callable[[T], str], key: str, help: str) -> T:
    """Draw a choice of one option; it is part of the address unless two results share the page."""
    return one_of(label, options, default=options[0], key=key, bound=" " not in key, format_func=form, help=help)
