"""Similarity maps by every measure, for any two networks of the run; untrustworthy cells of CKA are marked."""

from __future__ import annotations

import streamlit as st

from merging.figures.figure import Figure
from merging.figures.similarity import heatmap
from merging.studies.similarity import BESIDE, PAIRS, Similarities
from ui.panels.similarity_panel import spelled
from ui.panels.study_panels import StudyPanel
from ui.runs.study import choose_other, studied
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw_layers

NAMES = {
    "C": "the other network",
    "pi(B)": "π(B)",
    "merge": "the merge",
    "average": "the aligned average",
    "naive": "the naive average",
}
READ = {"pooled": "averaged over positions", "flattened": "position by position"}


def measures_panel(found: Chosen) -> None:
    """Draw two maps side by side: CKA, and the selected measure."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        third = choose_other(found, "Compare with another network", "none", "beside")
        pairs = PAIRS if third is None else (*BESIDE, *PAIRS)
        first = 1 if third is None else 0
        pair = st.selectbox("Networks", pairs, first, format_func=pair_words, key=f"networks {first}", width=280)
        read = st.selectbox("Convolutions", list(READ), format_func=READ.__getitem__, key="convolutions", width=220)
    settings = {"pair": pair, "treatment": read}
    beside = third if pair in BESIDE else None
    button = "Compare by every measure"
    measured: Similarities | None = studied(found, "similarity", settings, button=button, other=beside)
    if measured is None:
        return
    others = [key for key in measured.maps if key != "cka"]
    other = st.segmented_control(
        "Measure", others, format_func=measured.labels.__getitem__, default="procrustes", key="measure", required=True
    )
    for column, key in zip(st.columns(2), ("cka", other), strict=True):
        with column.container(border=True):
            st.markdown(f"**{measured.labels[key]}**")
            words = f"{pair_words(pair)}, {measured.labels[key]}"
            figure = kept(_map_figure, measured, key, words)
            draw_layers(figure, f"measure {key} {pair} {read}", f"{key}-{pair}")
    flagged = sum(bool(cell) for row in measured.distrust for cell in row)
    images = next(iter(measured.maps.values())).images
    st.caption(
        f"n = {images:,} test images, convolutions {READ[read]}. {_flagged(flagged)}. A CKA value is marked if it "
        "depends on few images or on one direction, or if other measures disagree by more than .3 (hover over a cell "
        "for the reason)."
    )


def _map_figure(measured: Similarities, measure: str, words: str) -> Figure:
    doubts = spelled(measured) if measure == "cka" else None
    return heatmap(measured.maps[measure], words, name=measured.labels[measure], doubts=doubts)


def _flagged(count: int) -> str:
    if not count:
        return "No CKA value is marked with ⚠ as untrustworthy"
    return f"⚠ marks {count} cell{'s' if count > 1 else ''} whose CKA is not to be trusted"


def pair_words(pair: str) -> str:
    """Spell out a pair: "A-pi(B)" as "A and π(B)"."""
    row, _, column = pair.partition("-")
    return f"{row} and {NAMES.get(column, column)}"


PANEL = StudyPanel("similarity", "By other measures", 10, measures_panel)
