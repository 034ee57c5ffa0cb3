"""Widgets of numbers, settings and methods, drawn from their declarations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import Field, fields
from typing import Any

import streamlit as st

from merging.jobs.requests.checks import check_number
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.methods.registry import Role, table
from ui.shell.guard import show_errors
from ui.shell.words import meaning


def setting_fields(
    declared: type, prefix: str, *, without: Collection[str] = (), fixed: Collection[str] = (), columns: int = 3
) -> dict[str, Any]:
    """Draw a widget for every setting of a class, in columns; return name -> value, the default for one without effect.

    Args:
        declared: the class.
        prefix: begins the session-state keys of the widgets.
        without: settings that are left out.
        fixed: settings that cannot be changed, because an axis gives their values.
        columns: number of columns.
    """
    shown, idle = [one for one in fields(declared) if one.name not in without], set[str]()
    for start in range(0, len(shown), columns):
        for column, one in zip(st.columns(columns), shown[start : start + columns], strict=False):
            with column:
                other, values = one.metadata["only"] or ("", ())
                if other and other not in fixed and st.session_state[f"{prefix} {other}"] not in values:
                    idle.add(one.name)
                setting_field(one, f"{prefix} {one.name}", disabled=one.name in idle or one.name in fixed)
    chosen = {one.name: st.session_state[f"{prefix} {one.name}"] for one in shown}
    return {one.name: one.default if one.name in idle else chosen[one.name] for one in shown}


def setting_field(declared: Field[Any], key: str, *, disabled: bool = False) -> None:
    """Draw the widget of one setting. key: session-state key under which the value is stored."""
    about = declared.metadata
    st.session_state.setdefault(key, declared.default)
    label = f"{about['label']} ({about['unit']})" if about["unit"] else about["label"]
    shared: dict[str, Any] = {"key": key, "help": about["help"], "persist_state": "session", "disabled": disabled}
    if isinstance(declared.default, bool):
        st.toggle(label, **shared)
    elif about["choices"]:
        st.selectbox(label, list(about["choices"]), **shared)
    else:
        _number(label, declared, shared)


def _number(label: str, declared: Field[Any], shared: dict[str, Any]) -> None:
    """The class of the settings refuses a number out of its bounds; see `number_fields`."""
    is_whole, step = isinstance(declared.default, int), declared.metadata["step"]
    low, high = declared.metadata["low"], declared.metadata["high"]
    if low is not None and high is not None:
        shared = {**shared, "help": f"{shared['help']} From {low:g} to {high:g}."}
    kind: type[int] | type[float] = int if is_whole else float
    usual = 1 if is_whole else None
    st.number_input(label, step=usual if step is None else kind(step), format=None if is_whole else "%g", **shared)


def number_fields(keys: dict[str, str], fixed: Collection[str] = ()) -> bool:
    """Draw the fields side by side; return whether all numbers are within their bounds, and say which is not.

    A field with bounds of its own would go on with its last number, while the page shows another one.

    keys: name of the number -> session-state key of its widget, under which a value is already stored.
    fixed: numbers that cannot be changed, because an axis gives their values.
    """
    for column, (name, key) in zip(st.columns(len(keys)), keys.items(), strict=True):
        declared = WHOLE_NUMBERS[name]
        low, high = declared.bounds
        help = f"{meaning(name)} From {low:,} to {high:,}."
        shared: dict[str, Any] = {"key": key, "help": help, "persist_state": "session"}
        column.number_input(declared.label, step=declared.step, disabled=name in fixed, **shared)
    inside = True
    for name, key in keys.items():
        if name not in fixed:
            inside = inside and _is_inside(name, st.session_state[key])
    return inside


def _is_inside(name: str, value: int) -> bool:
    with show_errors():
        check_number(name, value)
        return True
    return False


def method_menu(role: Role, key: str) -> None:
    """Draw the menu that selects methods of a role. key: session-state key, under which a list is already stored."""
    methods = table(role)
    st.multiselect(
        role.capitalize(),
        list(methods),
        format_func=lambda name: methods[name].label,
        key=key,
        help=meaning(role),
        persist_state="session",
    )
