"""Form for the method: a recipe, or align, combine and correct, with the settings that each method declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import streamlit as st

from merging.methods.recipes import RECIPES
from merging.methods.registry import ROLES, Method, Role, table
from ui.forms.fields import setting_field
from ui.shell.words import meaning

OWN = "own"  # recipe-menu entry for a combination that no paper proposes
OPENED = "choices_shown"  # whether the recipe menu opened the three choices; opening them by hand is not recorded


def recipe_of(triple: Mapping[Role, str]) -> str:
    """Return the key of the recipe that has these three methods and no settings of its own; OWN if there is none."""
    for key, recipe in RECIPES.items():
        if all(getattr(recipe, role) == triple[role] for role in ROLES) and not recipe.settings:
            return key
    return OWN


def method_form() -> None:
    """Draw the widgets; `triple` and `settings` read their values."""
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
    recipe = RECIPES.get(st.session_state["recipe"])
    if recipe is not None:
        st.caption(f"{recipe.summary} [{recipe.paper}]({recipe.link})")
    is_open = st.session_state.get(OPENED, False)
    with st.expander("Align, combine, correct and their settings", is_open, icon=":material/tune:"):
        for role in ROLES:
            _choice(role)


def triple() -> dict[Role, str]:
    """Return role -> key of the selected method."""
    return {role: st.session_state[role] for role in ROLES}


def settings() -> dict[str, dict[str, Any]]:
    """Return role -> settings of the selected method from the widgets; methods without settings are left out."""
    by_role: dict[str, dict[str, Any]] = {}
    for role in ROLES:
        values = chosen_settings(table(role)[st.session_state[role]])
        if values:
            by_role[role] = values
    return by_role


def chosen_settings(method: Method) -> dict[str, Any]:
    """Return the settings of a method from its widgets."""
    keys = {declared.name: _key(method, declared.name) for declared in fields(method.settings)}
    return {name: st.session_state[key] for name, key in keys.items() if key in st.session_state}


def setting_widgets(method: Method, *, without: tuple[str, ...] = ()) -> None:
    """Draw a widget for every setting that the method declares, except those in `without`."""
    for declared in fields(method.settings):
        if declared.name not in without:
            setting_field(declared, _key(method, declared.name))


def fill_method(chosen: Mapping[Role, str], values: dict[str, dict[str, Any]]) -> None:
    """Set the widgets before they are drawn: the three methods, and their settings from `values` or the defaults."""
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


def _key(method: Method, name: str) -> str:
    return f"set {method.role} {method.key} {name}"


def _apply_recipe() -> None:
    """Fill the choices from the selected recipe; for the user's own combination, show the choices."""
    recipe = RECIPES.get(st.session_state["recipe"])
    st.session_state[OPENED] = recipe is None
    if recipe is not None:
        methods: dict[Role, str] = {role: getattr(recipe, role) for role in ROLES}
        key = recipe.key
        fill_method(methods, {role: dict(values) for role, values in recipe.settings.items()})
        st.session_state["recipe"] = key


def _apply_choice() -> None:
    st.session_state["recipe"] = recipe_of(triple())
