"""Loss and accuracy on the plane through A, B and pi(B), and along two lines in this plane."""

from __future__ import annotations

import numpy as np
import streamlit as st

from merging.figures.curve import curve_figure, curves_of
from merging.figures.studies.landscape import landscape_figure
from merging.results.reports import Metric
from merging.studies.landscape import RESET, Landscape
from merging.text import numbers
from ui.runs.study import choose_other, studied
from ui.shell.address import one_of
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.markdown import plain

METRICS: dict[Metric, str] = {"accuracy": "Accuracy", "loss": "Loss"}
NOISE = 0.02  # difference in accuracy up to which a network is called as good as A and B
FINE = {"21 per side": 21, "41 per side (four times as long)": 41}


def landscape_panel(found: Chosen) -> None:
    """Draw the plane, its interpretation, and the curves below it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric: Metric = one_of(
            "Metric", list(METRICS), default="accuracy", key="plane", format_func=METRICS.__getitem__
        )
        fine = st.selectbox("Points", list(FINE), key="points a side", width=260)
        third = choose_other(found, "Third corner", "π(B)", "third")
    settings = {"resolution": FINE[fine]}
    plane: Landscape | None = studied(found, "landscape", settings, button="Measure the plane", other=third)
    if plane is None:
        return
    draw(kept(landscape_figure, plane, metric), f"plane {metric}", f"plane-{metric}", width="stretch")
    st.markdown(landscape_words(plane) if third is None else through_three(plane, third.name))
    measured = numbers.count(int(plane.measured.sum()))
    st.caption(
        f"{measured} of {numbers.count(plane.measured.size)} points measured on {numbers.count(plane.images)} test "
        f"images (the others are interpolated, because their neighbours agree within 3 percentage points of accuracy "
        f"and 10 % of loss). The marked networks: {numbers.count(plane.point_images)} test images, as in the run. "
        f"{plane.batch_norm[0].upper() + plane.batch_norm[1:]}. Axes are orthogonal and have the same scale."
    )
    if found.report is not None and curves_of(found.report, "test"):
        st.markdown("**The two lines of the plane as curves**")
        draw(kept(curve_figure, found.report, metric), "line in the plane", f"line-{metric}", width="stretch")


def through_three(plane: Landscape, name: str) -> str:
    """Interpret a plane through three networks in two sentences. name: name of the third network."""
    points = {key: numbers.accuracy(point[4]) for key, point in plane.points.items()}
    apart = float(np.hypot(*plane.points["C"][:2]))
    return (
        f"The other network is {plain(name)}, with an accuracy of {points['C']} (A {points['A']}, B {points['B']}) and "
        f"at a distance of {apart:.1f} from A. The naive average ({points['naive']}) and the merge ({points['merge']}) "
        "are marked at the points of the plane that are nearest to them."
    )


def landscape_words(plane: Landscape) -> str:
    """Interpret the plane through A, B and π(B) in two or three sentences."""
    accuracy = {name: numbers.accuracy(point[4]) for name, point in plane.points.items()}
    lower = min(plane.points["A"][4], plane.points["B"][4]) - NOISE
    naive = "The middle of the line from A to B" if _is_middle(plane, "naive", "B") else _beside(plane, "naive")
    merge = "On the line from A to π(B), the merge" if _is_middle(plane, "merge", "pi(B)") else _beside(plane, "merge")
    worse = "lies in a worse region than A and B"
    anew = (
        " BatchNorm statistics were re-estimated for the naive average and the merge, as at all points of the plane."
        if RESET in plane.batch_norm
        else ""
    )
    return (
        f"{_two_functions(plane)} {naive} {worse if plane.points['naive'][4] < lower else 'is as good as A and B'} "
        f"({accuracy['naive']}). {merge} {worse if plane.points['merge'][4] < lower else 'is as good as A and B'} "
        f"({accuracy['merge']}; A {accuracy['A']}, B {accuracy['B']}).{anew}"
    )


def _two_functions(plane: Landscape) -> str:
    """Whether B and π(B) compute one function, by their loss and accuracy on the same images."""
    b, aligned = (plane.points[name][3:] for name in ("B", "pi(B)"))
    if np.allclose(b, aligned, rtol=1e-3, atol=1e-4):
        return "B and π(B) compute the same function at two points of weight space."
    return (
        "π(B) is B with its units mixed, which changes its function: its accuracy is "
        f"{numbers.accuracy(aligned[1])}, B's {numbers.accuracy(b[1])}."
    )


def _is_middle(plane: Landscape, name: str, end: str) -> bool:
    """Whether a network lies half-way between A and another network, up to a hundredth of the plane's width."""
    middle = (np.array(plane.points["A"][:2]) + plane.points[end][:2]) / 2
    return float(np.hypot(np.hypot(*(plane.points[name][:2] - middle)), plane.points[name][2])) <= _width(plane)


def _beside(plane: Landscape, name: str) -> str:
    """A network that is no middle of a line, with its distance from the plane if it has one."""
    off, label = plane.points[name][2], {"naive": "The naive average", "merge": "The merge"}[name]
    return f"{label}, at a distance of {off:.1f} from the plane," if off > _width(plane) else label


def _width(plane: Landscape) -> float:
    return 0.01 * max(float(np.ptp(plane.x)), 1e-9)
