"""Does it hold? The pictures' story in numbers, over all layers."""

from __future__ import annotations

import streamlit as st

from merging.figures.studies.evidence import evidence_figure, fates_figure, match_figure, spread_figure
from merging.studies.evidence import MOST, Evidence
from merging.text import numbers
from ui.neurons.units import FATES_MEAN
from ui.runs.study import studied
from ui.shell.address import one_of
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.words import meaning

MEASURES = {"cross": "Response to pictures", "overlap": "Strongest images", "pixels": "Pixels of pictures"}
SAMPLE = "a sample"
UNITS: dict[str, dict[str, int]] = {SAMPLE: {}, "all": {"units": MOST, "layers": MOST}}

DRAWN = "Up to 16 units of up to six layers, drawn at random, or all units of all layers, which takes longer."


def evidence_panel(found: Chosen) -> None:
    """One measure at a time: by layer with intervals, and unit by unit over the match."""
    st.markdown(
        "Single pictures persuade easily. Here many units of all layers are looked at: how much does the merge's unit "
        "follow its parents', compared with the naive average's, with how much the parents agree, and with the noise "
        "of a picture's random start?"
    )
    with st.container(horizontal=True):
        which = one_of("Units", list(UNITS), default=SAMPLE, key="drawn", help=DRAWN)
        measure = st.segmented_control(
            "Measure", list(MEASURES), format_func=MEASURES.__getitem__, default="cross", key="evidence", required=True
        )
    seen: Evidence | None = studied(found, "evidence", UNITS[which], button="Measure over all layers")
    if seen is None:
        return
    st.markdown(in_words(seen))
    with st.container(border=True):
        st.markdown(fates_in_words(seen), help=FATES_MEAN)
        draw(kept(fates_figure, seen), "fates", "fates", width="stretch")
    left, right = st.columns(2)
    with left.container(border=True):
        draw(kept(evidence_figure, seen, measure), f"evidence {measure}", f"evidence-{measure}", width="stretch")
    with right.container(border=True):
        draw(kept(match_figure, seen, measure), f"over match {measure}", f"match-{measure}", width="stretch")
    with st.container(border=True):
        draw(kept(spread_figure, seen, measure), f"spread {measure}", f"spread-{measure}", width="stretch")
    st.caption(
        f"{numbers.count(len(seen.unit))} units of {len(seen.layers)} layers, {seen.steps} steps a picture, "
        f"{numbers.count(seen.images)} test images; bars: 95 % of means over resampled units; boxes: "
        "the middle half of the units and their median, whiskers from 5 to 95 %. Responses and strongest "
        "images are the primary measures; pixels are secondary, for a picture's start alone moves them. "
        f"{meaning('cross-activation')}"
    )


def in_words(seen: Evidence) -> str:
    """Whether the merge follows its parents more than the naive average does: both primary measures must say so, by
    intervals of the units' differences that lie above 0."""
    merge, naive, parents = (seen.interval("cross", row) for row in ("merge", "naive", "parents"))
    shared = [seen.interval("overlap", row) for row in ("merge", "naive")]
    gains = [seen.gain(measure) for measure in ("cross", "overlap")]
    follow = "that the merge's units follow their parents' more than the naive average's do"
    said = (
        f"**The data show {follow}**" if all(gain[1] > 0 for gain in gains) else f"**It cannot be concluded {follow}**"
    )
    return (
        f"{said}: they answer to the parents' pictures with {_mean(merge)} against {_mean(naive)} (0: average image, "
        f"1: strongest; difference unit by unit {_mean(gains[0])}), and share {_mean(shared[0])} against "
        f"{_mean(shared[1])} of the nine strongest images (difference {_mean(gains[1])}). The parents answer to each "
        f"other's pictures with {_mean(parents)}."
    )


def fates_in_words(seen: Evidence) -> str:
    """What became of the units, by the rule of a unit's own page."""
    told = [
        ", ".join(f"{numbers.accuracy(share)} {word}" for word, share in seen.shares(row).items() if share)
        for row in ("merge", "naive")
    ]
    return f"**In the merge:** {told[0]}. In the naive average: {told[1]}."


def _mean(interval: tuple[float, float, float]) -> str:
    mean, low, high = (numbers.ratio(value) for value in interval)
    return f"{mean} [{low}, {high}]"
