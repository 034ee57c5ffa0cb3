"""Form of the Sweeps page: network, axes, methods, seeds and trainings; the cost before the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import streamlit as st

from merging.errors import InvalidRequest
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.jobs.requests.sweep import SweepRequest, Values
from merging.jobs.sweeps.axes import PART, SweepAxis, find_axis, sweep_axes
from merging.jobs.sweeps.cost import Cost, cheaper, cost
from merging.jobs.sweeps.measures import with_numbers
from merging.jobs.sweeps.plan import checked_sweep
from merging.methods.registry import ROLES, find
from merging.text import numbers
from merging.text.sweep_words import value_text
from merging.zoo.architectures.names import describe
from merging.zoo.training.options import TrainingOptions
from ui.forms.fields import method_menu, number_fields, setting_fields
from ui.forms.train_form import families
from ui.runs.sweeps import shared_look
from ui.shell.chosen import PREFIX
from ui.shell.guard import show_errors
from ui.shell.state import data_label, image_hash, ledger, submit

NUMBERS = ("groups", "first_group", "epochs", "seeds", "networks", "common", "images", "points", "seed")
FIRST_ROW = ("groups", "epochs", "images")
USUAL: dict[str, Any] = {
    "axis 1": "width", "axis 2": "", "align": ["weight-matching"], "combine": ["average"], "correct": ["none"],
    "groups": 3, "first_group": 0, "epochs": 3, "seeds": 1, "networks": 2, "common": 0, "images": 1000, "points": 11,
    "seed": 0, "studies": [],
}  # fmt: skip
SETTINGS = "sweep set"  # begins the keys of the widgets of training settings
HIDDEN = (PART, "split_seed")  # axes that are not offered


def sweep_key(name: str) -> str:
    """Session-state key of a widget of this form."""
    return f"sweep {name}"


def fill_form(shown: SweepRequest | None) -> None:
    """Fill the widgets before they are drawn: from the sweep that the address names, once, else with the defaults."""
    state = st.session_state
    if shown is not None and state.get("sweep in form") != shown.id:
        state["sweep in form"] = shown.id
        _fill_from(shown)
    for name, usual in USUAL.items():
        state.setdefault(sweep_key(name), usual)


def _fill_from(sweep: SweepRequest) -> None:
    state = st.session_state
    for name in NUMBERS:
        state[sweep_key(name)] = getattr(sweep, name)
    for role, methods in zip(ROLES, (sweep.aligns, sweep.combines, sweep.corrects), strict=True):
        state[sweep_key(role)] = list(methods)
    state[sweep_key("studies")] = list(sweep.studies)
    state[sweep_key("axis 2")] = ""
    for number, (name, values) in enumerate(sweep.axes, 1):
        state[sweep_key(f"axis {number}")] = name
        state[_values_key(number, find_axis(name))] = (
            list(values) if find_axis(name).choices else ", ".join(map(value_text, values))
        )
    for one in fields(TrainingOptions):
        state[f"{SETTINGS} {one.name}"] = sweep.settings.get(one.name, one.default)
    state[sweep_key("network")] = _label(sweep.architecture, sweep.config, sweep.dataset)


def sweep_form(shown: SweepRequest | None) -> None:
    """Draw the form. shown: the sweep that the page shows, whose network is offered, too."""
    networks = _networks(shown)
    if not networks:
        st.info("No data set is on this machine. Download one on Models.", icon=":material/image_not_supported:")
        return
    st.session_state.setdefault(sweep_key("network"), next(iter(networks)))
    if st.session_state[sweep_key("network")] not in networks:
        st.session_state[sweep_key("network")] = next(iter(networks))
    st.selectbox("Networks to train", list(networks), key=sweep_key("network"), persist_state="session")
    over = [found for number in (1, 2) if (found := _axis(number)) is not None]
    for role in ROLES:
        method_menu(role, sweep_key(role))
    fixed = {name for name, _ in over} | ({"epochs"} if "epoch" in dict(over) else set())
    inside = [number_fields({name: sweep_key(name) for name in FIRST_ROW}, fixed)]
    with st.expander("Trainings and seeds", icon=":material/tune:"):
        for row in (("networks", "common"), ("seeds", "points", "seed", "first_group")):
            inside.append(number_fields({name: sweep_key(name) for name in row}, fixed))
        st.multiselect(
            "Studies of every merge", list(with_numbers()), key=sweep_key("studies"),
            format_func=with_numbers().__getitem__,
            help="Their numbers can then be drawn over the axis, too. Each takes time of its own on every merge.",
            persist_state="session",
        )  # fmt: skip
        settings = setting_fields(TrainingOptions, SETTINGS, without=(PART,), fixed=fixed, columns=2)
    if any(values is None for _, values in over) or not all(inside):
        return  # the reason stands below the field
    with show_errors():
        given = tuple((name, values) for name, values in over if values is not None)
        asked = _request(networks[st.session_state[sweep_key("network")]], given, settings)
        if shown is not None and _other_images(shown, asked):
            st.caption("The images on this machine are not those of the sweep that is shown.")
        _start(asked)


def _other_images(shown: SweepRequest, asked: SweepRequest) -> bool:
    return shown.dataset == asked.dataset and shown.data_sha256 != asked.data_sha256


def _networks(shown: SweepRequest | None) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Label -> (architecture, configuration, data set) of the networks that can be trained."""
    known = {
        _label(entry.architecture, entry.config, entry.dataset): (entry.architecture, entry.config, entry.dataset)
        for entry in families().values()
    }
    if shown is not None:
        known.setdefault(
            _label(shown.architecture, shown.config, shown.dataset), (shown.architecture, shown.config, shown.dataset)
        )
    return known


def _label(architecture: str, config: Mapping[str, Any], dataset: str) -> str:
    return f"{describe(architecture, config)} · {data_label(dataset)}"


def _axis(number: int) -> tuple[str, Values | None] | None:
    """Draw the menu of an axis and its values; return (key, values), or None for no axis. Refused values are None."""
    offered = [name for name in sweep_axes() if name not in HIDDEN and ("." not in name or _has_setting(name))]
    none = [""] if number == 2 else []
    if st.session_state[sweep_key(f"axis {number}")] not in [*none, *offered]:
        st.session_state[sweep_key(f"axis {number}")] = USUAL[f"axis {number}"]
    label, help = ("Axis", None) if number == 1 else ("Second axis", "Draws a heat map over two axes.")
    options = [*none, *offered]
    chosen = st.selectbox(
        label,
        options,
        format_func=_axis_label,
        key=sweep_key(f"axis {number}"),
        help=help,
        persist_state="session",
    )
    if not chosen:
        return None
    axis = find_axis(chosen)
    place = _values_key(number, axis)
    shared: dict[str, Any] = {"key": place, "help": axis.help, "persist_state": "session"}
    if axis.choices:
        st.session_state.setdefault(place, list(axis.usual))
        return chosen, tuple(st.multiselect("Values", axis.choices, **shared))
    st.session_state.setdefault(place, ", ".join(map(value_text, axis.usual)))
    text = st.text_input("Values, separated by commas", **shared)
    with show_errors():
        return chosen, tuple(axis.read(word) for word in text.split(",") if word.strip())
    return chosen, None


def _axis_label(name: str) -> str:
    if not name:
        return "None"
    role, _, setting = name.partition(".")
    return f"{role.capitalize()}: {find_axis(name).label}" if setting else find_axis(name).label


def _has_setting(name: str) -> bool:
    """Whether a selected method has the setting of this axis, "role.setting"."""
    role, _, setting = name.partition(".")
    chosen = st.session_state[sweep_key(role)]
    return any(setting in {one.name for one in fields(find(role, method).settings)} for method in chosen)  # type: ignore[arg-type]


def _values_key(number: int, axis: SweepAxis) -> str:
    return sweep_key(f"values {number} {axis.key}")


def _request(
    network: tuple[str, dict[str, Any], str], over: tuple[tuple[str, Values], ...], settings: dict[str, Any]
) -> SweepRequest:
    """The sweep that the widgets describe. Raises a MergescopeError if it is impossible."""
    state, (architecture, config, dataset) = st.session_state, network
    counts = next((values for name, values in over if name == "images"), (state[sweep_key("images")],))
    if not over or not all(values for _, values in over):
        raise InvalidRequest("Give at least one value for each axis.")
    values: dict[str, Any] = {name: int(state[sweep_key(name)]) for name in NUMBERS}
    values |= {"points": values["points"] | 1, "settings": settings}  # an odd number of points includes λ = ½
    values |= {f"{role}s": tuple(state[sweep_key(role)]) for role in ROLES} | {
        "studies": tuple(state[sweep_key("studies")])
    }
    hashes = {str(count): image_hash(dataset, int(count)) for count in counts}
    return checked_sweep(
        SweepRequest(architecture, dict(config), dataset, image_hash(dataset, None), hashes, over, **values)
    )


def _start(sweep: SweepRequest) -> None:
    """Show the cost and the button that starts the sweep."""
    seen = shared_look(sweep)
    left = cost(ledger(), sweep, seen)
    seats = max(1, len(ledger().workers()) - 1)
    if left.parts:
        done = len(seen.trainings) - left.trainings
        trainings, merges = numbers.counted(left.trainings, "training"), numbers.counted(left.merges, "merge")
        words = f"{trainings}, {merges} and {left.studies} studies" if sweep.studies else f"{trainings} and {merges}"
        words += " are left to do"
        words += f" ({numbers.counted(done, 'training')} {'is' if done == 1 else 'are'} there already)" if done else ""
        st.caption(f"{words}; {_time(left, seats)}.")
    else:
        st.caption("Nothing is left to do: all trainings and merges of this sweep are there.")
    less = cheaper(sweep)
    run, cheap = st.columns([3, 2])
    if run.button("Run the sweep", type="primary", icon=":material/play_arrow:", width="stretch"):
        job = submit(sweep)
        st.session_state["sweep in form"] = sweep.id
        st.query_params.from_dict({"sweep": job.id[:PREFIX]})
        st.rerun()
    if less:
        help = "Sets " + ", ".join(f"{WHOLE_NUMBERS[name].label.lower()} to {number}" for name, number in less.items())
        cheap.button("Make it cheaper", on_click=_set, args=(less,), help=f"{help}. Then press Run.", width="stretch")


def _time(left: Cost, seats: int) -> str:
    if left.unknown == left.parts:
        return "no time estimate yet, because nothing similar has run here"
    if left.unknown:
        return f"no time estimate yet, because for {left.unknown} of them nothing similar has run here"
    return numbers.about(left.seconds / seats)


def _set(values: dict[str, int]) -> None:
    for name, value in values.items():
        st.session_state[sweep_key(name)] = value
