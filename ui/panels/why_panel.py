"""Explanation of a merge by three studies: causes of its quality, layers along the path, and other alignments."""

from __future__ import annotations

import streamlit as st

from merging.figures.figure import Figure
from merging.figures.many.comparison import ALIGN_COLORS
from merging.figures.palette import STYLES
from merging.figures.similarity import diagonal_figure
from merging.figures.studies.inside import SHOWN, inside_figure, loss_figure
from merging.figures.studies.why import (
    aligners_figure,
    calibration_figure,
    match_quality_figure,
    shares_figure,
    spectra_figure,
    variance_figure,
)
from merging.methods.registry import find
from merging.results.reports import LayerUnits, MergeReport
from merging.studies.aligners import Aligners
from merging.studies.along import Along
from merging.studies.why import Why, WhySettings
from merging.text import numbers
from merging.text.reading import corrects
from merging.text.reasons import costliest, died, reasons
from merging.zoo.datasets.load import ImageSet
from ui.neurons.tiles import labelled_sheet, show_picture
from ui.panels.layer_line import layer_line
from ui.runs.study import studied
from ui.shell.address import one_of
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw, draw_layers, unbroken
from ui.shell.markdown import plain
from ui.shell.state import images, why_no_images
from ui.shell.words import meaning

COLUMNS = 8
ALIKE = ("A-B", "A-merge", "B-merge")


def why_panel(found: Chosen) -> None:
    """Show the three studies, each with a button that requests it."""
    if found.report is None:
        return
    why: Why | None = studied(found, "why", button="Explain this merge")
    if why is not None:
        _explained(why, found)
    st.markdown("#### Layers along the path from A to B", anchors=False)
    along: Along | None = studied(found, "along", button="Measure along the path")
    if along is not None:
        _along(along)
    st.markdown("#### Other alignments of the same pair", anchors=False)
    aligners: Aligners | None = studied(found, "aligners", button="Align in four ways")
    if aligners is not None:
        _aligners(aligners)


def scores_table(why: Why) -> str:
    """Return accuracy, loss, confidence and calibration error of every network as a Markdown table."""
    names = {"A": "A", "B": "B", "naive": "naive", "average": "aligned", "merge": "merge", "ensemble": "ensemble"}
    lines = ["| | accuracy | loss | mean confidence | calibration error |", "|---|---:|---:|---:|---:|"]
    if why.scores["merge"] == why.scores["average"]:
        del names["merge"]  # without a correction, the merge of two networks is the aligned average
    for key, style in names.items():
        score = why.scores[key]
        cells = (numbers.accuracy(score.accuracy), numbers.loss(score.loss), numbers.accuracy(why.confidence[key]))
        lines.append(f"| {STYLES[style].label} | {' | '.join(cells)} | {numbers.accuracy(score.ece)} |")
    return "\n".join(lines)


def _explained(why: Why, found: Chosen) -> None:
    report = found.report
    if report is None:
        return
    corrected = corrects(report)
    mapped = not find("align", report.request.get("align", "none")).permutes
    few = WhySettings().share_images
    st.markdown(unbroken(reasons(why, report.units, corrected, mapped, few, len(report.request["models"]))))
    layer_line(found, costliest(why), "contributes most to the barrier")
    left, right = st.columns(2)
    with left.container(border=True):
        st.markdown("**Do activations shrink?**", help=meaning("variance collapse"))
        draw_layers(kept(variance_figure, why, corrected), "variance", "variance")
    with right.container(border=True):
        st.markdown("**Which layer contributes most to the barrier?**", help=meaning("share of the barrier"))
        draw_layers(kept(shares_figure, why), "shares", "shares")
        st.caption(
            f"For the aligned average without a correction, over {why.orders} orders of layers, on "
            f"{numbers.count(min(few, why.images))} test images; error bars are twice the standard error. The shares "
            f"sum to {numbers.loss(why.total)} nats (cross-entropy)."
        )
    left, right = st.columns(2)
    with left.container(border=True):
        st.markdown("**Do the weights point the same way?**", help=meaning("alignment of singular vectors"))
        draw_layers(kept(spectra_figure, why), "spectra", "singular-vectors")
        before, after = (numbers.ratio(float(row.mean())) for row in why.distance)
        st.caption(
            f"L2 distance between A's and B's weights relative to their norms, mean over the layers' weights: {before} "
            f"before re-ordering, {after} after."
        )
    with right.container(border=True):
        st.markdown("**Does the merge's confidence match its accuracy?**", help=meaning("calibration error"))
        draw(kept(calibration_figure, why), "calibration", "calibration", width="stretch")
    _matches(report)
    st.markdown(scores_table(why))
    st.caption(
        f"Measured on {_whose(why.images, report)}. The accuracy of the merge has the 95 % interval "
        f"{numbers.interval(why.scores['merge'].accuracy, why.images)} (Wilson)."
    )
    _lost(why, report)


def _whose(images: int, report: MergeReport) -> str:
    """Say on which test images something was measured: those of the run, or another number of them."""
    own = next((curve["test"].images for curve in report.curves.values() if "test" in curve), images)
    if images == own:
        return f"this run's {numbers.count(images)} test images"
    return f"{numbers.count(images)} of this run's {numbers.count(own)} test images"


def _matches(report: MergeReport) -> None:
    """Show what the merge itself measured: the match of units, dead units, and the similarity of layers."""
    measured = _measured(report)
    left, right = st.columns(2)
    if measured:
        with left.container(border=True):
            st.markdown("**How well do units match?**", help=meaning("match correlation"))
            draw_layers(kept(_match_quality, report), "matches", "matches")
            dead = ", ".join(f"{count} in {plain(layer)}" for layer, count in died(measured).items() if count)
            st.caption(
                "Median and interquartile range over each layer's units. Dead in the merge but alive in both parents: "
                f"{dead or 'none'}."
            )
    if not report.similarity.keys().isdisjoint(ALIKE):
        with right.container(border=True):
            st.markdown("**How similar are the layers?**", help=meaning("CKA"))
            draw_layers(kept(_alike, report), "alike", "cka-diagonal")


def _measured(report: MergeReport) -> list[LayerUnits]:
    return [one for one in report.units if one.images]


def _match_quality(report: MergeReport) -> Figure:
    return match_quality_figure(_measured(report))


def _alike(report: MergeReport) -> Figure:
    return diagonal_figure({key: map for key, map in report.similarity.items() if key in ALIKE})


def _lost(why: Why, report: MergeReport) -> None:
    st.markdown(
        f"**Images that both parents get right and the merge gets wrong** ({why.lost_count} of "
        f"{numbers.count(why.both_right)}; the most confident mistakes first)"
    )
    if not why.lost:
        st.caption("There are none.")
        return
    dataset = report.request.get("dataset", "")
    test_images = images(dataset, "test", max(why.lost) + 1)
    if test_images is None:
        st.caption(why_no_images(dataset))
        return
    show_picture(
        kept(_lost_sheet, why, test_images),
        f"Images that only the merge gets wrong: {'; '.join(_mistakes(why, test_images)[:8])}",
    )


def _lost_sheet(why: Why, known: ImageSet) -> bytes:
    return labelled_sheet(known, why.lost, _mistakes(why, known), COLUMNS)


def _mistakes(why: Why, known: ImageSet) -> list[str]:
    names = [known.classes[number] if number < len(known.classes) else str(number) for number in why.lost_as]
    truths = [known.classes[known.labels[number]] for number in why.lost]
    return [f"{truth} → {name}" for truth, name in zip(truths, names, strict=True)]


def _along(along: Along) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        what = one_of("Quantity", list(SHOWN), default="to_a", key="inside", format_func=SHOWN.__getitem__)
    left, right = st.columns(2)
    for column, line in ((left, "naive"), (right, "aligned")):
        with column.container(border=True):
            st.markdown(f"**{STYLES[line].label.capitalize()}: from A to {'B' if line == 'naive' else 'π(B)'}**")
            figure = kept(inside_figure, along, line, what)
            draw_layers(figure, f"inside {line} {what}", f"inside-{line}-{what}")
    draw(kept(loss_figure, along), "loss along", "loss-along", width="stretch")
    st.caption(
        f"Debiased CKA of pooled activations on {numbers.count(along.images)} test images; the networks are "
        "uncorrected averages. CKA ignores scale: a layer whose activations have nearly vanished may still look "
        "similar."
    )


def _aligners_figure(found: Aligners) -> Figure:
    return aligners_figure(found, ALIGN_COLORS)


def _aligners(found: Aligners) -> None:
    lines = [
        "| | accuracy half-way | loss | distance to A (unaligned: 1) | alignment of singular vectors | units moved |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for at, (key, label) in enumerate(zip(found.keys, found.labels, strict=True)):
        score = found.scores[key]
        cells = (
            numbers.accuracy(score.accuracy),
            numbers.loss(score.loss),
            numbers.ratio(float(found.distance[at])),
            numbers.correlation(float(found.alignment[at])),
            numbers.accuracy(float(found.moved[at])),
        )
        lines.append(f"| {label} | {' | '.join(cells)} |")
    st.markdown("\n".join(lines))
    draw_layers(kept(_aligners_figure, found), "aligners", "aligners")
    st.caption(
        f"Uncorrected averages of A and π(B), measured on {numbers.count(found.images)} test images. Every method uses "
        "its default settings."
    )
