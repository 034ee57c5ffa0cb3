"""Learned nonlinearities of single units, for runs whose networks have such units."""

from __future__ import annotations

import streamlit as st

from merging.figures.studies.learned_curves import ORDERS, curves_figure, units_in_order
from merging.studies.nonlinearities import Nonlinearities
from ui.panels.study_panels import StudyPanel
from ui.runs.study import studied
from ui.shell.chosen import Chosen, request_of
from ui.shell.kept import kept
from ui.shell.look import draw

LEARNED = "adaptive"  # the architecture whose units learn their nonlinearities
SHOWN = 8  # units per figure


def learns_nonlinearities(found: Chosen) -> bool:
    """Whether the merged networks are of the architecture whose units learn their nonlinearities."""
    return found.job is not None and request_of(found.job).models[0].architecture == LEARNED


def nonlinearity_panel(found: Chosen) -> None:
    """Draw the curves of some units of one layer."""
    curves: Nonlinearities | None = studied(found, "nonlinearities", button="Draw the learned curves")
    if curves is None:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layer = st.selectbox("Layer", curves.layers, key="nonlinearity layer", width=240)
        order = st.segmented_control(
            "Units",
            list(ORDERS),
            format_func=ORDERS.__getitem__,
            default="apart",
            key="nonlinearity order",
            required=True,
        )
    units = units_in_order(curves, layer, order, SHOWN)
    draw(kept(curves_figure, curves, layer, units), "learned curves", f"curves-{layer}", width="stretch")
    st.caption(
        "The function of a unit has two parameters, its gain and its saturation. The merge's unit gets the mean of "
        "both parents' gains on a logarithmic scale, and the mean of their saturations on the log-odds scale. "
        f"The curves cover inputs from {curves.x[0]:g} to {curves.x[-1]:g}, where the "
        "functions are curved."
    )


PANEL = StudyPanel("nonlinearities", "Learned nonlinearities", 30, nonlinearity_panel, learns_nonlinearities)
