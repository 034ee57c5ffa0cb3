"""Which networks are zipped, and how: only what can share a trunk is offered together."""

from __future__ import annotations

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.checks import BOUNDS
from merging.jobs.requests.zip_networks import ZipRequest
from merging.methods.registry import MOST_MODELS, find
from merging.text import numbers
from merging.zoo.architectures.names import trunk_config
from merging.zoo.catalogue import Entry
from merging.zoo.datasets.known import dataset_label
from ui.forms.method_form import setting_values, setting_widgets
from ui.shell.address import said_names
from ui.shell.markdown import plain
from ui.shell.state import entries, image_hash, ledger, submit
from ui.shell.words import meaning

FIRST = ("fashion-head-low", "fashion-head-high")  # trained from scratch on five classes each
NETS, IMAGES, SEED = "zip nets", "zip images", "zip seed"
WHOLE = ((SEED, "seed", "Seed"), (IMAGES, "images", "Images"))
UNASKED = ("choose",)  # heads of different classes have no common loss to choose by


def zip_form() -> None:
    """The widgets, and the button that queues what they say."""
    known = entries()
    _fill(known)
    chosen = _networks(known)
    method = find("align", "zipit")
    st.caption(f"{method.summary} [{method.paper}]({method.link})")
    with st.expander("Settings of ZipIt!", icon=":material/tune:"):
        setting_widgets(method, without=UNASKED)
    for column, (key, name, label) in zip(st.columns(2), WHOLE, strict=True):
        column.number_input(label, *BOUNDS[name], key=key, step=1, help=meaning(name), persist_state="session")
    missing = _missing(chosen)
    if missing:
        st.info(missing, icon=":material/link_off:")
    if st.button("Zip", type="primary", icon=":material/play_arrow:", width="stretch", disabled=bool(missing)):
        st.query_params["zip"] = submit(_wanted(chosen)).id[:12]
        st.rerun()
    spent = 0.0 if missing else sum(ledger().expected(_wanted(chosen)).values())
    if spent:
        st.caption(numbers.about(spent).capitalize())


def _fill(known: dict[str, Entry]) -> None:
    """Before the widgets are drawn: what a link names, else the pair of the zoo whose heads know different classes."""
    asked = [id for id in said_names("nets") if id in known]
    st.query_params.pop("nets", None)
    if asked:
        st.session_state[NETS] = asked
    st.session_state.setdefault(NETS, [id for id in FIRST if id in known])
    st.session_state.setdefault(IMAGES, 2000)
    st.session_state.setdefault(SEED, 0)


def _networks(known: dict[str, Entry]) -> list[Entry]:
    named = [id for id in st.session_state[NETS] if id in known]
    first = known[named[0]] if named else None
    fitting = [id for id, entry in known.items() if entry.classes and (first is None or shares_trunk(first, entry))]
    st.session_state[NETS] = [id for id in named if id in fitting][:MOST_MODELS]  # a menu with more breaks the page
    st.multiselect(
        "Networks", fitting, format_func=lambda id: known[id].name, key=NETS, max_selections=MOST_MODELS,
        help="Two or more of one structure; their classes may differ. Take all out to begin with another kind.",
        persist_state="session",
    )  # fmt: skip
    return [known[id] for id in st.session_state[NETS]]


def shares_trunk(first: Entry, other: Entry) -> bool:
    """Whether the two can share a trunk: one structure up to their outputs, and images normalised alike."""
    kept = ("architecture", "mean", "std", "dataset")
    alike = trunk_config(first.config) == trunk_config(other.config)
    return alike and all(getattr(first, name) == getattr(other, name) for name in kept)


def _missing(chosen: list[Entry]) -> str:
    """Why they cannot be zipped yet, or ""."""
    if len(chosen) < 2:
        return "Choose two networks or more of one structure."
    dataset = chosen[0].dataset
    if not dataset_label(dataset):
        return "The data set of these networks is not known, and zipping looks at their images."
    if not image_hash(dataset, int(st.session_state[IMAGES])):
        label = plain(dataset_label(dataset))
        return f"The images of {label} are not on this machine. Download or bring them on Models."
    return ""


def _wanted(chosen: list[Entry]) -> ZipRequest:
    """What the widgets ask for. Raises our errors where a value is out of bounds."""
    count, dataset = int(st.session_state[IMAGES]), chosen[0].dataset
    method = find("align", "zipit")
    return ZipRequest(
        tuple(ModelRef.of(entry) for entry in chosen),
        dataset,
        image_hash(dataset, count),
        {**setting_values(method), **dict.fromkeys(UNASKED, False)},
        count,
        int(st.session_state[SEED]),
    )
