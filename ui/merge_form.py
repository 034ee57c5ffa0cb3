"""The left side of the first screen: two networks, a method, and how much to measure."""

from __future__ import annotations

from statistics import median

import streamlit as st

from merging.figures import numbers
from merging.methods import ROLES
from merging.work.images import fingerprint
from merging.work.request import MergeRequest, ModelRef
from merging.work.request_checks import BOUNDS
from merging.zoo.catalogue import Entry, Preset, compatible, presets
from merging.zoo.dataset_facts import FACTS
from ui.method_form import fill_method, method_form, settings, triple
from ui.more_networks import base_network, chosen_more, fill_more, more_networks
from ui.state import entries, ledger
from ui.words import meaning

WHOLE = {"seed": "Seed", "points": "Points", "images": "Images"}
KEYS = {"seed": "form_seed", "points": "form_points", "images": "form_images"}
DEFAULTS = {"seed": 0, "points": 25, "images": 2000}


def fill_from(request: MergeRequest) -> None:
    """Set every widget to what a run was asked for; networks that are gone are left as they are."""
    by_hash = {entry.sha256: id for id, entry in entries().items()}
    for name, model in zip("ab", request.models, strict=False):
        if model.sha256 in by_hash:
            st.session_state[f"form_{name}"] = by_hash[model.sha256]
    fill_more(request, by_hash)
    fill_method({role: getattr(request, role) for role in ROLES}, request.settings)
    for field, key in KEYS.items():
        st.session_state[key] = getattr(request, field)


def fill_preset(preset: Preset) -> None:
    """Set every widget to a preset."""
    st.session_state["form_a"], st.session_state["form_b"] = preset.a, preset.b
    fill_more(None, {})
    fill_method({role: getattr(preset, role) for role in ROLES}, {})
    for field, key in KEYS.items():
        st.session_state[key] = DEFAULTS[field]


def fill_once(asked: MergeRequest | None, run: str) -> None:
    """Before the widgets are drawn: show the run one came for; without one, the first preset."""
    if asked is not None and st.session_state.get("filled") != run:
        fill_from(asked)
        st.session_state["filled"] = run
    if not all(key in st.session_state for key in ("form_a", "form_b", "recipe", *ROLES, *KEYS.values())):
        cards = presets()
        if cards:
            fill_preset(cards[0])


def wanted(a: Entry, b: Entry) -> MergeRequest:
    """What the widgets ask for. Raises our errors where a value is out of bounds."""
    count = int(st.session_state[KEYS["images"]])
    more, base = chosen_more(entries())
    return MergeRequest(
        models=(ModelRef.of(a), ModelRef.of(b), *more),
        base=base,
        **triple(),
        settings=settings(),
        dataset=a.dataset or b.dataset,
        data_sha256=fingerprint(a.dataset or b.dataset, count),
        images=count,
        points=int(st.session_state[KEYS["points"]]),
        seed=int(st.session_state[KEYS["seed"]]),
    )


def merge_form() -> MergeRequest | None:
    """Draw the form; what to run, once the button is pressed."""
    known = entries()
    a, b = (_network(name, known) for name in "ab")
    reason = compatible(a, b)
    if reason:
        st.warning(f"This pair cannot be run. {reason}", icon=":material/link_off:")
    _say_missing_images(a)
    more_networks(a, b, known)
    method_form()
    missing = base_network(a, known)
    if missing:
        st.warning(missing, icon=":material/link_off:")
    for column, (field, label) in zip(st.columns(3), WHOLE.items(), strict=True):
        low, high = BOUNDS[field]
        help = meaning(field)
        step = 2 if field == "points" else 1  # an odd number has one half-way
        column.number_input(label, low, high, key=KEYS[field], step=step, help=help, persist_state="session")
    pressed = st.button(
        "Run merge", type="primary", icon=":material/play_arrow:", disabled=bool(reason or missing), width="stretch"
    )
    st.caption(f"{_device()} · {_expected(a)}")
    return wanted(a, b) if pressed else None


def facts(entry: Entry) -> str:
    """What is known of a network in one line: data set, accuracy, seed, size."""
    data = FACTS[entry.dataset].label if entry.dataset in FACTS else "data set not known"
    known = [entry.label, data]
    known += [f"accuracy {numbers.accuracy(entry.accuracy)}"] if entry.accuracy is not None else []
    known += [f"seed {entry.seed}"] if entry.seed is not None else []
    return " · ".join([*known, f"{numbers.count(entry.parameters)} parameters"])


def _network(name: str, known: dict[str, Entry]) -> Entry:
    key = f"form_{name}"
    if st.session_state.get(key) not in known:
        st.session_state[key] = next(iter(known))
    label = f"Network {name.upper()}"
    st.selectbox(label, list(known), format_func=lambda id: known[id].name, key=key, persist_state="session")
    entry = known[st.session_state[key]]
    st.caption(facts(entry))
    return entry


def _say_missing_images(a: Entry) -> None:
    if a.dataset in FACTS and not fingerprint(a.dataset, DEFAULTS["images"]):
        st.info(
            f"The images of {FACTS[a.dataset].label} are not on this machine: the merge will run without curves and "
            "similarity. Models has a button that downloads them.",
            icon=":material/image_not_supported:",
        )


def _device() -> str:
    devices = sorted({worker.device for worker in ledger().workers()})
    return f"Runs on {', '.join(devices)}" if devices else "The worker is starting"


def _expected(a: Entry) -> str:
    """How long merges take: of this architecture here, else in the examples, else whatever ran here."""
    here, there = ledger().jobs(states=("done",), kind="merge", limit=50), ledger().examples()
    for jobs, alike in ((here, True), (there, True), (here, False)):
        seconds = [
            job.finished - job.started
            for job in jobs
            if job.kind == "merge"
            and job.finished
            and job.started
            and (not alike or job.request["models"][0]["architecture"] == a.architecture)
        ]
        if seconds:
            return f"about {numbers.duration(median(seconds))}"
    return "no run yet tells how long it takes"
