"""Form for the networks beyond A and B: further networks of one merge, and the base network of experts."""

from __future__ import annotations

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import MOST_MODELS, find
from merging.zoo.catalogue import Entry, why_not_together
from ui.forms.method_form import triple
from ui.shell.words import meaning

MORE, BASE = "form_more", "form_base"


def fill_more(request: MergeRequest | None, by_hash: dict[str, str]) -> None:
    """Fill the menus from a request before they are drawn; empty them without one. by_hash: sha256 -> id."""
    models = request.models[2:] if request else ()
    st.session_state[MORE] = [by_hash[model.sha256] for model in models if model.sha256 in by_hash]
    base = by_hash.get(request.base.sha256, "") if request and request.base else ""
    st.session_state[BASE] = base or None


def more_networks(a: Entry, b: Entry, known: dict[str, Entry]) -> None:
    """Draw the menu of further networks; only networks that fit A are offered."""
    fitting = [id for id, entry in known.items() if entry.id not in (a.id, b.id) and not why_not_together(a, entry)]
    selection = [id for id in st.session_state.get(MORE, []) if id in fitting]
    if not fitting:
        st.session_state[MORE] = []
        return
    st.session_state[MORE] = selection
    most = min(len(fitting), MOST_MODELS - 2)
    st.multiselect(
        "Further networks",
        fitting,
        format_func=lambda id: known[id].name,
        key=MORE,
        max_selections=MOST_MODELS - 2,
        placeholder=f"none (up to {most} more)",
        help=meaning("further networks"),
        persist_state="session",
    )


def base_network(a: Entry, known: dict[str, Entry]) -> str:
    """Draw the menu of base networks where the method needs one; return why the merge cannot be run, or ""."""
    needs = [method.label for role, key in triple().items() if (method := find(role, key)).needs_base]
    if not needs:
        return ""
    members = {a.id, st.session_state.get("form_b"), *st.session_state.get(MORE, [])}
    fitting = [id for id, entry in known.items() if id not in members and not why_not_together(a, entry)]
    if not fitting:
        return (
            f"{needs[0]} merges experts trained from one base network, but no such network fits A. Add one on Models."
        )
    if st.session_state.get(BASE) not in fitting:
        st.session_state[BASE] = a.base if a.base in fitting else fitting[0]
    st.selectbox(
        "Base network",
        fitting,
        format_func=lambda id: known[id].name,
        key=BASE,
        help=meaning("base network"),
        persist_state="session",
    )
    return ""


def chosen_more(known: dict[str, Entry]) -> tuple[tuple[ModelRef, ...], ModelRef | None]:
    """Return the networks after A and B, and the base network, from the menus."""
    needed = any(find(role, key).needs_base for role, key in triple().items())
    base = known.get(st.session_state.get(BASE) or "") if needed else None
    more = tuple(ModelRef.of(known[id]) for id in st.session_state.get(MORE, []) if id in known)
    return more, ModelRef.of(base) if base else None
