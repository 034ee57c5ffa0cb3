"""Reliability of one similarity value: a traffic light with its reasons, and the evidence."""

from __future__ import annotations

import streamlit as st

from merging.figures.similarity import TITLES
from merging.figures.studies.reliability import interval_figure
from merging.studies.reliability import Reliability
from merging.text import numbers
from ui.neurons.tiles import labelled_sheet, show_picture
from ui.runs.study import studied
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.state import images
from ui.shell.words import meaning

LIGHTS = {
    "green": (":green[:material/check_circle:]", "No reason to doubt this value was found."),
    "amber": (":orange[:material/warning:]", "Take this value with care:"),
    "red": (":red[:material/error:]", "Do not trust this value:"),
}


def reliability_panel(found: Chosen, pair: str, row: str, column: str, units: str) -> None:
    """Examine one cell of a similarity map.

    Args:
        found: the run.
        pair: key of the map.
        row, column: layers of the cell.
        units: layer whose neurons are linked, "" for no link.
    """
    with st.container(border=True, key="reliability"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{TITLES[pair]}: {plain(row)} and {plain(column)}**", width="content")
            if units:
                link(
                    "neurons",
                    f"Neurons of {units}",
                    run=found.short,
                    layer=units,
                    view="All units",
                    icon=":material/blur_on:",
                )
        finding: Reliability | None = studied(
            found, "reliability", {"pair": pair, "row": row, "column": column}, at_once=True, button="Examine this cell"
        )
        if finding is not None:
            _evidence(finding, found.report.request.get("dataset", "") if found.report else "")


def _evidence(seen: Reliability, dataset: str) -> None:
    icon, words = LIGHTS[seen.light]
    st.markdown(f"{icon} **{words}** {'; '.join(seen.doubts)}{'.' if seen.doubts else ''}")
    left, right = st.columns([3, 2])
    with left:
        draw(kept(interval_figure, seen), "interval", "reliability", width="stretch")
    with right:
        st.markdown(reliability_table(seen))
    test_images = images(dataset, "test", max(seen.dominant) + 1) if seen.dominant else None
    if test_images is not None:
        st.markdown("**The images with the largest leverage**", help=meaning("leverage"))
        names = [test_images.classes[test_images.labels[number]] for number in seen.dominant]
        sheet = labelled_sheet(test_images, seen.dominant, names, 9)
        show_picture(sheet, f"Images with the largest leverage: {', '.join(names)}")


def reliability_table(seen: Reliability) -> str:
    """Return the evidence as a Markdown table."""
    p, q = seen.features
    rows = [
        ("images", numbers.count(seen.images)),
        ("units or features of the two layers", f"{numbers.count(p)} and {numbers.count(q)}"),
        (
            "probability that shuffled images give a CKA at least as large",
            f"{seen.p_value:.1g}" if seen.p_value >= 0.001 else "below .001",
        ),
        ("CKA without the 1 % of images with the largest leverage", numbers.correlation(seen.trimmed)),
        ("largest leverage of one image", " and ".join(numbers.accuracy(value) for value in seen.leverage)),
        ("variance in the first principal component", " and ".join(numbers.accuracy(value) for value in seen.first)),
        ("mutual nearest neighbours", numbers.correlation(seen.neighbours)),
        ("Procrustes", numbers.correlation(seen.procrustes)),
    ]
    return "\n".join(["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)])
