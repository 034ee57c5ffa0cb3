"""Number fields of forms, drawn from the declarations in `WHOLE_NUMBERS`."""

from __future__ import annotations

from typing import Any

import streamlit as st

from merging.jobs.requests.numbers import WHOLE_NUMBERS
from ui.shell.words import meaning


def number_fields(keys: dict[str, str]) -> None:
    """Draw the fields side by side.

    keys: name of the number -> session-state key of its widget, under which a value is already stored.
    """
    for column, (name, key) in zip(st.columns(len(keys)), keys.items(), strict=True):
        declared = WHOLE_NUMBERS[name]
        shared: dict[str, Any] = {"key": key, "help": meaning(name), "persist_state": "session"}
        column.number_input(declared.label, *declared.bounds, step=declared.step, **shared)
