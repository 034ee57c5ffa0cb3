"""Evidence view of the Neurons page: statistics over the units of all layers, in addition to single pictures."""

from __future__ import annotations

import streamlit as st

from merging.figures.studies.evidence import evidence_figure, fates_figure, match_figure, spread_figure
from merging.studies.evidence import ALL_UNITS, Evidence
from merging.text import numbers
from ui.neurons.ablation_panel import worth_of_fates
from ui.neurons.units import FATES_MEAN
from ui.runs.study import studied
from ui.shell.address import one_of
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw, draw_layers
from ui.shell.words import meaning

MEASURES = {"cross": "Response to pictures", "overlap": "Strongest images", "pixels": "Pixels of pictures"}
SAMPLE = "a sample"
UNITS: dict[str, dict[str, int]] = {SAMPLE: {}, "all": ALL_UNITS}

DRAWN = "A random sample of up to 16 units from each of up to six layers, or all units of all layers (takes longer)."


def evidence_panel(found: Chosen) -> None:
    """Show one measure at a time: per layer with intervals, and per unit against the match correlation."""
    st.markdown(
        "A few pictures can mislead. For many units of all layers, this view measures how strongly the merge's units "
        "follow their parents' units. The result is compared with the naive average, with the agreement of the two "
        "parents, and with the effect of another random start of the pictures."
    )
    with st.container(horizontal=True):
        which = one_of("Units", list(UNITS), default=SAMPLE, key="drawn", help=DRAWN)
        measure = st.segmented_control(
            "Measure", list(MEASURES), format_func=MEASURES.__getitem__, default="cross", key="evidence", required=True
        )
    evidence: Evidence | None = studied(found, "evidence", UNITS[which], button="Measure over all layers")
    if evidence is None:
        return
    st.markdown(evidence_verdict(evidence))
    with st.container(border=True):
        st.markdown(fates_in_words(evidence), help=FATES_MEAN)
        draw(kept(fates_figure, evidence), "fates", "fates", width="stretch")
    with st.container(border=True):
        worth_of_fates(found, evidence)
    left, right = st.columns(2)
    with left.container(border=True):
        st.markdown("**Mean per layer**")
        draw_layers(kept(evidence_figure, evidence, measure), f"evidence {measure}", f"evidence-{measure}")
    with right.container(border=True):
        st.markdown("**Each unit, over its match correlation**")
        draw(kept(match_figure, evidence, measure), f"over match {measure}", f"match-{measure}", width="stretch")
    with st.container(border=True):
        st.markdown("**Spread over the units of each layer**")
        draw(kept(spread_figure, evidence, measure), f"spread {measure}", f"spread-{measure}", width="stretch")
    st.caption(
        f"{numbers.count(len(evidence.unit))} units of {len(evidence.layers)} layers, "
        f"{evidence.steps} steps per picture, {numbers.count(evidence.images)} test images. Bars: 95 % "
        "bootstrap intervals of the mean over units. Boxes: median and interquartile range over units; whiskers from "
        "the 5th to the 95th percentile. Responses and strongest images are the primary measures. Pixels are "
        "secondary, because a new random start alone changes them. "
        f"{meaning('cross-activation')}"
    )


def evidence_verdict(seen: Evidence) -> str:
    """State whether the merge follows its parents more than the naive average does, with the numbers.

    Both primary measures must agree: the interval of the mean difference between merge and naive average lies above 0.
    """
    merge, naive, parents = (seen.interval("cross", row) for row in ("merge", "naive", "parents"))
    shared = [seen.interval("overlap", row) for row in ("merge", "naive")]
    gains = [seen.gain(measure) for measure in ("cross", "overlap")]
    follow = "that the merge's units follow their parents' units more than the naive average's units do"
    verdict = (
        f"**The data show {follow}**" if all(gain[1] > 0 for gain in gains) else f"**It cannot be concluded {follow}**"
    )
    return (
        f"{verdict}. The mean response of the merge's units to the parents' pictures is {_mean(merge)}, that of the "
        f"naive average's units is {_mean(naive)}, and the mean difference per unit is {_mean(gains[0])}. On this "
        "scale, 0 is the mean response to all images and 1 the response to the strongest image. The merge's units "
        f"share {_mean(shared[0])} of the nine strongest images with their parents' units, the naive average's units "
        f"{_mean(shared[1])} (difference {_mean(gains[1])}). The parents' mean response to each other's pictures is "
        f"{_mean(parents)}."
    )


def fates_in_words(seen: Evidence) -> str:
    """State the share of units with each outcome, by the rule of `studies.units`."""
    shares = [
        ", ".join(f"{numbers.accuracy(share)} {word}" for word, share in seen.shares(row).items() if share)
        for row in ("merge", "naive")
    ]
    return f"**In the merge:** {shares[0]}. In the naive average: {shares[1]}."


def _mean(interval: tuple[float, float, float]) -> str:
    mean, low, high = (numbers.ratio(value) for value in interval)
    return f"{mean} [{low}, {high}]"
