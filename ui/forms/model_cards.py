"""Cards of the networks that can be selected, with the facts about each."""

from __future__ import annotations

import streamlit as st

from merging.text import numbers
from merging.zoo.catalogue import Entry
from ui.shell.chosen import WANTED
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import go
from ui.shell.state import data_label, ledger, owner

SOURCES = {"trained": "Trained here", "uploaded": "Uploaded", "shipped": "Comes with the program"}
COLUMNS = 3
PLACES = ("A", "B")
AT_CHANCE = "The accuracy of this network is at chance level. Check its data set, normalisation and architecture."


def model_cards(models: list[Entry]) -> None:
    """Draw the cards, three per row."""
    for first in range(0, len(models), COLUMNS):
        row = models[first : first + COLUMNS]
        for column, entry in zip(st.columns(COLUMNS), row, strict=False):
            with column.container(border=True, key=f"cards {entry.id}"):
                _card(entry)


def chosen_pair(models: list[Entry]) -> None:
    """Show the networks that were chosen with the cards' buttons, and the way to their merge."""
    names = {entry.id: entry.name for entry in models}
    pair = [names.get(st.session_state.get(WANTED.format(place), ""), "") for place in PLACES]
    if not any(pair):
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="chosen pair"):
        words = [f"**{place}** {plain(name) or 'one that fits'}" for place, name in zip(PLACES, pair, strict=True)]
        st.markdown(" · ".join(words), width="stretch")
        if st.button("Merge these two", type="primary", icon=":material/merge:"):
            go("merge")


def fact_lines(entry: Entry) -> list[str]:
    """Return the lines of a card below the name, as Markdown."""
    data = plain(data_label(entry.dataset)) or "data set not known"
    training = [f"seed {entry.seed}"] if entry.seed is not None else []
    training += [f"{entry.epochs} epoch{'s' if entry.epochs != 1 else ''}"] if entry.epochs is not None else []
    return [
        f"{entry.label} · {data}",
        f"accuracy **{numbers.accuracy(entry.accuracy)}**{_certainty(entry)}",
        " · ".join([*training, f"{numbers.count(entry.parameters)} parameters", numbers.size(entry.bytes)]),
    ]


def _certainty(entry: Entry) -> str:
    """Number of test images of the accuracy, and its 95 % interval; "" where it is not known."""
    if entry.accuracy is None or not entry.images:
        return ""
    return f" on {entry.images:,} test images (95 %: {numbers.interval(entry.accuracy, entry.images)})"


def _card(entry: Entry) -> None:
    st.markdown(f"**{plain(entry.name)}**")
    st.markdown("  \n".join(fact_lines(entry)))
    if entry.at_chance:
        st.error(AT_CHANCE, icon=":material/warning:")
    whose = ", only you can use it" if entry.private else ""
    st.caption(SOURCES[entry.source] + whose + (f". {plain(entry.notes)}" if entry.notes else ""))
    if entry.evidence:
        st.caption(plain(f"{entry.why}. {entry.evidence}"))
    with st.container(horizontal=True):
        for place in PLACES:
            help = f"Choose this network as {place} of the next merge."
            if st.button(f"As {place}", key=f"as {place} {entry.id}", help=help):
                st.session_state[WANTED.format(place)] = entry.id
                st.rerun()
        st.download_button(
            "Download",
            lambda: ledger().checkpoint(entry.sha256),
            f"{entry.sha256[:12]}.safetensors",
            "application/octet-stream",
            key=f"get {entry.id}",
            icon=":material/download:",
            on_click="ignore",
        )
        if entry.command:
            with st.popover("How it was made", icon=":material/terminal:"):
                st.code(entry.command, language="bash")
        if entry.source != "shipped" and entry.owner == owner():
            _delete(entry)


def _delete(entry: Entry) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.caption("The network can then no longer be selected. Finished runs that used it are kept.")
        if st.button("Delete this network", key=f"delete {entry.id}", type="primary"):
            with show_errors():
                ledger().delete_model(entry.id, owner())
                st.rerun()
