"""Preset cards at the bottom of the Merge page: each opens an example pair with one click."""

from __future__ import annotations

import streamlit as st

from merging.zoo.catalogue import Preset, presets
from ui.forms.merge_form import fill_preset, wanted_merge
from ui.runs.run_bar import again
from ui.shell.chosen import look_at, preset_run
from ui.shell.state import entries


def cards() -> None:
    """Draw the cards; each opens the finished example, or runs the pair where no example is shipped."""
    every = presets()
    if not every:
        return
    st.subheader("Begin with one of these", anchor=False)
    for column, preset in zip(st.columns(len(every), border=True), every, strict=True):
        with column:
            st.markdown(f"**{preset.title}**")
            st.caption(preset.text)
            ready = preset_run(preset) is not None
            label = "Show" if ready else "Run"
            icon = ":material/visibility:" if ready else ":material/play_arrow:"
            st.button(label, key=f"preset {preset.key}", icon=icon, on_click=_want, args=(preset.key,))


def open_wanted() -> None:
    """Open the preset whose card was pressed, before any widget is drawn."""
    wish = st.session_state.pop("preset wanted", None)
    for preset in presets():
        if preset.key == wish:
            open_preset(preset)


def open_preset(preset: Preset) -> None:
    """Fill the form with the preset and open its finished run; queue the run where there is none."""
    run = preset_run(preset)
    fill_preset(preset)
    if run is not None:
        look_at(run.id)
        return
    by_id = entries()
    again(wanted_merge(by_id[preset.a], by_id[preset.b]))


def _want(key: str) -> None:
    st.session_state["preset wanted"] = key
