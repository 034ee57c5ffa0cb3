"""A lesson: a file of declared steps, each with a text and, as it needs them, a figure, a question and its reveal.

A lesson is data (TOML) and runs no code, so that a course can bring lessons of its own. CONTRIBUTING.md explains the
format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merging.errors import InvalidSetting
from merging.paths import ASSETS
from merging.teaching.lesson_file import checked_fields, mapping_of, read_values
from merging.teaching.question import Question, read_question

FOLDER = ASSETS / "lessons"
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MOST_STEPS = 40
RESERVED = ("embed", "embed_options")  # names in addresses that Streamlit keeps for itself
LONGEST_FAULT = 300  # characters
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
        if not KEY.fullmatch(key):
            raise InvalidSetting("its name may have small letters, digits and hyphens only")
        return _lesson(key, read_values(file))
    except (OSError, ValueError, InvalidSetting) as error:
        raise InvalidSetting(_fault(file, error)) from error


def _fault(file: Path, error: Exception) -> str:
    """What is wrong with a file, and what to do. The system's own words would tell visitors the file's folder."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"The lesson {_named(file)} cannot be used: {said[:LONGEST_FAULT]}. Correct the file or remove it."


def _named(path: Path) -> str:
    """The name of a file, or its escaped form if a page could not show it."""
    name = path.name[:LONGEST_FAULT]
    return name if name.isprintable() else ascii(name)


def _lesson(key: str, values: dict[str, Any]) -> Lesson:
    if "key" in values:
        raise InvalidSetting("its key is the name of the file and cannot be set in it")
    given = values.pop("steps", [])
    if not isinstance(given, list):
        raise InvalidSetting("steps must be a list of tables")
    steps = tuple(_step(number, step) for number, step in enumerate(given, 1))
    if not 1 <= len(steps) <= MOST_STEPS or len({step.key for step in steps}) < len(steps):
        raise InvalidSetting(f"it needs 1 to {MOST_STEPS} steps with different keys")
    return Lesson(
        **checked_fields(Lesson, {"key": key, "summary": "", "minutes": 10, "order": 100, **values, "steps": steps})
    )


def _step(number: int, values: Any) -> Step:
    where = f"step {number}"
    try:
        given = mapping_of("a step", values)
        key = given.setdefault("key", f"step-{number}")
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise InvalidSetting("its key may have small letters, digits and hyphens only")
        if given.get("play", "") not in ("", *PLAYS):
            raise InvalidSetting(f"play is {given['play']!r}; known: {', '.join(PLAYS)}")
        for name in ("shown", "shown_then"):
            if name in given:
                found = mapping_of(name, given[name])
                figure, run = found.pop("figure"), found.pop("run", "")
                given[name] = Shown(**checked_fields(Shown, {"figure": figure, "run": run, "values": found}))
        if "task" in given:
            given["task"] = _task(mapping_of("task", given["task"]))
        if "question" in given:
            given["question"] = read_question(mapping_of("question", given["question"]))
        return Step(**checked_fields(Step, given))
    except KeyError as error:
        raise InvalidSetting(f"{where} lacks {error.args[0]!r}") from error
    except (InvalidSetting, ValueError) as error:
        raise InvalidSetting(f"{where}: {error}") from error


def _task(values: dict[str, Any]) -> Task:
    label, page = values.pop("label"), values.pop("page")
    for name, value in values.items():
        if name.lower() in RESERVED:
            raise InvalidSetting(f"task cannot set {name!r}, which addresses keep for the app itself")
        if not isinstance(value, str | int | float):
            raise InvalidSetting(f"{name!r} of task must be a text or a number")
    texts = {name: str(value) for name, value in values.items()}
    return Task(**checked_fields(Task, {"label": label, "page": page, "values": texts}))


# Path -> stamp of its last change, its last lesson, and its fault.
_known: dict[str, tuple[tuple[int, ...], Lesson | None, str]] = {}


def _look() -> tuple[dict[str, Lesson], list[str]]:
    """All lessons, and the faults of files and folders. Files that have not changed are not read again."""
    found: dict[str, Lesson] = {}
    faults = []
    for folder in lesson_folders():
        try:
            files = sorted(file for file in folder.iterdir() if file.suffix == ".toml")
        except OSError as error:
            faults.append(f"The folder of lessons {_named(folder)} cannot be read: {error.strerror}. Check its path.")
            continue
        for file in files:
            lesson, fault = _read(file)
            if lesson is not None and lesson.key in found:
                fault = f"Two lessons have the key {lesson.key!r}. Rename the file {_named(file)}."
            elif lesson is not None:
                found[lesson.key] = lesson
            faults += [fault] if fault else []
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0]))), faults


def _read(file: Path) -> tuple[Lesson | None, str]:
    """The lesson in a file, or its last one, and the file's fault or ""."""
    try:
        status = file.stat()
    except FileNotFoundError:  # the file went a moment ago
        return None, ""
    except OSError as error:
        return None, _fault(file, error)
    stamp, before = (status.st_mtime_ns, status.st_ctime_ns, status.st_size), _known.get(str(file))
    if before is None or before[0] != stamp:
        try:
            _known[str(file)] = stamp, read_lesson(file), ""
        except InvalidSetting as error:
            _known[str(file)] = stamp, before[1] if before else None, str(error)
    return _known[str(file)][1:]
