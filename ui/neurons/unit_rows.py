"""Rows of one page of units: each unit in A, π(B), the merge, the naive average, and at B's old position."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.results.reports import LayerUnits, MergeReport
from merging.text import numbers
from ui.neurons.picture_rows import show_tiles
from ui.neurons.pictures import Gallery, look, say_state, take_back_others, watch_pictures
from ui.neurons.unit_tiles import exemplars, unit_tile
from ui.neurons.units import FATES_MEAN, cells, match_word, scale
from ui.shell.screens import link


@dataclass(frozen=True)
class View:
    """One page of units.

    Attributes:
        layer: the selected layer.
        models: source -> network.
        report: the run's report.
        run: the run's id, shortened as in addresses.
        now: units of this page.
        next: units of the next page.
        way: a key of `pictures.WAYS`.
        fates: unit -> its outcome in the merge, for units with a measurement.
    """

    layer: LayerUnits
    models: dict[str, ModelRef]
    report: MergeReport
    run: str
    now: list[int]
    next: list[int]
    way: str
    fates: dict[int, str]

    def gallery(self) -> Gallery:
        """Pictures of this page. Missing ones are submitted as jobs, filled up with units of the next page."""
        here, there = ([cell for unit in units for cell in cells(self.layer, unit).values()] for units in self._units)
        return look(self.models, self.layer.layer, here, there, way=self.way)

    @property
    def _units(self) -> tuple[list[int], list[int]]:
        return self.now, self.next


def rows(view: View) -> None:
    """Show the rows of one page. The visitor's queued picture jobs that this page does not need are withdrawn."""
    take_back_others(watch_pictures(view.gallery, partial(_rows, view)))


def _rows(view: View, gallery: Gallery) -> None:
    say_state(gallery, view.models, view.layer, view.way)
    if view.fates:
        words = [f"{count} {word}" for word, count in Counter(view.fates.values()).most_common()]
        st.caption(
            f"What became of {_counted(len(view.fates), len(view.now))} in the merge: {', '.join(words)}.",
            help=f"{FATES_MEAN} The page of each unit shows the numbers behind it.",
        )
    for unit in view.now:
        _row(view, unit, gallery)


def _counted(known: int, shown: int) -> str:
    """Say for how many of the displayed units the outcome is known."""
    return f"these {shown} units" if known == shown else f"{known} of these {shown} units"


def _row(view: View, unit: int, gallery: Gallery) -> None:
    layer = view.layer
    match, ratio = numbers.correlation(float(layer.match[unit])), numbers.ratio(float(scale(layer)[unit]))
    outcomes = [match_word(layer, unit), *([view.fates[unit]] if unit in view.fates else [])]
    tiles = [unit_tile(slot, cell, gallery) for slot, cell in cells(layer, unit).items()]
    strongest = exemplars(layer, "A", unit, view.report, columns=3)
    with st.container(horizontal=True, key=f"unitrow {unit}"):
        link("neurons", f"Unit {unit}", run=view.run, layer=layer.layer, unit=str(unit))
        show_tiles([*tiles, strongest], (f"match {match}", f"scale {ratio}", ", ".join(outcomes)))
