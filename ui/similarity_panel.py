"""The four maps, their diagonals, and where a click leads."""

from __future__ import annotations

import streamlit as st

from merging.figures import numbers
from merging.figures.similarity import ORDER, TITLES, diagonal_figure, heatmap
from merging.results import MergeReport, SimilarityMap
from ui.look import draw
from ui.screens import go
from ui.words import meaning


def similarity_panel(report: MergeReport, run: str) -> None:
    """Maps two by two, each in one size and scale; a click on a cell leads to that layer's neurons."""
    maps = {key: report.similarity[key] for key in ORDER if key in report.similarity}
    st.caption(how_measured(next(iter(maps.values()))), help=f"{meaning('CKA')} {meaning('debiased')}")
    keys = list(maps)
    for pair in (keys[:2], keys[2:]):
        for column, key in zip(st.columns(2), pair, strict=False):
            with column.container(border=True):
                st.markdown(f"**{TITLES[key]}**")
                figure = heatmap(maps[key], TITLES[key])
                event = draw(figure, f"map {key}", f"cka-{key}", on_select="rerun", selection_mode="points")
                layer = clicked_layer(event, report)
                if layer:
                    go("neurons", run=run, layer=layer)
    with st.container(border=True):
        st.markdown("**Equal layers, over the depth of the network**")
        draw(diagonal_figure(maps), "diagonal", "cka-diagonal")
        st.caption(
            "CKA does not see the order of units: re-ordering B changes nothing it measures, so A and B are exactly as "
            "alike as A and π(B). What re-ordering does change is the merge."
        )


def how_measured(map: SimilarityMap) -> str:
    """How the numbers came about, in one line: n, estimator, treatment."""
    treatment = "averaged over positions" if map.treatment == "pooled" else "position by position"
    return (
        f"Linear CKA, {map.estimator} estimator, n = {numbers.count(map.images)} test images, convolutions "
        f"{treatment}. Click a cell to see that layer's neurons."
    )


def clicked_layer(event: object, report: MergeReport) -> str:
    """The layer whose neurons a click asks for: the cell's row, or the next one with units; "" for no click."""
    points = getattr(getattr(event, "selection", None), "points", None) or []
    if not points:
        return ""
    return nearest_layer(report, str(points[0]["customdata"][0]))


def nearest_layer(report: MergeReport, layer: str) -> str:
    """This layer if its units were measured, else the last one before it that was, else the first; "" without any."""
    measured = [units.layer for units in report.units]
    names = [info.name for info in report.layers]
    before = names[: names.index(layer) + 1] if layer in names else []
    return next((name for name in reversed(before) if name in measured), measured[0] if measured else "")
