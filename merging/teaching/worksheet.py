"""What people take home: a worksheet as HTML or as a notebook, and the teacher's table and report of a class."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import nbformat

from merging.errors import InvalidSetting, MergescopeError
from merging.figures.palette import page
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.comparison import csv_value
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import SweepRequest
from merging.teaching.answers import Given, every_answer
from merging.teaching.charts import answers_figure
from merging.teaching.classes import LabClass, Place
from merging.teaching.lesson import Lesson, Step
from merging.teaching.question import Answer, Question, in_words
from merging.teaching.sources import find_run
from merging.teaching.students import Student
from merging.teaching.truths import truth_of
from merging.text import numbers
from merging.text.reproduce import command
from merging.text.sweep_words import sweep_command

COLUMNS = ("nickname", "lesson", "step", "question", "answer", "truth", "right", "off", "time (UTC)")
DIGITS = 12  # of a run's id in addresses
STYLE = (
    "body{font-family:sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;line-height:1.5;color:#1b2733}"
    "code{background:#f0f3f6;padding:.15rem .3rem;overflow-wrap:anywhere}h2{margin-top:2rem}"
    "dt{font-weight:bold;margin-top:.6rem}dd{margin-left:0}@media print{h2{break-after:avoid}}"
)


@dataclass(frozen=True)
class WorksheetLine:
    """One question of a worksheet.

    Attributes:
        lesson, step: where it was asked.
        prompt: the question.
        own: one's own answer as text, "" without one.
        truth: the right answer as text, "" if there is none or it is not shown yet.
        reveal: the explanation, "" if it is not shown yet.
        run: address of the run that the truth was read from, after the app's address; "" without one.
        command: the command that computes this run again.
    """

    lesson: str
    step: str
    prompt: str
    own: str
    truth: str
    reveal: str
    run: str
    command: str


def worksheet_lines(
    ledger: Ledger,
    lessons: Mapping[str, Lesson],
    given: Mapping[Place, Given],
    shown: Sequence[Place] | frozenset[Place],
    *,
    comma: bool = False,
) -> list[WorksheetLine]:
    """All questions of the lessons, with the answers in `given`. shown: places whose truth may be told."""
    lines = []
    for lesson, step in _questions(lessons):
        question, place = step.question, (lesson.key, step.key)
        assert question is not None
        answer = given[place].answer(question) if place in given else None
        truth = _truth(ledger, question) if place in shown else None
        run, how = _source(ledger, str(question.truth.get("run", ""))) if truth is not None else ("", "")
        own, told = ("" if one is None else in_words(question, one, comma=comma) for one in (answer, truth))
        reveal = step.reveal if place in shown else ""
        lines.append(WorksheetLine(lesson.title, step.title, question.prompt, own, told, reveal, run, how))
    return lines


def worksheet_html(title: str, name: str, lines: Sequence[WorksheetLine], address: str) -> str:
    """The worksheet as one HTML page, to print or to keep. address: the app's address."""
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(name)}</p>" if name else ""]
    lesson = ""
    for line in lines:
        if line.lesson != lesson:
            lesson = line.lesson
            parts.append(f"<h2>{escape(lesson)}</h2>")
        parts.append(f"<h3>{escape(line.step)}</h3><p>{escape(line.prompt)}</p><dl>")
        parts.append(f"<dt>Your answer</dt><dd>{escape(line.own) or '____________________'}</dd>")
        if line.truth:
            parts.append(f"<dt>The result</dt><dd>{escape(line.truth)}</dd>")
        if line.run:
            link = escape(f"{address}/{line.run}")
            parts.append(f'<dt>From</dt><dd><a href="{link}">{link}</a><br><code>{escape(line.command)}</code></dd>')
        parts.append(f"</dl><p>{_marked_up(line.reveal)}</p>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def worksheet_notebook(title: str, name: str, lines: Sequence[WorksheetLine], address: str) -> str:
    """The worksheet as a Jupyter notebook; the commands stand in cells that can be run."""
    cells = [_text(f"# {_plain(title)}\n\n{_plain(name)}")]
    for line in lines:
        words = [f"## {line.lesson}: {line.step}", line.prompt, f"**Your answer:** {_plain(line.own) or '...'}"]
        words += [f"**The result:** {line.truth}"] if line.truth else []
        words += [line.reveal] if line.reveal else []
        words += [f"From {address}/{line.run}"] if line.run else []
        cells.append(_text("\n\n".join(words)))
        if line.command:
            cells.append(nbformat.v4.new_code_cell(f"!{line.command}", id=f"cell-{len(cells)}"))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat draws them at random; equal worksheets are equal files
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=cells))) + "\n"


def class_csv(ledger: Ledger, lab: LabClass, lessons: Mapping[str, Lesson], students: Sequence[Student]) -> str:
    """All answers of a class: COLUMNS, one line per answer; learning-management systems read it."""
    names = {one.owner: one.nickname for one in students}
    steps = {(lesson.key, step.key): (lesson, step) for lesson, step in _questions(lessons)}
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";" if lab.comma else ",", lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in every_answer(ledger, lab.code):
        if one.place in steps:
            lesson, step = steps[one.place]
            cells = _csv_cells(ledger, step, one, comma=lab.comma)
            row = [names.get(one.owner, ""), lesson.title, step.title, *cells, numbers.date(one.at, "UTC")]
            writer.writerow([csv_value(cell) for cell in row])
    return out.getvalue()


def class_report(ledger: Ledger, lab: LabClass, lessons: Mapping[str, Lesson], students: Sequence[Student]) -> str:
    """The distributions of all answers, with the truths, as one HTML page without names."""
    given: dict[Place, list[Given]] = {}
    for one in every_answer(ledger, lab.code):
        given.setdefault(one.place, []).append(one)
    figures = []
    for lesson, step in _questions(lessons):
        question = step.question
        assert question is not None
        mine = (one.answer(question) for one in given.get((lesson.key, step.key), ()))
        answers: list[Answer] = [answer for answer in mine if answer is not None]
        if answers and question.kind != "text":
            drawn = answers_figure(question, answers, _truth(ledger, question))
            figures.append((drawn, f"{lesson.title}: {step.title}"))
    text = page(figures)
    head = f"<h1>{escape(lab.title)}</h1><p>{len(students)} students, {sum(map(len, given.values()))} answers.</p>"
    return text.replace("<body>", f"<body>{head}", 1)


def _questions(lessons: Mapping[str, Lesson]) -> Iterator[tuple[Lesson, Step]]:
    for lesson in lessons.values():
        yield from ((lesson, step) for step in lesson.steps if step.question is not None)


def _csv_cells(ledger: Ledger, step: Step, one: Given, *, comma: bool) -> list[str]:
    """Question, answer, truth, whether it is right, and how far off it is."""
    question = step.question
    assert question is not None
    answer = one.answer(question)
    if answer is None:
        return [question.prompt, one.text, "", "", ""]
    truth = _truth(ledger, question)
    right = None if truth is None else question.is_right(answer, truth)
    off = math.nan if truth is None else question.off(answer, truth)
    words = "" if math.isnan(off) else f"{off:.4g}"
    told = "" if truth is None else in_words(question, truth, comma=comma)
    verdict = {True: "yes", False: "no", None: ""}[right]
    return [
        question.prompt,
        in_words(question, answer, comma=comma),
        told,
        verdict,
        words.replace(".", ",") if comma else words,
    ]


def _source(ledger: Ledger, run: str) -> tuple[str, str]:
    """Address of the run that a lesson names, after the app's, and the command that computes it; "" without one."""
    if not run:
        return "", ""
    try:
        job = find_run(ledger, run)
    except InvalidSetting:
        return "", ""
    try:
        request = from_json(json.dumps(job.request))
    except MergescopeError:  # another version of the program made it
        return f"?run={job.id[:DIGITS]}", ""
    if isinstance(request, SweepRequest):
        return f"sweeps?sweep={job.id[:DIGITS]}", sweep_command(request)
    return f"?run={job.id[:DIGITS]}", command(request) if isinstance(request, MergeRequest) else ""


def _truth(ledger: Ledger, question: Question) -> Answer | None:
    """The right answer, None also where it cannot be read: one bad truth must not cost a worksheet."""
    try:
        return truth_of(ledger, question)
    except MergescopeError:
        return None


def _marked_up(text: str) -> str:
    """A lesson's Markdown as HTML: bold words and code, which is all that explanations have."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", bold)


def _plain(text: str) -> str:
    """Escape a text from a person, so that a notebook shows it unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>#$~|&!])", r"\\\1", text)


def _text(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source)
