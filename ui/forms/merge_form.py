"""Form of the Merge page: two networks, a method, and how much to measure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import takewhile

import streamlit as st

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import ROLES, find, table
from merging.text import numbers
from merging.zoo.catalogue import Entry, Preset, presets, why_not_together
from merging.zoo.datasets.own import is_own
from ui.forms.fields import number_fields
from ui.forms.large_networks import on_images, say_memory
from ui.forms.method_form import fill_method, method_form, settings, triple
from ui.forms.model_cards import AT_CHANCE
from ui.forms.more_networks import BASE, MORE, base_network, chosen_more, fill_more, more_networks
from ui.forms.zip_form import shares_trunk
from ui.shell.chosen import WANTED
from ui.shell.guard import show_errors
from ui.shell.markdown import plain
from ui.shell.screens import link
from ui.shell.state import data_label, entries, find_job, image_hash, ledger

KEYS = {"seed": "form_seed", "points": "form_points", "images": "form_images"}
GONE = "form_gone"  # per deleted network of the displayed run: (message, menu, value that the menu got instead)
UNKNOWN = "The data set of these networks is not known"
FIELDS = {"models": "networks", "base": "base network", "data_sha256": "images", "dataset": "images"}
DEFAULTS: dict[str, int] = {name: getattr(MergeRequest, name) for name in KEYS}


def fill_from(request: MergeRequest) -> None:
    """Set every widget to the request of a run; a deleted network is replaced by one that fits the other."""
    by_id = entries()
    by_hash = {entry.sha256: id for id, entry in by_id.items()}
    here = {name: by_hash.get(model.sha256, "") for name, model in zip("ab", request.models, strict=False)}
    for name, other in (("a", "b"), ("b", "a")):
        left = by_id.get(here[other])
        fitting = [id for id, entry in by_id.items() if left is not None and not why_not_together(left, entry)]
        st.session_state[f"form_{name}"] = here[name] or next(iter(fitting), next(iter(by_id)))
    fill_more(request, by_hash)
    st.session_state[GONE] = list(_gone(request, by_hash))
    fill_method({role: getattr(request, role) for role in ROLES}, request.settings)
    for field, key in KEYS.items():
        st.session_state[key] = getattr(request, field)


def _gone(request: MergeRequest, by_hash: dict[str, str]) -> Iterator[tuple[str, str, object]]:
    """Yield (message, menu, value) per deleted network of a run; a message is shown while the menu has that value."""
    places = ["form_a", "form_b", *[MORE] * len(request.models[2:]), BASE]
    for key, model in zip(places, (*request.models, request.base), strict=True):
        if model is not None and model.sha256 not in by_hash:
            instead = "leaves it out" if key == MORE else "shows another network that fits, if there is one"
            why = "was deleted, or is private to someone else"
            message = f"The network {plain(model.name)} of this run {why}. The form {instead}."
            menu = "form_a" if key == BASE else key  # the menu of bases is filled later
            yield message, menu, st.session_state[menu]


def fill_preset(preset: Preset) -> None:
    """Set every widget to a preset."""
    st.session_state["form_a"], st.session_state["form_b"], st.session_state[GONE] = preset.a, preset.b, []
    fill_more(None, {})
    fill_method({role: getattr(preset, role) for role in ROLES}, {})
    for field, key in KEYS.items():
        st.session_state[key] = DEFAULTS[field]


def fill_once(asked: MergeRequest | None, run: str) -> None:
    """Before the widgets are drawn: fill in the request of the displayed run; without one, the first preset.

    Networks that were chosen on the page Models replace those of the run.
    """
    if asked is not None and st.session_state.get("filled") != run:
        fill_from(asked)
        st.session_state["filled"] = run
    if not all(key in st.session_state for key in ("form_a", "form_b", "recipe", *ROLES, *KEYS.values())):
        cards = presets()
        if cards:
            fill_preset(cards[0])
    wanted = {place.lower(): st.session_state.pop(WANTED.format(place), "") for place in "AB"}
    for name in (name for name, id in wanted.items() if id in entries()):
        st.session_state[f"form_{name}"] = wanted[name]
        if name == "a" and not wanted["b"]:
            _choose_sibling()


def wanted_merge(a: Entry, b: Entry) -> MergeRequest:
    """Return the request that the widgets describe. Raises a MergescopeError where a value is out of bounds."""
    more, base = chosen_more(entries())
    request = MergeRequest(
        models=(ModelRef.of(a), ModelRef.of(b), *more),
        base=base,
        **triple(),
        settings=settings(),
        dataset=a.dataset or b.dataset,
        images=int(st.session_state[KEYS["images"]]),
        points=int(st.session_state[KEYS["points"]]),
        seed=int(st.session_state[KEYS["seed"]]),
    )
    return on_images(request)


def merge_form() -> MergeRequest | None:
    """Draw the form; return the request once the button is pressed."""
    by_id = entries()
    for message, key, value in st.session_state.get(GONE, []):
        if st.session_state.get(key) == value:
            st.info(message)
    a, b = (_network(name, by_id) for name in "ab")
    reason = why_not_together(a, b, unequal_widths=find("align", triple()["align"]).unequal_widths)
    if reason:
        wider = [method.label for method in table("align").values() if method.unequal_widths]
        can_map = not why_not_together(a, b, unequal_widths=True)
        remedy = f" To merge it, choose {' or '.join(wider)} under Align." if can_map else ""
        st.warning(f"This pair cannot be merged. {reason}{remedy}", icon=":material/link_off:")
        if a.sha256 != b.sha256 and shares_trunk(a, b):
            link("zip", "Try a partial zip instead", icon=":material/call_split:", nets=f"{a.id},{b.id}")
    more_networks(a, b, by_id)
    method_form()
    missing = base_network(a, by_id)
    if missing:
        st.warning(missing, icon=":material/link_off:")
    missing = missing or _missing_images(a)
    inside, wanted = number_fields(KEYS), None
    if inside and not (reason or missing):
        with show_errors():
            wanted = wanted_merge(a, b)
    if wanted is not None and image_hash(a.dataset, DEFAULTS["images"]):
        say_memory(wanted)
    pressed = st.button(
        "Run merge", type="primary", icon=":material/play_arrow:", disabled=wanted is None, width="stretch"
    )
    st.caption(_device() if wanted is None else f"{_device()} · {_expected(wanted)}")
    if wanted is not None:
        _say_difference(wanted)
    return wanted if pressed else None


def network_facts(entry: Entry) -> str:
    """Return the facts about a network in one line: architecture, data set, accuracy, seed, size, notes."""
    data = plain(data_label(entry.dataset)) or "data set not known"
    parts = [entry.label, data]
    parts += [f"accuracy {numbers.accuracy(entry.accuracy)}"] if entry.accuracy is not None else []
    parts += [f"seed {entry.seed}"] if entry.seed is not None else []
    line = " · ".join([*parts, f"{numbers.count(entry.parameters)} parameters"])
    return f"{line}. {plain(entry.notes)}" if entry.notes else line


def _network(name: str, known: dict[str, Entry]) -> Entry:
    key = f"form_{name}"
    if st.session_state.get(key) not in known:
        st.session_state[key] = next(iter(known))
    label = f"Network {name.upper()}"
    chosen = _choose_sibling if name == "a" else None
    names = {id: entry.name for id, entry in known.items()}
    st.selectbox(label, list(known), format_func=names.__getitem__, key=key, persist_state="session", on_change=chosen)
    entry = known[st.session_state[key]]
    st.caption(network_facts(entry))
    if entry.at_chance:
        st.error(AT_CHANCE, icon=":material/warning:")
    return entry


def _choose_sibling() -> None:
    """After the choice of A: if B cannot be merged with it, choose the network that is most like A instead."""
    known = entries()
    a, b = (known.get(st.session_state.get(f"form_{name}", "")) for name in "ab")
    if a is None or (b is not None and not why_not_together(a, b)):
        return
    fitting = [entry for entry in known.values() if not why_not_together(a, entry)]
    if fitting:
        most_like = max(fitting, key=lambda entry: (entry.config == a.config, _shared_start(entry.name, a.name)))
        st.session_state["form_b"] = most_like.id


def _shared_start(first: str, second: str) -> int:
    """Number of characters with which both names begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _say_difference(wanted: MergeRequest) -> None:
    """If the form asks for another merge than the displayed one, say in what it differs, and dim the displayed one."""
    shown = find_job(st.session_state.get("run", ""))
    if shown is None or shown.id == wanted.id or shown.kind != "merge":
        return
    names = [name for name, value in json.loads(wanted.to_json()).items() if value != shown.request.get(name)]
    words = list(dict.fromkeys(FIELDS.get(name, name) for name in names))
    if words:
        differs = f"The form differs from the displayed result in: {_listed(words)}."
        st.caption(f":material/sync_problem: {differs} *Run merge* computes it anew.")
        st.html("<style>.st-key-result { opacity: 0.5 }</style>")


def _missing_images(a: Entry) -> str:
    """Show what a run lacks without the images; return why it cannot be run at all, or ""."""
    if image_hash(a.dataset, DEFAULTS["images"]):
        return ""
    label = plain(data_label(a.dataset))
    without = f"The images of {label} are not on this machine" if label else UNKNOWN
    needy = [method.label for role, key in triple().items() if (method := find(role, key)).needs_data]
    if needy:
        st.warning(f"{without}. Images are needed for {_listed(needy)}.", icon=":material/image_not_supported:")
    else:
        note = f"{without}: the merge will run without curves and similarity."
        st.info(note, icon=":material/image_not_supported:")
    if label:
        step = "Upload them" if is_own(a.dataset) else f"Download {label}"
        link("models", f"{step} on Models", icon=":material/download:")
    return without if needy else ""


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _device() -> str:
    devices = sorted({worker.device for worker in ledger().workers()})
    return f"Runs on {', '.join(devices)}" if devices else "The worker is starting"


def _expected(wanted: MergeRequest) -> str:
    """Expected duration of the requested merge, estimated from similar finished merges."""
    spent = sum(ledger().expected(wanted).values())
    return f"the merge takes {numbers.about(spent)}" if spent else "no time estimate yet"
