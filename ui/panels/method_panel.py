"""Account of a run: what each method did, which units are permuted together, and the time and memory used."""

from __future__ import annotations

import streamlit as st

from merging.figures.account import course_figure
from merging.jobs.requests.merge import MergeRequest
from merging.methods.registry import find
from merging.results.reports import MergeReport
from merging.text import numbers
from merging.text.method_notes import Account, accounts
from ui.shell.kept import kept
from ui.shell.look import draw
from ui.shell.markdown import plain
from ui.shell.words import meaning

VERSIONS = {"Mergescope": "mergescope", "torch": "torch", "Python": "python"}
TITLES = {"align": "Align", "combine": "Combine", "correct": "Correct"}


def method_panel(report: MergeReport) -> None:
    """Show the three methods, the groups of units, and the time and memory used."""
    for number, account in enumerate(kept(accounts, report)):
        _told(account, number)
    st.markdown("#### Which units are permuted together?", anchors=False)
    _groups(report)
    st.markdown("#### What did it cost?", anchors=False)
    st.markdown(costs(report))
    machine = report.machine
    versions = ", ".join(f"{name} {machine[key]}" for name, key in VERSIONS.items() if key in machine)
    st.caption(f"On {machine.get('device', 'an unknown device')}; {versions}.")


def _told(account: Account, number: int) -> None:
    with st.container(border=True):
        whose = f" (network {account.model})" if account.model else ""
        st.markdown(f"**{TITLES[account.role]}: {account.label}**{whose}", help=meaning(account.role))
        st.markdown(account.summary)
        if account.sentences:
            st.markdown("\n".join(f"- {sentence}" for sentence in account.sentences))
        for place, (column, course) in enumerate(zip(st.columns(2), account.courses, strict=False)):
            with column:
                st.caption(course.title)
                draw(kept(course_figure, course), f"course {number} {place}", course.title, width="stretch")


def _groups(report: MergeReport) -> None:
    traced = report.notes.get("trace", {})
    if "permuted" in traced:
        st.markdown(
            f"{numbers.count(traced['permuted'])} of {numbers.count(traced['units'])} units of hidden layers belong "
            f"to {len(report.groups)} groups of units that are permuted together. As a check, the units of "
            "each group of A were re-ordered at random: A's outputs changed by at most "
            f"{numbers.tiny(traced['error'])} of the largest output. The number after a tensor is the dimension that "
            "runs over the group's units.",
            help=meaning("permutation"),
        )
    places = traced.get("places", {})
    permutes = find("align", report.request.get("align", "none")).permutes
    moved_words = "moved in B" if permutes else "units of B whose nearest unit of A is at another position"
    lines = [
        f"| group | units | {moved_words} | produced by | read by |",
        "|---|---:|---:|---|---|",
    ]
    for name, (units, moved) in report.groups.items():
        writers, readers = (
            ", ".join(_short(place) for place in places.get(name, ()) if place.startswith(verb))
            for verb in ("makes", "uses")
        )
        lines.append(f"| {plain(name)} | {numbers.count(units)} | {numbers.count(moved)} | {writers} | {readers} |")
    st.markdown("\n".join(lines))


def _short(place: str) -> str:
    """Shorten "makes features.0.weight, dimension 0" to "features.0.weight (0)"; the column's title names the verb."""
    tensor, _, where = place.partition(" ")[2].partition(", dimension ")
    return f"{plain(tensor)} :gray[({where})]"


def costs(report: MergeReport) -> str:
    """Return the seconds per stage and the peak memory as a Markdown table."""
    lines = ["| | |", "|---|---:|"]
    words = MergeRequest.stage_words(report.request)
    lines += [f"| {words.get(stage, stage)} | {_seconds(spent)} |" for stage, spent in report.seconds.items()]
    lines.append(f"| **Total** | **{_seconds(sum(report.seconds.values()))}** |")
    if report.memory:
        lines.append(f"| Peak memory of the worker | {numbers.size(report.memory)} |")
    return "\n".join(lines)


def _seconds(spent: float) -> str:
    return "below .1 s" if spent < 0.1 else f"{spent:.1f} s" if spent < 10 else numbers.duration(spent)
