"""Form of the Compare page: networks, methods and seeds. The address holds every choice, so that it can be shared."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.comparison import Grid
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.jobs.search import KEY
from merging.methods.registry import MOST_MODELS, ROLES, find, table
from merging.zoo.catalogue import Entry, presets, why_not_together
from ui.forms.fields import method_menu, number_fields
from ui.shell.address import said, said_names, said_number
from ui.shell.markdown import plain
from ui.shell.state import entries, image_hash
from ui.shell.words import meaning

MOST = 12  # largest number of networks whose pairs are merged
MODES = {"pairs": "Every pair", "growing": "First 2, 3, … at once"}
DEFAULTS: dict[str, Any] = {
    "align": ["none", "weight-matching", "activation-matching"],
    "combine": ["average"],
    "correct": ["none", "repair"],
    "seeds": 1,
    "images": 1000,
    "points": 11,
    "mode": "pairs",
}
NUMBERS = ("seeds", "images", "points")


def key(name: str) -> str:
    """Session-state key of a widget of this form."""
    return f"compare {name}"


def fill_from_address() -> None:
    """Fill the empty widgets before they are drawn: from the address, else with the defaults.

    Networks and methods that do not exist are ignored. Streamlit forgets the value of a widget that was not drawn for a
    while and keeps the others, so each widget is checked by itself.
    """
    state = st.session_state
    if all(key(name) in state for name in ("nets", *ROLES, *NUMBERS, "mode", "base")):
        return
    by_id = entries()
    nets = [id for id in said_names("nets") if id in by_id][:MOST]
    card = presets()[0] if presets() else None
    usual = [card.a, card.b] if card else list(by_id)[:2]
    state.setdefault(key("nets"), nets if said("nets") else usual)
    for role in ROLES:
        methods = [name for name in said_names(role) if name in table(role)]
        state.setdefault(key(role), methods or DEFAULTS[role])
    for name in NUMBERS:
        state.setdefault(key(name), said_number(name, *WHOLE_NUMBERS[name].bounds, DEFAULTS[name]))
    state.setdefault(key("mode"), said("mode") if said("mode") in MODES else DEFAULTS["mode"])
    state.setdefault(key("base"), said("base") if said("base") in by_id else None)


def compare_form() -> None:
    """Draw the widgets and the button that runs the comparison."""
    by_id = entries()
    missing = [id for id in said_names("nets") if id not in by_id]
    if missing and "comparison" not in st.session_state:
        which = "A network" if len(missing) == 1 else f"{len(missing)} networks"
        st.warning(
            f"{which} of this address cannot be used here: deleted, or private to another person. So the comparison is "
            "not shown. Ask that person to share the networks on Models, or choose others.",
            icon=":material/link_off:",
        )
    first = _networks(by_id)
    for role in ROLES:
        method_menu(role, key(role))
    reason = _base(first, by_id)
    if not number_fields({name: key(name) for name in NUMBERS}):
        return
    if first is None or reason:
        st.info(reason or "Choose at least two networks of one kind.", icon=":material/link_off:")
        return
    grid = wanted_grid(by_id)
    count = len(grid.requests())
    left_out = grid.left_out()
    if left_out:
        st.caption(f"Methods left out because they do not fit these networks: {', '.join(left_out)}.")
    if alone := grid.left_alone():
        st.caption(f"Networks not merged because no other network fits: {plain(', '.join(alone))}.")
    if st.button(
        f"Run {count} merge{'s' * (count != 1)}", type="primary", icon=":material/play_arrow:", width="stretch"
    ):
        st.session_state["comparison"] = grid
        st.query_params.from_dict({**address_of(), KEY: secrets.token_hex(8)})
        st.session_state["started comparison"] = batch()
    elif "comparison" not in st.session_state and "nets" in st.query_params and not missing:
        st.session_state["comparison"] = grid


def wanted_grid(known: dict[str, Entry]) -> Grid:
    """Return the grid of merges that the widgets describe. Raises a MergescopeError where nothing fits."""
    state = st.session_state
    nets = [known[id] for id in state[key("nets")]]
    count, base = int(state[key("images")]), known.get(state.get(key("base")) or "")
    return Grid(
        tuple(ModelRef.of(net) for net in nets),
        tuple(state[key("align")]),
        tuple(state[key("combine")]),
        tuple(state[key("correct")]),
        tuple(range(int(state[key("seeds")]))),
        state[key("mode")],
        ModelRef.of(base) if base else None,
        nets[0].dataset,
        image_hash(nets[0].dataset, count),
        count,
        int(state[key("points")]) | 1,  # an odd number of points includes λ = ½
    )


def address_of() -> dict[str, str]:
    """Return the comparison as parameters of the address."""
    state = st.session_state
    lists = {name: ",".join(state[key(name)]) for name in ("nets", *ROLES)}
    numbers = {name: str(state[key(name)]) for name in (*NUMBERS, "mode")}
    return lists | numbers | ({"base": state[key("base")]} if state.get(key("base")) else {})


def batch() -> str:
    """Return the address's parameters of the comparison as text, which identifies the comparison while it runs."""
    names = ("nets", *ROLES, *NUMBERS, "mode", "base", KEY)
    return urlencode({name: said(name) for name in names if said(name)})


def _networks(known: dict[str, Entry]) -> Entry | None:
    """Draw the menu of networks; return the first network that can be merged with another one, if there is one.

    Once a network is selected, only networks of its data set are offered. If the networks are merged at once, only
    those of its kind are offered.
    """
    selection = [id for id in st.session_state[key("nets")] if id in known]
    first, growing = known[selection[0]] if selection else None, st.session_state[key("mode")] == "growing"
    most = MOST_MODELS if growing else MOST
    fitting = [id for id, entry in known.items() if first is None or _fits(first, entry, growing)]
    st.session_state[key("nets")] = [id for id in selection if id in fitting][:most]
    st.multiselect(
        "Networks", fitting, format_func=lambda id: known[id].name, key=key("nets"), persist_state="session",
        help="At least two of one kind. Networks of different kinds are compared separately.", max_selections=most,
    )  # fmt: skip
    st.segmented_control(
        "Merge", list(MODES), format_func=MODES.__getitem__, key=key("mode"), required=True,
        help="Merge every pair of networks; or merge the first two, then the first three at once, and so on.",
    )  # fmt: skip
    nets = [known[id] for id in st.session_state[key("nets")]]
    return next(
        (net for net in nets if any(not why_not_together(net, other) for other in nets if other is not net)), None
    )


def _fits(first: Entry, other: Entry, growing: bool) -> bool:
    return other.id == first.id or (not why_not_together(first, other) if growing else other.dataset == first.dataset)


def _base(first: Entry | None, known: dict[str, Entry]) -> str:
    """Draw the menu of base networks where a selected combination needs one; return why nothing can be run, or ""."""
    state = st.session_state
    for role in ROLES:
        if not state[key(role)]:
            return f"Choose at least one method under {role.capitalize()}."
    if first is None or not any(find("combine", name).needs_base for name in state[key("combine")]):
        state[key("base")] = None
        return ""
    fitting = [id for id, net in known.items() if id not in state[key("nets")] and not why_not_together(first, net)]
    if state.get(key("base")) not in fitting:
        state[key("base")] = first.base if first.base in fitting else fitting[0] if fitting else None
    if fitting:
        st.selectbox(
            "Base network",
            fitting,
            format_func=lambda id: known[id].name,
            key=key("base"),
            help=meaning("base network"),
            persist_state="session",
        )
    return ""
