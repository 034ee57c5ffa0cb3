"""Menu of a run in the list of runs: name, note, archive, delete. Only the visitor sees their name and note."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from merging.jobs.search import LONGEST_NAME, LONGEST_NOTE, Found, set_mark
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.state import ledger, owner


def star_button(found: Found) -> None:
    """Draw the button that stars the run, or removes its star."""
    starred, short = found.mark.starred, found.job.id[:PREFIX]
    if st.button(
        "Remove the star" if starred else "Star",
        key=f"star {short}",
        type="tertiary",
        icon=":material/star:" if starred else ":material/star_border:",
        help="Starred runs are listed under *starred*, for you only",
    ):
        with show_errors():
            set_mark(ledger(), found.job.id, owner(), replace(found.mark, starred=not starred))
            st.rerun()


def run_menu(found: Found) -> None:
    """Draw the menu. Its content is made when it is opened, because every element costs the server time."""
    job, mark, short = found.job, found.mark, found.job.id[:PREFIX]
    menu = st.popover("More", icon=":material/more_horiz:", key=f"menu {short}", on_change="rerun")
    if not menu.open:
        return
    with menu, show_errors():
        with st.form(f"mark {short}", border=False):
            name = st.text_input("Name", mark.name, max_chars=LONGEST_NAME, placeholder="for example, baseline")
            note = st.text_area("Note", mark.note, max_chars=LONGEST_NOTE, height=90)
            st.caption("Only you see the name and the note.")
            if st.form_submit_button("Save", type="primary"):
                set_mark(ledger(), job.id, owner(), replace(mark, name=name.strip(), note=note.strip()))
                st.rerun()
        with st.container(horizontal=True):
            word, icon = ("Take out of the archive", "unarchive") if mark.archived else ("Archive", "archive")
            if st.button(word, key=f"archive {short}", icon=f":material/{icon}:", disabled=job.open):
                set_mark(ledger(), job.id, owner(), replace(mark, archived=not mark.archived))
                st.rerun()
            if owner() in job.owners and not job.open and st.button(
                "Delete", key=f"delete {short}", icon=":material/delete:",
                help="The result is removed for everybody, unless someone else requested it too.",
            ):  # fmt: skip
                ledger().delete(job.id, owner())
                st.rerun()
