"""Lessons: every shipped one opens, every truth is read from a stored result, and a bad file is refused in words."""

import csv
import json
import os
from html import escape

import pytest

from merging.errors import InvalidSetting
from merging.jobs.ledger.ledger import Ledger
from merging.teaching.answers import Given, lock
from merging.teaching.classes import FREE, find_class, lead, open_class
from merging.teaching.lesson import FOLDER, broken_lessons, lesson_folders, lessons, read_lesson
from merging.teaching.question import to_text
from merging.teaching.shown import shown_figure
from merging.teaching.students import join_class, students_of
from merging.teaching.truths import truth_of
from merging.teaching.worksheet import class_csv, class_report, worksheet_html, worksheet_lines, worksheet_notebook
from ui.shell.screens import SCREENS

FILES = sorted(FOLDER.glob("*.toml"))
GOOD = """
title = "A lesson"
[[steps]]
title = "One"
text = "Words."
"""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return Ledger(tmp_path_factory.mktemp("ledger"))


def test_there_are_eight_lessons_of_eight_to_fourteen_minutes_in_order():
    found = list(lessons().values())
    assert [lesson.order for lesson in found] == list(range(1, 9))
    assert all(8 <= lesson.minutes <= 14 and lesson.summary for lesson in found)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_step_of_a_lesson_opens_and_every_truth_is_an_answer_that_can_be_given(file, ledger):
    lesson = read_lesson(file)
    asked = [step for step in lesson.steps if step.question is not None]
    assert len(asked) >= 2
    for step in lesson.steps:
        for shown in filter(None, (step.shown, step.shown_then)):
            shown_figure(ledger, shown).checked()
        if step.question is not None:
            truth = truth_of(ledger, step.question)
            assert (truth is None) == (step.question.kind == "text")
            assert truth is None or step.question.checked(truth) == truth
        if step.task is not None:
            assert step.task.page in SCREENS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_figure_before_a_question_does_not_draw_what_its_reveal_draws(file):
    for step in read_lesson(file).steps:
        if step.question is not None and step.shown is not None:
            assert step.shown != step.shown_then, step.key


def test_a_truth_is_the_number_of_its_run(ledger):
    from merging.jobs.requests.merge import MergeRequest
    from merging.results.sweep_report import measures_of
    from merging.teaching.question import Question
    from merging.teaching.sources import find_run

    job = find_run(ledger, "mlps")
    assert job.kind == MergeRequest.kind
    asked = Question("number", "?", {"read": "measure", "run": "mlps", "name": "naive_accuracy", "times": 100})
    assert truth_of(ledger, asked) == pytest.approx(100 * measures_of(ledger.report(job.id))["naive_accuracy"])


@pytest.mark.parametrize(
    "text, said",
    [
        ("title = ", "Invalid value"),
        ('title = "x"', "1 to 40 steps"),
        (GOOD + "color = 1", "there is no 'color'"),
        (GOOD + 'play = "chess"', "play is 'chess'"),
        (GOOD + 'key = "A b"', "small letters"),
        (GOOD + "[steps.shown]\nrun = 'mlps'", "lacks 'figure'"),
        (GOOD + "[steps.question]\nprompt = 'x'\nkind = 'riddle'", "kind is 'riddle'"),
        (GOOD + "[steps.question]\nprompt = 'x'\nkind = 'choice'\noptions = ['a', 'a']", "2 to 8 different"),
        (GOOD + "[steps.question]\nprompt = 'x'\nkind = 'number'\nlow = 3\nhigh = 3", "low must be less"),
        (GOOD + "[steps.question]\nprompt = 'x'\nkind = 'number'\npoints = 3", "there is no 'points'"),
        (GOOD + "[steps.question]\nprompt = 'x'\nkind = 'text'\ntruth = {read = 'toy'}", "not judged"),
        (GOOD.replace('"A lesson"', "3"), "title must be a text"),
        (GOOD + GOOD.partition("\n[[")[2].join(["[[", ""]) + "key = 'step-1'", "different keys"),
    ],
)
def test_a_file_that_is_no_lesson_is_refused_with_its_name_and_what_is_wrong(text, said, tmp_path):
    file = tmp_path / "9-mine.toml"
    file.write_text(text)
    with pytest.raises(InvalidSetting, match=f"9-mine.toml.*{said}"):
        read_lesson(file)


@pytest.mark.parametrize(
    "truth, said",
    [
        ({"read": "oracle"}, "reads 'oracle'"),
        ({"read": "measure", "run": "mlps", "name": "luck"}, "lacks 'luck'"),
        ({"read": "measure", "run": "no-such-run", "name": "loss"}, "not among the finished runs"),
        ({"read": "measure", "run": "widths", "name": "loss"}, "is no merge"),
        ({"read": "measure", "run": "mlps", "name": "accuracy", "times": 1000}, "no possible answer"),
        ({"read": "costliest", "run": "shared"}, "no finding of the study"),
        ({"read": "toy", "change": "melt"}, "Changes of the small network"),
    ],
)
def test_a_truth_that_cannot_be_read_says_why(truth, said, ledger):
    from merging.teaching.question import Question

    with pytest.raises(InvalidSetting, match=said):
        truth_of(ledger, Question("number", "?", truth))


def test_a_course_brings_its_own_folder_and_a_file_that_is_half_written_costs_no_lesson(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_LESSONS", str(tmp_path))
    file = tmp_path / "1-ours.toml"
    file.write_text(GOOD)
    assert lesson_folders()[-1] == tmp_path
    assert list(lessons())[-1] == "ours" and broken_lessons() == []
    file.write_text(GOOD[:40])
    os.utime(file, (1, 1))
    (tmp_path / "2-ours.toml").write_text(GOOD)
    (tmp_path / ".#lock.toml").symlink_to(tmp_path / "nowhere")
    assert list(lessons())[-1] == "ours" and lessons()["ours"].title == "A lesson"
    first, second = broken_lessons()
    assert "1-ours.toml cannot be used" in first and "Two lessons have the key 'ours'" in second


def test_an_empty_worksheet_is_a_handout_that_tells_no_result(ledger):
    lines = worksheet_lines(ledger, lessons(), {}, frozenset())
    assert len(lines) == sum(step.question is not None for lesson in lessons().values() for step in lesson.steps)
    assert not any(line.truth or line.reveal or line.own or line.run for line in lines)
    assert "____" in worksheet_html("Handout", "", lines, "http://x/?run=")
    assert worksheet_notebook("Handout", "", lines, "http://x/?run=").count('"markdown"') == len(lines) + 1


def test_a_worksheet_shows_what_people_wrote_and_runs_nothing_of_it(ledger):
    lesson = lessons()["naive"]
    step = next(step for step in lesson.steps if step.question is not None and step.question.kind == "text")
    place, evil = ("naive", step.key), "<script>alert(1)</script> **[x](//evil)** `!rm`"
    given = {place: Given("v-1", place, to_text(evil), 0.0)}
    lines = worksheet_lines(ledger, {"naive": lesson}, given, frozenset({place, ("naive", "predict-half-way")}))
    page = worksheet_html("<b>T</b>", "<i>N</i>", lines, "http://x")
    assert "<script>" not in page and "<i>" not in page and escape(evil) in page
    assert 'href="http://x/?run=' in page
    book = json.loads(worksheet_notebook("[t](//evil)", "*n*", lines, "http://x"))
    code = [cell["source"] for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all("".join(one).startswith("!python -m merging merge ") for one in code) and code
    said = "".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")
    assert "\\[x\\](//evil)" in said and "<script>" not in said


def test_the_table_of_a_class_can_be_opened_by_a_spreadsheet(ledger):
    made, _ = open_class(ledger, "v-t", "T", ["naive"], comma=True)
    lesson = lessons()["naive"]
    lead(ledger, made.code, "v-t", pace=FREE)
    join_class(ledger, made.code, "v-a", "=cmd()")
    asked = [step for step in lesson.steps if step.question is not None]
    for step in asked:
        kind = step.question.kind
        lock(ledger, made.code, "v-a", lesson, step, truth_of(ledger, step.question) if kind != "text" else "=1+1")
    lab = find_class(ledger, made.code)
    text = class_csv(ledger, lab, {"naive": lesson}, students_of(ledger, made.code))
    rows = list(csv.DictReader(text.splitlines(), delimiter=";"))
    assert len(rows) == len(asked)
    assert all(not row[name].startswith("=") for row in rows for name in row)
    assert {row["right"] for row in rows if row["truth"] and row["right"]} == {"yes"}
    report = class_report(ledger, lab, {"naive": lesson}, students_of(ledger, made.code))
    assert "=cmd" not in report and f"1 students, {len(asked)} answers" in report
