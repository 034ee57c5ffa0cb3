"""Accounts of what each method of a run did, as sentences and curves, made from the notes in the run's report.

All methods use the same keys in their notes (`objective`, `tried`, `stable` ...), so that a new method with these keys
needs no code here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from merging.methods.registry import ROLES, Role, find
from merging.results.reports import MergeReport
from merging.text.note_sentences import SETTINGS, Notes, kept_row, network_remarks, sentences, setting_values


@dataclass(frozen=True)
class Course:
    """A curve to draw, such as the objective over the steps of a method.

    Attributes:
        x, y: (P,) coordinates of the points.
        words: (P,) names of the points if x only numbers them; else ().
        chosen: index of the point that the method selected, or None.
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
    """Account of what one method did.

    Attributes:
        role: the method's role, such as "align".
        label, summary: name and general description of the method.
        sentences: what the method did in this run.
        courses: curves to draw.
        model: the network that the account is about ("B"), if there is one account per network; else "".
    """

    role: Role
    label: str
    summary: str
    sentences: tuple[str, ...]
    courses: tuple[Course, ...] = ()
    model: str = ""


def accounts(report: MergeReport) -> tuple[Account, ...]:
    """Return one account per role, in order, or one per network if a method aligned several networks in turn."""
    entries: list[Account] = []
    for role in ROLES:
        method = find(role, report.request.get(role, "none"))
        notes = report.notes.get(role, {})
        shared = {key: value for key, value in notes.items() if key != "by_model"}
        by_model = notes.get("by_model", {"": {}})
        for model, own in by_model.items():
            all_notes = {**own, **shared, "sizes": {name: units for name, (units, _) in report.groups.items()}}
            words, courses = tuple(sentences(all_notes)), tuple(_courses(all_notes))
            whose = model if len(by_model) > 1 else ""
            entries.append(Account(role, method.label, method.summary, words, courses, whose))
    return tuple(entries)


def remarks(report: MergeReport) -> tuple[str, ...]:
    """Return remarks on the networks of a run that hold for every method, one or two sentences each."""
    return tuple(network_remarks(report.notes, bool(report.groups)))


def _courses(notes: Notes) -> Iterator[Course]:
    if "gains" in notes and len(notes["gains"]) > 1:
        yield _counted("Gain per pass", "pass", "gain in agreement", notes["gains"], 1)
    if "soft" in notes and len(notes["soft"]) > 1:
        yield _counted("Soft permutations", "step", "agreement of the weights", notes["soft"], 0)
    if "checks" in notes:
        steps, values = zip(*notes["checks"], strict=True)
        y_title = "objective" if notes.get("objective") == "weights" else "held-out loss (nats)"
        yield Course(
            "Permutations that were checked", "step", y_title, steps, values, chosen=steps.index(notes["chosen"])
        )
    if "tried" in notes:
        values = tuple(float(row[-1]) for row in notes["tried"])
        words = tuple(", ".join(f"{value:g}" for value in setting_values(row)) for row in notes["tried"])
        x = tuple(float(number) for number in range(len(values)))
        names = ", ".join(label.lower() for name, label in SETTINGS.items() if name in notes)
        yield Course("What was tried", names, "held-out loss (nats)", x, values, words, chosen=kept_row(notes))


def _counted(title: str, x_title: str, y_title: str, values: list[float], first: int) -> Course:
    return Course(title, x_title, y_title, tuple(float(first + k) for k in range(len(values))), tuple(values))
