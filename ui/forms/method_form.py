"""The method: a recipe, or align, combine and correct with settings drawn from each method's own declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

import streamlit as st

from merging.methods.recipes import RECIPES
from merging.methods.registry import ROLES, Method, Role, table
from ui.shell.words import meaning

OWN = "own"  # the recipe menu's entry for a triple that is no paper's
OPENED = "choices_shown"  # whether the recipe menu asked for the three choices; opening them by hand is not recorded


def recipe_of(triple: Mapping[Role, str]) -> str:
    """The key of the recipe with these choices and no settings of its own; OWN where there is none."""
    for key, recipe in RECIPES.items():
        if all(getattr(recipe, role) == triple[role] for role in ROLES) and not recipe.settings:
            return key
    return OWN


def method_form() -> None:
    """The widgets; their values are read by `triple` and `settings`."""
    names = {**{key: recipe.label for key, recipe in RECIPES.items()}, OWN: "Your own combination"}
    st.selectbox(
        "Recipe",
        list(names),
        format_func=names.__getitem__,
        key="recipe",
        help=meaning("recipe"),
        on_change=_apply_recipe,
        persist_state="session",
    )
    known = RECIPES.get(st.session_state["recipe"])
    if known is not None:
        st.caption(f"{known.summary} [{known.paper}]({known.link})")
    opened = st.session_state.get(OPENED, False)
    with st.expander("Align, combine, correct and their settings", opened, icon=":material/tune:"):
        for role in ROLES:
            _choice(role)


def triple() -> dict[Role, str]:
    """role -> the chosen method's key."""
    return {role: st.session_state[role] for role in ROLES}


def settings() -> dict[str, dict[str, Any]]:
    """role -> the settings of the chosen method as the widgets say; methods without settings are left out."""
    found: dict[str, dict[str, Any]] = {}
    for role in ROLES:
        values = setting_values(table(role)[st.session_state[role]])
        if values:
            found[role] = values
    return found


def setting_values(method: Method) -> dict[str, Any]:
    """What the widgets of a method's settings say."""
    keys = {declared.name: _key(method, declared.name) for declared in fields(method.settings)}
    return {name: st.session_state[key] for name, key in keys.items() if key in st.session_state}


def setting_widgets(method: Method, *, without: tuple[str, ...] = ()) -> None:
    """A widget for every setting that the method declares, but for those named."""
    for declared in fields(method.settings):
        if declared.name not in without:
            _setting(method, declared)


def fill_method(chosen: Mapping[Role, str], values: dict[str, dict[str, Any]]) -> None:
    """Set the widgets before they are drawn: the method's choices, and its settings where they are given."""
    for role in ROLES:
        st.session_state[role] = chosen[role]
        method = table(role)[chosen[role]]
        for declared in fields(method.settings):
            st.session_state[_key(method, declared.name)] = values.get(role, {}).get(declared.name, declared.default)
    st.session_state["recipe"] = recipe_of(chosen)


def _choice(role: Role) -> None:
    methods = table(role)
    st.selectbox(
        role.capitalize(),
        list(methods),
        format_func=lambda key: methods[key].label,
        key=role,
        help=meaning(role),
        on_change=_apply_choice,
        persist_state="session",
    )
    method = methods[st.session_state[role]]
    st.caption(f"{method.summary} {method.limits}")
    setting_widgets(method)


def _setting(method: Method, declared: Field[Any]) -> None:
    about, key = declared.metadata, _key(method, declared.name)
    st.session_state.setdefault(key, declared.default)
    label = f"{about['label']} ({about['unit']})" if about["unit"] else about["label"]
    shared: dict[str, Any] = {"key": key, "help": about["help"], "persist_state": "session"}
    if isinstance(declared.default, bool):
        st.toggle(label, **shared)
    elif about["choices"]:
        st.selectbox(label, list(about["choices"]), **shared)
    else:
        _number(label, declared, shared)


def _number(label: str, declared: Field[Any], shared: dict[str, Any]) -> None:
    about = declared.metadata
    kind: type[int] | type[float] = int if isinstance(declared.default, int) else float
    low, high, step = (None if about[name] is None else kind(about[name]) for name in ("low", "high", "step"))
    usual = 1 if kind is int else None
    st.number_input(label, low, high, step=step or usual, format=None if kind is int else "%g", **shared)


def _key(method: Method, name: str) -> str:
    return f"set {method.role} {method.key} {name}"


def _apply_recipe() -> None:
    """Fill the choices from the recipe that was picked in the menu; for one of one's own, show them."""
    recipe = RECIPES.get(st.session_state["recipe"])
    st.session_state[OPENED] = recipe is None
    if recipe is not None:
        chosen: dict[Role, str] = {role: getattr(recipe, role) for role in ROLES}
        key = recipe.key
        fill_method(chosen, {role: dict(values) for role, values in recipe.settings.items()})
        st.session_state["recipe"] = key


def _apply_choice() -> None:
    st.session_state["recipe"] = recipe_of(triple())
