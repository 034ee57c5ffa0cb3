"""What is compared: networks, methods and seeds. All of it stands in the address, so that it can be shared."""

from __future__ import annotations

from typing import Any

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.comparison import Grid
from merging.methods.registry import MOST_MODELS, ROLES, Role, find, table
from merging.zoo.catalogue import Entry, compatible, presets
from ui.shell.address import said, said_names, said_number
from ui.shell.markdown import plain
from ui.shell.state import entries, image_hash
from ui.shell.words import meaning

MOST = 12  # networks, of which pairs are merged
MODES = {"pairs": "Every pair", "growing": "More and more at once"}
DEFAULTS: dict[str, Any] = {
    "align": ["none", "weight-matching", "activation-matching"],
    "combine": ["average"],
    "correct": ["none", "repair"],
    "seeds": 1,
    "images": 1000,
    "points": 11,
    "mode": "pairs",
}
BOUNDS = {"seeds": (1, 10), "images": (50, 60_000), "points": (3, 101)}
LABELS = {"seeds": "Seeds", "images": "Images", "points": "Points"}


def key(name: str) -> str:
    """The session's key of a widget of this form."""
    return f"compare {name}"


def fill_from_address() -> None:
    """Before the widgets are drawn: what the address says, else what is usual; only what there is, and nothing that is
    filled in already. What its widget was not drawn with for a while is forgotten, though the rest is not."""
    filled = st.session_state
    if all(key(name) in filled for name in ("nets", *ROLES, *BOUNDS, "mode", "base")):
        return
    known = entries()
    nets = [id for id in said_names("nets") if id in known][:MOST]
    card = presets()[0] if presets() else None
    filled.setdefault(key("nets"), nets or ([card.a, card.b] if card else list(known)[:2]))
    for role in ROLES:
        given = [name for name in said_names(role) if name in table(role)]
        filled.setdefault(key(role), given or DEFAULTS[role])
    for name, (low, high) in BOUNDS.items():
        filled.setdefault(key(name), said_number(name, low, high, DEFAULTS[name]))
    filled.setdefault(key("mode"), said("mode") if said("mode") in MODES else DEFAULTS["mode"])
    filled.setdefault(key("base"), said("base") if said("base") in known else None)


def compare_form() -> None:
    """The widgets, and the button that runs what they say."""
    known = entries()
    first = _networks(known)
    for role in ROLES:
        _methods(role)
    reason = _base(first, known)
    for column, (name, label) in zip(st.columns(3), LABELS.items(), strict=True):
        low, high = BOUNDS[name]
        step = 2 if name == "points" else 1
        column.number_input(label, low, high, key=key(name), step=step, help=meaning(name), persist_state="session")
    if first is None or reason:
        st.info(reason or "Choose two networks or more of one kind.", icon=":material/link_off:")
        return
    grid = wanted(known)
    count = len(grid.requests())
    left_out = grid.left_out()
    if left_out:
        st.caption(f"Left out, for they do not fit these networks: {', '.join(left_out)}.")
    if alone := grid.left_alone():
        st.caption(f"Merged with none of the others: {plain(', '.join(alone))}.")
    if st.button(
        f"Run {count} merge{'s' * (count != 1)}", type="primary", icon=":material/play_arrow:", width="stretch"
    ):
        st.session_state["comparison"] = grid
        st.session_state["comparison runs"] = True
        st.query_params.from_dict(address_of())
    elif "comparison" not in st.session_state and "nets" in st.query_params:
        st.session_state["comparison"] = grid


def wanted(known: dict[str, Entry]) -> Grid:
    """The grid that the widgets say. Raises our errors where nothing fits."""
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
        int(state[key("points")]) | 1,  # an odd number has one half-way
    )


def address_of() -> dict[str, str]:
    """The comparison as parameters of the address."""
    state = st.session_state
    lists = {name: ",".join(state[key(name)]) for name in ("nets", *ROLES)}
    numbers = {name: str(state[key(name)]) for name in (*BOUNDS, "mode")}
    return lists | numbers | ({"base": state[key("base")]} if state.get(key("base")) else {})


def _networks(known: dict[str, Entry]) -> Entry | None:
    """The menu of networks, of one data set once the first is chosen, and of one kind where they are merged at once;
    the first that makes a pair with another, if any does."""
    chosen = [id for id in st.session_state[key("nets")] if id in known]
    first, growing = known[chosen[0]] if chosen else None, st.session_state[key("mode")] == "growing"
    most = MOST_MODELS if growing else MOST
    fitting = [id for id, entry in known.items() if first is None or _fits(first, entry, growing)]
    st.session_state[key("nets")] = [id for id in chosen if id in fitting][:most]
    st.multiselect(
        "Networks", fitting, format_func=lambda id: known[id].name, key=key("nets"), persist_state="session",
        help="Two or more of one kind, or of several kinds: each is compared for itself.", max_selections=most,
    )  # fmt: skip
    st.segmented_control(
        "Merge", list(MODES), format_func=MODES.__getitem__, key=key("mode"), required=True,
        help="Every two of the networks; or the first two, the first three and so on, each at once.",
    )  # fmt: skip
    nets = [known[id] for id in st.session_state[key("nets")]]
    return next((net for net in nets if any(not compatible(net, other) for other in nets if other is not net)), None)


def _fits(first: Entry, other: Entry, growing: bool) -> bool:
    return other.id == first.id or (not compatible(first, other) if growing else other.dataset == first.dataset)


def _methods(role: Role) -> None:
    methods = table(role)
    st.multiselect(
        role.capitalize(),
        list(methods),
        format_func=lambda name: methods[name].label,
        key=key(role),
        help=meaning(role),
        persist_state="session",
    )


def _base(first: Entry | None, known: dict[str, Entry]) -> str:
    """The menu of the base where a chosen combination asks for one; why nothing can be run, or ""."""
    state = st.session_state
    for role in ROLES:
        if not state[key(role)]:
            return f"Choose one way or more to {role}."
    if first is None or not any(find("combine", name).needs_base for name in state[key("combine")]):
        state[key("base")] = None
        return ""
    fitting = [id for id, net in known.items() if id not in state[key("nets")] and not compatible(first, net)]
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
