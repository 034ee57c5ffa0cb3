"""What the methods of a run did, in words and as courses to draw, from the notes in its report.

All methods note what they found in one vocabulary (`objective`, `tried`, `stable` ...): a method that uses it is
accounted for here without another line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from merging.methods.registry import ROLES, Role, find
from merging.results.reports import MergeReport
from merging.text.note_sentences import SETTINGS, Notes, kept_row, network_remarks, sentences, setting_values


@dataclass(frozen=True)
class Course:
    """A course to draw: y (P,) at x (P,).

    words: (P,) names of the points where x only counts them, else ().  chosen: the place of the point that was kept,
    or None.
    """

    title: str
    x_title: str
    y_title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    words: tuple[str, ...] = ()
    chosen: int | None = None


@dataclass(frozen=True)
class Account:
    """What one method did. summary: what it always does; sentences: what it did here.  model: which of several
    networks that is told of ("B"), else ""."""

    role: Role
    label: str
    summary: str
    sentences: tuple[str, ...]
    courses: tuple[Course, ...] = ()
    model: str = ""


def accounts(report: MergeReport) -> tuple[Account, ...]:
    """One a role, or one a network where a method took them in turns, in the order in which they were at work."""
    found: list[Account] = []
    for role in ROLES:
        method = find(role, report.request.get(role, "none"))
        notes = report.notes.get(role, {})
        shared = {key: value for key, value in notes.items() if key != "by_model"}
        by_model = notes.get("by_model", {"": {}})
        for model, own in by_model.items():
            told = {**own, **shared, "sizes": {name: units for name, (units, _) in report.groups.items()}}
            words, drawn = tuple(sentences(told)), tuple(_courses(told))
            whose = model if len(by_model) > 1 else ""
            found.append(Account(role, method.label, method.summary, words, drawn, whose))
    return tuple(found)


def remarks(report: MergeReport) -> tuple[str, ...]:
    """What a person must know of the networks of a run, whatever methods were chosen; one sentence or two a thing."""
    return tuple(network_remarks(report.notes, bool(report.groups)))


def _courses(notes: Notes) -> Iterator[Course]:
    if "gains" in notes and len(notes["gains"]) > 1:
        yield _counted("Gain of every pass", "pass", "gain in agreement", notes["gains"], 1)
    if "soft" in notes and len(notes["soft"]) > 1:
        yield _counted("Soft permutations", "step", "agreement of the weights", notes["soft"], 0)
    if "checks" in notes:
        steps, values = zip(*notes["checks"], strict=True)
        y_title = "objective" if notes.get("objective") == "weights" else "held-out loss (nats)"
        yield Course("On the way", "step", y_title, steps, values, chosen=steps.index(notes["chosen"]))
    if "tried" in notes:
        values = tuple(float(row[-1]) for row in notes["tried"])
        words = tuple(", ".join(f"{value:g}" for value in setting_values(row)) for row in notes["tried"])
        x = tuple(float(number) for number in range(len(values)))
        names = ", ".join(label.lower() for name, label in SETTINGS.items() if name in notes)
        yield Course("What was tried", names, "held-out loss (nats)", x, values, words, chosen=kept_row(notes))


def _counted(title: str, x_title: str, y_title: str, values: list[float], first: int) -> Course:
    return Course(title, x_title, y_title, tuple(float(first + k) for k in range(len(values))), tuple(values))
