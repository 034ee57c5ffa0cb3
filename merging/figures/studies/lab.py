"""Figure of the manipulation lab: CKA falls to its closed-form limit while accuracy stays."""

from __future__ import annotations

import numpy as np

from merging.figures.figure import Figure
from merging.figures.palette import STYLES, figure
from merging.studies.lab import Lab
from merging.text import numbers

LABELS = {
    "classes": "strength of the shift (relative to the mean norm of a representation)",
    "image": "strength of the shift (relative to the mean norm of a representation)",
    "unit": "scaling factor of the unit, minus 1",
}


def lab_figure(found: Lab, kind: str) -> Figure:
    """CKA, accuracy, neighbours and Procrustes over the strength of a change. kind: "classes", "image" or "unit"."""
    cka, accuracy = found.cka[kind], found.accuracy[kind]
    fig = figure(
        f"CKA of {found.layer}'s input before and after the change falls from {numbers.ratio(float(cka[0]))} to "
        f"{numbers.ratio(float(cka[-1]))} (limit {numbers.ratio(found.limit[kind])}), while accuracy stays at "
        f"{numbers.accuracy(float(accuracy[-1]))} and mutual neighbours at "
        f"{numbers.ratio(float(found.neighbours[kind][-1]))}.",
        height=360,
        x={
            "title": LABELS[kind],
            "tickvals": list(range(len(found.strength))),
            "ticktext": [f"{s:g}" for s in found.strength],
        },
        y={"title": "similarity or accuracy", "range": [-0.03, 1.05]},
        hovermode="x unified",
    )
    places = np.arange(len(found.strength))
    series = (
        ("CKA with the input before the change", cka, STYLES["corrected"]),
        ("accuracy", accuracy, STYLES["A"]),
        ("mutual nearest neighbours", found.neighbours[kind], STYLES["aligned"]),
        ("Procrustes", found.procrustes[kind], STYLES["ensemble"]),
    )
    for name, values, style in series:
        fig.add("scatter",
            x=places, y=values, name=name, mode="lines+markers", line=style.line(), marker=style.marker(6),
            hovertemplate="%{y:.3f}", meta=name,
        )  # fmt: skip
    line = {"color": STYLES["corrected"].color, "dash": "dot", "width": 1.5}
    fig.add_level(found.limit[kind], line, f"limit of CKA: {numbers.ratio(found.limit[kind])}")
    return fig
