"""The Lab page: the door, a lesson alone, and a class as its student and as its teacher see it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.lab import lab_sweep
from merging.results.sweep_report import SweepRow
from merging.teaching.answers import every_answer, lock, own_answers
from merging.teaching.cells import LabCell, read_sweep, to_stored
from merging.teaching.classes import ALPHABET, FREE, classes_of, find_class, lead, open_class
from merging.teaching.lesson import lessons
from merging.teaching.students import join_class, raise_hand, students_of
from merging.teaching.tries import MOST_OWN
from tests.pages.ledgers import SOMEBODY
from tests.pages.test_merge_page import press, texts
from ui.teaching.play import _is_done

NAIVE = lessons()["naive"]
ASKED = next(step for step in NAIVE.steps if step.question is not None and step.question.kind == "number")
PLACE = ("naive", ASKED.key)
VISITOR = "v-visitor"


@pytest.fixture
def as_visitor(monkeypatch):
    """All pages of a test are opened by one person."""
    for module in ("seat", "lobby"):
        monkeypatch.setattr(f"ui.teaching.{module}.owner", lambda: VISITOR)


@pytest.fixture
def lab(ledger):
    """Somebody else's class at a question, which the visitor joined."""
    made, _ = open_class(ledger, SOMEBODY, "Deep <learning>", ["naive", "width"], sweep=to_stored(lab_sweep()))
    lead(ledger, made.code, SOMEBODY, place=PLACE)
    join_class(ledger, made.code, VISITOR, "Ada")
    return find_class(ledger, made.code)


def labels(app) -> list[str]:
    return [button.label for button in app.button]


def test_the_door_lists_the_lessons_and_a_wrong_code_is_told(open_page, as_visitor):
    app = open_page("lab")
    assert labels(app).count("Begin") == len(lessons())
    app.text_input[0].input("zzzzzz")
    app.text_input[1].input("Ada")
    press(app, "Join")
    assert "no class with this code" in texts(app, "error")
    assert "no class with this code" in texts(open_page("lab", **{"class": "ZZZZZZ"}), "warning")


def test_alone_the_result_is_shown_only_after_the_answer_is_locked(ledger, open_page, as_visitor):
    app = open_page("lab", lesson="naive", step=ASKED.key)
    assert "The result" not in texts(app, "markdown")
    app.slider[0].set_value(40.0)
    press(app, "Lock my answer")
    assert "**Your answer:** 40 %" in texts(app, "markdown") and "79.8 %" in texts(app, "markdown")
    assert "39.8 points off" in texts(app, "warning")
    assert "Lock my answer" not in labels(app)
    assert [one.place for one in own_answers(ledger, "", VISITOR).values()] == [PLACE]
    assert "Go on (1 of" in " ".join(labels(open_page("lab")))


def test_every_step_of_every_lesson_opens_alone(open_page, as_visitor):
    app = open_page("lab")
    for lesson in lessons().values():
        for step in lesson.steps:
            app.query_params["lesson"], app.query_params["step"] = lesson.key, step.key
            app.run()
            assert step.title in texts(app, "markdown")
            assert not app.error, (lesson.key, step.key, app.error)


def test_a_student_follows_the_class_and_sees_no_result_before_the_reveal(ledger, lab, open_page, as_visitor):
    app = open_page("lab", **{"class": lab.code, "lesson": "naive", "step": NAIVE.steps[-1].key})
    assert ASKED.title in texts(app, "markdown")  # not where the address would like to be
    press(app, "Lock my answer")
    assert "It is locked" in texts(app, "caption") and "The result" not in texts(app, "markdown")
    assert "Next" not in labels(app)
    lead(ledger, lab.code, SOMEBODY, reveal=PLACE)
    app.run()
    assert "The result" in texts(app, "markdown")


def test_a_student_in_a_free_class_goes_on_alone_and_comes_back_to_the_same_step(ledger, lab, open_page, as_visitor):
    lead(ledger, lab.code, SOMEBODY, pace=FREE)
    last = NAIVE.steps[-1]
    app = open_page("lab", **{"class": lab.code, "lesson": "naive", "step": last.key})
    assert last.title in texts(app, "markdown")
    assert last.title in texts(open_page("lab", **{"class": lab.code}), "markdown")


def test_paused_and_ended_classes_take_no_answers_and_say_so(ledger, lab, open_page, as_visitor):
    lead(ledger, lab.code, SOMEBODY, paused=True)
    app = open_page("lab", **{"class": lab.code})
    assert "paused" in texts(app, "info") and "Lock my answer" not in labels(app)
    lead(ledger, lab.code, SOMEBODY, ended=True)
    app = open_page("lab", **{"class": lab.code})
    assert "ended" in texts(app, "info") and "Raise my hand" not in labels(app)


def test_who_is_not_in_the_class_sees_only_the_way_in(ledger, open_page, as_visitor):
    made, key = open_class(ledger, SOMEBODY, "T", ["naive"])
    app = open_page("lab", **{"class": made.code, "view": "board"})
    assert made.code not in texts(app, "markdown")
    app = open_page("lab", **{"class": made.code})
    assert ASKED.title not in texts(app, "markdown") and "Join" in labels(app)
    app.text_input(key="teacher key").input("wrong").run()
    press(app, "Use the key")
    assert "not the key" in texts(app, "error")
    app.text_input(key="teacher key").input(key).run()
    press(app, "Use the key")
    assert "Next step" in labels(app)


def test_a_teacher_opens_leads_reveals_and_deletes_a_class(ledger, open_page, as_visitor):
    app = open_page("lab")
    app.text_input(key="class title").input("My class").run()
    app.multiselect(key="class lessons").set_value(["naive"]).run()
    press(app, "Open the class")
    lab = classes_of(ledger, VISITOR)[0][0]
    assert "Your key of this class" in texts(app, "success")
    join_class(ledger, lab.code, SOMEBODY, "Bob <b>")
    raise_hand(ledger, lab.code, SOMEBODY, True)
    while find_class(ledger, lab.code).place != PLACE:
        press(app, "Next step")
    lock(ledger, lab.code, SOMEBODY, NAIVE, ASKED, 12.0)
    app.run()
    assert "**1** in the class, **1** answered" in texts(app, "markdown")
    assert "raised a hand" in texts(app, "warning")
    press(app, "Lower this hand")
    assert students_of(ledger, lab.code)[0].hand == 0
    press(app, "Reveal")
    assert find_class(ledger, lab.code).shown == {PLACE} and "The result" in texts(app, "markdown")
    press(app, "Reset this step")
    assert find_class(ledger, lab.code).shown == frozenset() and every_answer(ledger, lab.code) == []
    app.selectbox(key="removed 1").select("Bob <b>").run()
    press(app, "Remove with all answers")
    assert students_of(ledger, lab.code) == []
    app.checkbox(key="sure").check().run()
    press(app, "Delete the class")
    assert find_class(ledger, lab.code) is None and "Learn alone" in texts(app, "markdown")


def test_the_projector_shows_the_answers_without_names(ledger, open_page, as_visitor):
    made, _ = open_class(ledger, VISITOR, "T", ["naive"])
    join_class(ledger, made.code, SOMEBODY, "Bob")
    lead(ledger, made.code, VISITOR, place=PLACE)
    lock(ledger, made.code, SOMEBODY, NAIVE, ASKED, 12.0)
    board = {"class": made.code, "view": "board"}
    before = open_page("lab", **board)
    assert made.code in texts(before, "markdown") and "The result" not in texts(before, "markdown")
    lead(ledger, made.code, VISITOR, reveal=PLACE)
    after = open_page("lab", **board)
    assert "The result" in texts(after, "markdown")
    assert "Bob" not in texts(after, "markdown")


def test_a_student_starts_the_cell_that_was_dealt_and_no_other(ledger, lab, open_page, as_visitor):
    lesson = lessons()["width"]
    step = next(step for step in lesson.steps if step.play == "sweep")
    lead(ledger, lab.code, SOMEBODY, place=("width", step.key))
    app = open_page("lab", **{"class": lab.code})
    assert "**Your part:** width of the first hidden layer 8, group 0" in texts(app, "markdown")
    press(app, "Start my part")
    (job,) = ledger.jobs(kind=SweepRequest.kind)
    assert job.id == lab_sweep().point((8,), 0).id
    assert "Start my part" not in labels(app)


def test_a_part_that_failed_says_why_and_can_be_started_again(ledger, lab, open_page, as_visitor):
    step = next(step for step in lessons()["width"].steps if step.play == "sweep")
    lead(ledger, lab.code, SOMEBODY, place=("width", step.key))
    part = ledger.submit(lab_sweep().point((8,), 0), VISITOR)
    desk = Desk(ledger)
    desk.fail(desk.claim((SweepRequest.kind,)), {"kind": "MergescopeError", "text": "The disk is full."})
    app = open_page("lab", **{"class": lab.code})
    assert "The disk is full." in texts(app, "error")
    press(app, "Start my part")
    assert ledger.job(part.id).state == "queued"


def test_a_part_is_done_when_all_its_merges_are():
    """A sweep with two methods has two merges per part."""
    cells = [LabCell((4,), 0), LabCell((8,), 0)]
    triples = [(align, "average", "none") for align in ("none", "weight-matching")]
    rows = [SweepRow(cell.values, triple, 0, 0, "done", "run") for cell in cells for triple in triples]
    rows[3] = replace(rows[3], state="running")
    assert [_is_done(cell, rows) for cell in (*cells, LabCell((16,), 0))] == [True, False, False]


def test_a_class_can_run_a_sweep_that_its_teacher_asked_for(ledger, open_page, as_visitor):
    own, foreign = (replace(lab_sweep(), groups=groups, axes=(("lr", (0.001, 0.01)),)) for groups in (2, 3))
    ledger.submit(own, VISITOR)
    ledger.submit(foreign, SOMEBODY)
    app = open_page("lab")
    menu = app.selectbox(key="class sweep")
    assert menu.options == ["Width of an MLP: 30 parts", f"{own.title}: 4 parts", "none"]
    app.text_input(key="class title").input("Mine")
    menu.select(own.id)
    press(app, "Open the class")
    ((made,), _) = classes_of(ledger, VISITOR)
    assert read_sweep(made.sweep) == own


def test_a_change_in_one_browser_of_a_teacher_is_not_undone_by_another(ledger, open_page, as_visitor):
    made, _ = open_class(ledger, VISITOR, "T", ["naive", "width"])
    app = open_page("lab", **{"class": made.code})
    lead(ledger, made.code, VISITOR, place=("width", ""), pace=FREE, paused=True)
    app.run()
    app.run()
    now = find_class(ledger, made.code)
    assert (now.place[0], now.pace, now.paused) == ("width", FREE, True)
    assert app.selectbox(key="led lesson").value == "width" and app.toggle(key="paused").value


def test_codes_that_are_tried_in_the_address_are_slowed_down_but_not_for_a_student(
    ledger, lab, open_page, as_visitor, monkeypatch
):
    monkeypatch.setattr("merging.teaching.tries._wrong", {})
    for number in range(MOST_OWN):
        open_page("lab", **{"class": f"ZZZZZ{ALPHABET[number]}"})
    assert "Too many wrong codes" in texts(open_page("lab", **{"class": "ZZZZZZ"}), "error")
    assert ASKED.title in texts(open_page("lab", **{"class": lab.code}), "markdown")


def test_a_class_whose_lessons_are_gone_says_so(ledger, open_page, as_visitor):
    made, _ = open_class(ledger, VISITOR, "T", ["no-longer-here"])
    assert "None of the lessons" in texts(open_page("lab", **{"class": made.code}), "warning")


def test_a_question_that_became_one_for_a_text_shows_no_number_as_an_answer(
    ledger, open_page, as_visitor, tmp_path, monkeypatch
):
    monkeypatch.setenv("MERGESCOPE_LESSONS", str(tmp_path))
    file, head = tmp_path / "9-ours.toml", 'title = "T"\n[[steps]]\ntitle = "S"\ntext = "x"\n'
    file.write_text(f"{head}question = {{prompt = 'p', kind = 'number'}}")
    made, _ = open_class(ledger, VISITOR, "T", ["ours"])
    join_class(ledger, made.code, SOMEBODY, "Bob")
    lead(ledger, made.code, VISITOR, place=("ours", "step-1"))
    lock(ledger, made.code, SOMEBODY, lessons()["ours"], lessons()["ours"].steps[0], 5.0)
    file.write_text(f"{head}question = {{prompt = 'p', kind = 'text'}}")
    app = open_page("lab", **{"class": made.code})
    assert "1** answered" in texts(app, "markdown") and "None" not in texts(app, "markdown")


@pytest.mark.parametrize("page, said", [("merge", ""), ("no-such-page", "opens the page 'no-such-page'")])
def test_a_task_may_set_any_name_of_an_address(page, said, open_page, as_visitor, tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_LESSONS", str(tmp_path))
    task = f"{{label = 'Go', page = '{page}', run = 'mlps', icon = 'y', key = 'z', page_label = 3}}"
    (tmp_path / "9-ours.toml").write_text(f'title = "T"\n[[steps]]\ntitle = "S"\ntext = "x"\ntask = {task}')
    app = open_page("lab", lesson="ours", step="step-1")
    assert not app.exception and (said in texts(app, "error") if said else not app.error)
