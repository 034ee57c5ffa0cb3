"""Form of the Partial zip page: the networks of a partial zip (ZipIt!) and its settings."""

from __future__ import annotations

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.zip_networks import ZipRequest
from merging.methods.registry import MOST_MODELS, find
from merging.text import numbers
from merging.zoo.architectures.names import trunk_config
from merging.zoo.catalogue import Entry
from ui.forms.fields import number_fields
from ui.forms.method_form import chosen_settings, setting_widgets
from ui.shell.address import said_names
from ui.shell.markdown import plain
from ui.shell.state import data_label, entries, image_hash, ledger, submit

FIRST = ("fashion-head-low", "fashion-head-high")  # trained from scratch on five classes each
NETS, IMAGES, SEED = "zip nets", "zip images", "zip seed"
UNASKED = ("choose",)  # heads of different classes have no common loss, which this setting would need


def zip_form() -> None:
    """Draw the widgets and the button that queues the partial zip."""
    by_id = entries()
    _fill(by_id)
    nets = _networks(by_id)
    method = find("align", "zipit")
    st.caption(f"{method.summary} [{method.paper}]({method.link})")
    with st.expander("Settings of ZipIt!", icon=":material/tune:"):
        setting_widgets(method, without=UNASKED)
    inside = number_fields({"seed": SEED, "images": IMAGES})
    missing = _missing(nets) if inside else "A number is out of its bounds."
    if missing and inside:
        st.info(missing, icon=":material/link_off:")
    if st.button(
        "Run partial zip", type="primary", icon=":material/play_arrow:", width="stretch", disabled=bool(missing)
    ):
        st.query_params["zip"] = submit(_wanted(nets)).id[:12]
        st.rerun()
    spent = 0.0 if missing else sum(ledger().expected(_wanted(nets)).values())
    if spent:
        st.caption(numbers.about(spent).capitalize())


def _fill(known: dict[str, Entry]) -> None:
    """Fill the widgets before they are drawn: the networks of a link, else a shipped pair with different classes."""
    nets = [id for id in said_names("nets") if id in known]
    st.query_params.pop("nets", None)
    if nets:
        st.session_state[NETS] = nets
    st.session_state.setdefault(NETS, [id for id in FIRST if id in known])
    st.session_state.setdefault(IMAGES, 2000)
    st.session_state.setdefault(SEED, 0)


def _networks(known: dict[str, Entry]) -> list[Entry]:
    """Draw the menu of networks; once one is selected, only networks that can share its trunk are offered."""
    selection = [id for id in st.session_state[NETS] if id in known]
    first = known[selection[0]] if selection else None
    fitting = [id for id, entry in known.items() if entry.classes and (first is None or shares_trunk(first, entry))]
    # Streamlit raises an error for more networks than the menu allows.
    st.session_state[NETS] = [id for id in selection if id in fitting][:MOST_MODELS]
    st.multiselect(
        "Networks", fitting, format_func=lambda id: known[id].name, key=NETS, max_selections=MOST_MODELS,
        help="At least two of one structure; their classes may differ. Remove all to start with another structure.",
        persist_state="session",
    )  # fmt: skip
    return [known[id] for id in st.session_state[NETS]]


def shares_trunk(first: Entry, other: Entry) -> bool:
    """Whether two networks can share a trunk: the same structure up to the outputs, and the same normalisation."""
    names = ("architecture", "mean", "std", "dataset")
    same_trunk = trunk_config(first.config) == trunk_config(other.config)
    return same_trunk and all(getattr(first, name) == getattr(other, name) for name in names)


def _missing(chosen: list[Entry]) -> str:
    """Return why the partial zip cannot be run yet, or ""."""
    if len(chosen) < 2:
        return "Choose at least two networks of one structure."
    dataset = chosen[0].dataset
    if not data_label(dataset):
        return "The data set of these networks is not known, but a partial zip needs their images."
    if not image_hash(dataset, int(st.session_state[IMAGES])):
        label = plain(data_label(dataset))
        return f"The images of {label} are not on this machine. Download or upload them on Models."
    return ""


def _wanted(chosen: list[Entry]) -> ZipRequest:
    """Return the request that the widgets describe. Raises a MergescopeError where a value is out of bounds."""
    count, dataset = int(st.session_state[IMAGES]), chosen[0].dataset
    method = find("align", "zipit")
    return ZipRequest(
        tuple(ModelRef.of(entry) for entry in chosen),
        dataset,
        image_hash(dataset, count),
        {**chosen_settings(method), **dict.fromkeys(UNASKED, False)},
        count,
        int(st.session_state[SEED]),
    )
