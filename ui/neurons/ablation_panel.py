"""What single units are worth: the loss that their removal adds, of one unit and of units by their outcome."""

from __future__ import annotations

import streamlit as st

from merging.figures.studies.ablation import ablation_figure
from merging.studies.ablation import NETS, Ablation
from merging.studies.evidence import Evidence
from merging.text import numbers
from ui.neurons.units import SLOTS, first_layer
from ui.runs.study import studied
from ui.shell.address import said
from ui.shell.chosen import Chosen
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.markdown import plain
from ui.shell.words import meaning

BUTTON = "Remove units one by one"


def worth_of_unit(found: Chosen, layer: str, unit: int) -> None:
    """Show what removing this unit costs each network, beside the other units of the layer."""
    st.markdown("#### What is this unit worth?", anchors=False, help=meaning("ablation"))
    ablated: Ablation | None = studied(found, "ablation", {"layer": layer}, button=BUTTON)
    if ablated is not None:
        st.markdown(worth_table(ablated, unit))
        st.caption(f"Measured on {numbers.count(ablated.images)} test images.")


def worth_of_fates(found: Chosen, evidence: Evidence) -> None:
    """Show the cost of removing units of one layer, by what became of them in the merge."""
    if found.report is None or not found.report.units:
        return
    layers = [units.layer for units in found.report.units]
    layer = said("layer") if said("layer") in layers else layers[first_layer(found.report.units)]
    st.markdown(f"**What does removing a unit of {plain(layer)} cost, by its outcome?**", help=meaning("ablation"))
    ablated: Ablation | None = studied(found, "ablation", {"layer": layer}, button=BUTTON)
    if ablated is None:
        return
    fates = evidence.fates_of(layer, range(len(ablated.added["merge"])))
    if not fates:
        st.caption(f"The outcome of no unit of {plain(layer)} was measured. Choose all units above.")
        return
    draw(kept(ablation_figure, ablated, tuple(sorted(fates.items()))), "ablation", "ablation", width="stretch")
    st.caption(
        "Loss that removing one unit adds to the merge: mean over the units of each kind, with its 95 % bootstrap "
        f"interval, on {numbers.count(ablated.images)} test images. The first bar averages over all {len(fates)} units "
        "with a known outcome."
    )


def worth_table(ablated: Ablation, unit: int) -> str:
    """What removing the unit costs each network, and the mean over the layer's units, as a Markdown table."""
    lines = [
        "| without this unit | accuracy lost | loss added (nats) | rank in the layer | loss added by a random unit |",
        "|---|---:|---:|---:|---:|",
    ]
    for net in NETS:
        lost, added = ablated.lost[net], ablated.added[net]
        cells = (
            numbers.points(float(lost[unit])),
            numbers.loss(float(added[unit])),
            f"{ablated.rank(unit, net)} of {len(added)}",
            f"{numbers.loss(float(added.mean()))} ± {numbers.loss(float(added.std()))}",
        )
        lines.append(f"| {SLOTS[net]} | {' | '.join(cells)} |")
    return "\n".join(lines)
