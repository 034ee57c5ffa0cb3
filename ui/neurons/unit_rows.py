"""The rows of one page of units: each in A, π(B), the merge, the naive average and B's old slot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.results.reports import LayerUnits, MergeReport
from merging.text import numbers
from ui.neurons.pictures import Gallery, ask_again, how_made, look, watch
from ui.neurons.unit_tiles import exemplars, tile
from ui.neurons.units import FATES_MEAN, cells, fate, scale
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.state import ledger, owner
from ui.shell.words import meaning


@dataclass(frozen=True)
class View:
    """What one looks at: a layer of a run (its address in `run`), the units of this page and of the next one; way: how
    pictures are made; fates: unit -> what the merge made of it, where that was measured."""

    layer: LayerUnits
    models: dict[str, ModelRef]
    report: MergeReport
    run: str
    now: list[int]
    next: list[int]
    way: str
    fates: dict[int, str]

    def gallery(self) -> Gallery:
        """The pictures of this page; those that are missing are asked for, and some of the next page with them."""
        here, there = ([cell for unit in units for cell in cells(self.layer, unit).values()] for units in self._units)
        return look(self.models, self.layer.layer, here, there, way=self.way)

    @property
    def _units(self) -> tuple[list[int], list[int]]:
        return self.now, self.next


def rows(view: View) -> None:
    """The rows of one page. Jobs that an earlier page asked for and nobody waits for any more are taken back."""
    gallery = watch(view.gallery, partial(_rows, view))
    _take_back({job.id for job in gallery.waiting.values()})


def _rows(view: View, gallery: Gallery) -> None:
    _say_state(view, gallery)
    if view.fates:
        words = [f"{count} {word}" for word, count in Counter(view.fates.values()).most_common()]
        st.caption(
            f"What the merge made of {len(view.fates)} of these {len(view.now)} units: {', '.join(words)}.",
            help=f"{FATES_MEAN} A unit's own page says how much.",
        )
    for unit in view.now:
        _row(view, unit, gallery)


def _say_state(view: View, gallery: Gallery) -> None:
    total = len(gallery.made) + len(gallery.waiting) + len(gallery.failed)
    if gallery.waiting:
        st.progress(len(gallery.made) / total, f"Making pictures: {len(gallery.made)} of {total} are ready")
    else:
        st.caption(
            f"{len(gallery.made)} pictures. {how_made(view.way)}",
            help=f"{meaning('picture of a unit')} {meaning('× best image')}",
        )
    if gallery.refused:
        st.warning(plain(gallery.refused), icon=":material/info:")
    if gallery.failed:
        job = next(iter(gallery.failed.values()))
        why = (job.error or {}).get("text", "They were cancelled.")
        st.error(f"{len(gallery.failed)} pictures could not be made. {plain(why)}", icon=":material/error:")
        if st.button("Try again", key="pictures again", icon=":material/replay:"):
            ask_again(view.models, view.layer.layer, gallery.failed, view.way)
            st.rerun(scope="app")


def _row(view: View, unit: int, gallery: Gallery) -> None:
    layer = view.layer
    with st.container(key=f"unitrow {unit}"):
        shown = cells(layer, unit)
        first, *tiles, last = st.columns([2, *([2] * len(shown)), 3], vertical_alignment="top")
        with first:
            link("neurons", f"Unit {unit}", run=view.run, layer=layer.layer, unit=str(unit))
            fared = ", ".join([fate(layer, unit), *([view.fates[unit]] if unit in view.fates else [])])
            st.caption(
                f"match {numbers.correlation(float(layer.match[unit]))}  \n"
                f"scale {numbers.ratio(float(scale(layer)[unit]))}  \n**{fared}**"
            )
        for column, (slot, cell) in zip(tiles, shown.items(), strict=True):
            with column:
                tile(slot, cell, gallery, f"{unit} {slot}")
        with last:
            exemplars(layer, "A", unit, view.report, columns=3, rows=1)


def _take_back(wanted: set[str]) -> None:
    """Forget one's queued pictures that this view does not wait for, so that what one looks at comes first."""
    for job in ledger().jobs(owner=owner(), states=("queued",), kind="pictures"):
        if job.id not in wanted:
            ledger().delete(job.id, owner())
