"""A lesson: a file of declared steps, each with a text and, as it needs them, a figure, a question and its reveal.

A lesson is data (TOML) and runs no code, so that a course can bring lessons of its own. CONTRIBUTING.md explains the
format.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from merging.errors import InvalidSetting
from merging.paths import ASSETS
from merging.teaching.question import Question, read_question

FOLDER = ASSETS / "lessons"
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LARGEST = 200_000  # bytes of a file
MOST_STEPS = 40
PLAYS = ("toy", "sweep")  # things to try by hand: the network of two hidden units, and the sweep of the class


@dataclass(frozen=True)
class Shown:
    """A figure in a step. figure: its name in `shown.FIGURES`.  run, values: where its numbers come from, and which."""

    figure: str
    run: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """Something to do in the app. label: text of the link.  page, values: what it opens, such as {"run": "mlps"}."""

    label: str
    page: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One screen of a lesson.

    Attributes:
        key: name of the step within its lesson, the same after the steps around it change.
        title, text: what is shown first; the text is Markdown.
        shown: a figure below the text.
        play: one of PLAYS, or "".
        question: what is asked, answered before `reveal` is shown.
        reveal: Markdown that is shown with the right answer.
        shown_then: a figure that is shown with the right answer.
        task: a link into the app.
    """

    key: str
    title: str
    text: str
    shown: Shown | None = None
    play: str = ""
    question: Question | None = None
    reveal: str = ""
    shown_then: Shown | None = None
    task: Task | None = None


@dataclass(frozen=True)
class Lesson:
    """A lesson. order: its place among all lessons.  minutes: how long it takes a class."""

    key: str
    title: str
    summary: str
    minutes: int
    order: int
    steps: tuple[Step, ...]

    def place(self, step: str) -> int:
        """Position of the step with this key, 0 if there is none."""
        return next((number for number, one in enumerate(self.steps) if one.key == step), 0)


def lesson_folders() -> tuple[Path, ...]:
    """The folder of the program's lessons, and the folders that MERGESCOPE_LESSONS names (separated as in PATH)."""
    named = os.environ.get("MERGESCOPE_LESSONS", "")
    return (FOLDER, *(Path(one) for one in named.split(os.pathsep) if one))


def lessons() -> dict[str, Lesson]:
    """Key -> every lesson, in order. A file that is changed to something that is no lesson counts as it was before."""
    return _look()[0]


def broken_lessons() -> list[str]:
    """What is wrong with the files that are no lessons, a sentence for each."""
    return _look()[1]


def read_lesson(file: Path) -> Lesson:
    """Read a lesson, whose key is the name of its file without number and ending. Raises InvalidSetting."""
    key = re.sub(r"^\d+-", "", file.stem)
    try:
        if file.stat().st_size > LARGEST:
            raise InvalidSetting(f"it is larger than {LARGEST:,} bytes")
        if not KEY.fullmatch(key):
            raise InvalidSetting("its name may have small letters, digits and hyphens only")
        values = tomllib.loads(file.read_text("utf-8"))
        return _lesson(key, values)
    except (OSError, ValueError, TypeError, KeyError, InvalidSetting) as error:
        said = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidSetting(f"The lesson {file.name} cannot be used: {said}.") from error


def _lesson(key: str, values: dict[str, Any]) -> Lesson:
    steps = tuple(_step(number, step) for number, step in enumerate(values.pop("steps", ()), 1))
    if not 1 <= len(steps) <= MOST_STEPS or len({step.key for step in steps}) < len(steps):
        raise InvalidSetting(f"it needs 1 to {MOST_STEPS} steps with different keys")
    known = _checked(Lesson, {"key": key, "summary": "", "minutes": 10, "order": 100, **values, "steps": steps})
    return Lesson(**known)


def _step(number: int, values: dict[str, Any]) -> Step:
    where = f"step {number}"
    try:
        given = dict(values)
        key = given.setdefault("key", f"step-{number}")
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise InvalidSetting("its key may have small letters, digits and hyphens only")
        if given.get("play", "") not in ("", *PLAYS):
            raise InvalidSetting(f"play is {given['play']!r}; known: {', '.join(PLAYS)}")
        for name in ("shown", "shown_then"):
            if name in given:
                found = dict(given[name])
                given[name] = Shown(str(found.pop("figure")), str(found.pop("run", "")), found)
        if "task" in given:
            found = dict(given["task"])
            label, page = str(found.pop("label")), str(found.pop("page"))
            given["task"] = Task(label, page, {name: str(value) for name, value in found.items()})
        if "question" in given:
            given["question"] = read_question(given["question"])
        return Step(**_checked(Step, given))
    except KeyError as error:
        raise InvalidSetting(f"{where} lacks {error.args[0]!r}") from error
    except (InvalidSetting, TypeError, ValueError) as error:
        raise InvalidSetting(f"{where}: {error}") from error


def _checked(declared: type, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values, if the class has these fields and texts are texts. Raises InvalidSetting."""
    known = {one.name: one.type for one in fields(declared)}
    for name, value in values.items():
        if name not in known:
            raise InvalidSetting(f"there is no {name!r}; known: {', '.join(known)}")
        kind = {"str": str, "int": int}.get(str(known[name]))
        if kind is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InvalidSetting(f"{name} must be a {'text' if kind is str else 'whole number'}")
    return values


_known: dict[str, tuple[float, Lesson | None, str]] = {}  # path -> time of its last change, last lesson, its fault


def _look() -> tuple[dict[str, Lesson], list[str]]:
    """All lessons, and the faults of files. Files that have not changed are not read again."""
    found: dict[str, Lesson] = {}
    faults = []
    for folder in lesson_folders():
        for file in sorted(folder.glob("*.toml")):
            lesson, fault = _read(file)
            if lesson is not None and lesson.key in found:
                fault = f"Two lessons have the key {lesson.key!r}. Rename the file {file.name}."
            elif lesson is not None:
                found[lesson.key] = lesson
            faults += [fault] if fault else []
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0]))), faults


def _read(file: Path) -> tuple[Lesson | None, str]:
    """The lesson in a file, or its last one, and the file's fault or ""."""
    before = _known.get(str(file), (0.0, None, ""))
    try:
        changed = file.stat().st_mtime
        if changed != before[0]:
            _known[str(file)] = changed, read_lesson(file), ""
    except OSError:  # the file went a moment ago
        return None, ""
    except InvalidSetting as error:
        _known[str(file)] = changed, before[1], str(error)
    return _known[str(file)][1:]
