"""The three cards beneath the first screen: pairs to begin with, one click each."""

from __future__ import annotations

import streamlit as st

from merging.zoo.catalogue import Preset, presets
from ui.forms.merge_form import fill_preset, wanted
from ui.runs.run_bar import again
from ui.shell.chosen import look_at, preset_run
from ui.shell.state import entries


def cards() -> None:
    """Each card opens the finished example, or runs the pair where none is shipped."""
    known = presets()
    if not known:
        return
    st.subheader("Begin with one of these", anchor=False)
    for column, preset in zip(st.columns(len(known), border=True), known, strict=True):
        with column:
            st.markdown(f"**{preset.title}**")
            st.caption(preset.text)
            ready = preset_run(preset) is not None
            label = "Show" if ready else "Run"
            icon = ":material/visibility:" if ready else ":material/play_arrow:"
            st.button(label, key=f"preset {preset.key}", icon=icon, on_click=_want, args=(preset.key,))


def open_wanted() -> None:
    """Before any widget is drawn: open the preset whose card was pressed."""
    wish = st.session_state.pop("preset wanted", None)
    for preset in presets():
        if preset.key == wish:
            open_preset(preset)


def open_preset(preset: Preset) -> None:
    """Fill the form with the preset and look at its run; ask for it where none is finished."""
    run = preset_run(preset)
    fill_preset(preset)
    if run is not None:
        look_at(run.id)
        return
    known = entries()
    again(wanted(known[preset.a], known[preset.b]))


def _want(key: str) -> None:
    st.session_state["preset wanted"] = key
