"""Classes: laws that hold whoever asks, in whatever order, and how many write at once."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.ledger import Ledger
from merging.teaching.answers import ALONE, answers_at, class_answers, every_answer, lock, own_answers, reset
from merging.teaching.classes import (
    ALPHABET,
    DAYS,
    FREE,
    MOST_OPEN,
    classes_of,
    delete_class,
    find_class,
    is_teacher,
    lead,
    open_class,
    use_key,
)
from merging.teaching.lesson import lessons
from merging.teaching.students import arrive, find_student, join_class, raise_hand, remove, students_of
from merging.teaching.tries import MOST_OWN, check_tries, note_wrong
from tests.teaching.making import ADA, ASKED, BOB, FIRST, NAIVE, SECOND, TEACHER, answer


def test_a_class_is_found_by_its_code_however_it_is_typed(ledger, lab):
    assert set(lab.code) <= set(ALPHABET) and len(lab.code) == 6
    for typed in (lab.code.lower(), f" {lab.code[:3]}-{lab.code[3:]} ", f"{lab.code[:3]} {lab.code[3:]}"):
        assert find_class(ledger, typed) == find_class(ledger, lab.code)
    assert find_class(ledger, "ABC") is None


def test_only_the_teacher_leads_and_the_key_makes_another_browser_the_teacher(ledger):
    lab, key = open_class(ledger, TEACHER, "T", ["naive"])
    for who in (ADA, BOB):
        for change in ({"pace": FREE}, {"paused": True}, {"ended": True}, {"reveal": ("naive", FIRST.key)}):
            with pytest.raises(InvalidRequest, match="Only the teacher"):
                lead(ledger, lab.code, who, **change)
        with pytest.raises(InvalidRequest, match="Only the teacher"):
            reset(ledger, lab.code, who, ("naive", FIRST.key))
        with pytest.raises(InvalidRequest, match="Only the teacher"):
            delete_class(ledger, lab.code, who)
        with pytest.raises(InvalidRequest, match="not the key"):
            use_key(ledger, lab.code, who, key[:-1])
    use_key(ledger, lab.code, BOB, f" {key} ")
    assert is_teacher(ledger, lab.code, BOB) and not is_teacher(ledger, lab.code, ADA)
    lead(ledger, lab.code, BOB, pace=FREE)
    assert find_class(ledger, lab.code).pace == FREE
    with connect(ledger.file) as db:
        assert key not in str([tuple(row) for row in db.execute("SELECT * FROM classes").fetchall()])


def test_joining_again_in_the_same_browser_comes_back_and_nicknames_are_different(ledger, lab):
    again = join_class(ledger, lab.code, ADA, "Somebody else")
    assert (again.nickname, again.number) == ("Ada", 1)
    with pytest.raises(InvalidRequest, match="called ada already"):
        join_class(ledger, lab.code, BOB, " ada ")
    for bad in ("", "   ", "x" * 25, "a\x00b"):
        with pytest.raises(InvalidRequest, match="1 to 24 characters"):
            join_class(ledger, lab.code, BOB, bad)
    for blank in ("\u3164", "\u2800 \u2800", "\u0301Bob"):
        with pytest.raises(InvalidRequest, match="can be seen"):
            join_class(ledger, lab.code, BOB, blank)
    join_class(ledger, lab.code, "zoe", "Zo\u00e9")
    for same in ("Zoe\u0301", "ZO\u00c9", "\uff3ao\u00e9", "Zo\u00e9\u3164"):
        with pytest.raises(InvalidRequest, match="already"):
            join_class(ledger, lab.code, BOB, same)
    remove(ledger, lab.code, TEACHER, "zoe")
    assert join_class(ledger, lab.code, BOB, "\U0001f98a Bob").number == 2
    remove(ledger, lab.code, TEACHER, BOB)
    assert join_class(ledger, lab.code, BOB, "Bob").number == 2
    assert [one.nickname for one in students_of(ledger, lab.code)] == ["Ada", "Bob"]
    assert [one.code for one in classes_of(ledger, ADA)[1]] == [lab.code]


def test_a_locked_answer_cannot_be_changed_by_anybody(ledger, lab):
    answer(ledger, lab.code, ADA, FIRST)
    before = answers_at(ledger, lab.code, ("naive", FIRST.key))
    for other in (FIRST.question.low, FIRST.question.high):
        with pytest.raises(InvalidRequest, match="cannot be changed"):
            lock(ledger, lab.code, ADA, NAIVE, FIRST, other)
    assert answers_at(ledger, lab.code, ("naive", FIRST.key)) == before
    assert class_answers(ledger, find_class(ledger, lab.code), ("naive", FIRST.key)) == before


def test_crafted_answers_are_refused(ledger, lab):
    place = ("naive", FIRST.key)
    for value in (None, True, "50", FIRST.question.high + 1, float("nan"), float("inf"), [1] * 5):
        with pytest.raises(InvalidRequest):
            lock(ledger, lab.code, ADA, NAIVE, FIRST, value)
    with pytest.raises(InvalidRequest, match="Join the class"):
        answer(ledger, lab.code, BOB, FIRST)
    other = lessons()["symmetry"]
    asked = next(step for step in other.steps if step.question is not None)
    with pytest.raises(InvalidRequest, match="not one of the class"):
        answer(ledger, lab.code, ADA, asked, other)
    with pytest.raises(InvalidRequest, match="no class with this code"):
        answer(ledger, "ZZZZZZ", ADA, FIRST)
    with pytest.raises(InvalidRequest, match="asks nothing"):
        lock(ledger, lab.code, ADA, NAIVE, next(step for step in NAIVE.steps if step.question is None), 1.0)
    assert answers_at(ledger, lab.code, place) == []


def test_no_answer_is_taken_ahead_of_the_class_after_the_reveal_in_a_pause_or_after_the_end(ledger):
    lab, _ = open_class(ledger, TEACHER, "T", ["naive"])
    join_class(ledger, lab.code, ADA, "Ada")
    lead(ledger, lab.code, TEACHER, place=("naive", FIRST.key))
    with pytest.raises(InvalidRequest, match="not there yet"):
        answer(ledger, lab.code, ADA, SECOND)
    lead(ledger, lab.code, TEACHER, paused=True)
    with pytest.raises(InvalidRequest, match="paused"):
        answer(ledger, lab.code, ADA, FIRST)
    lead(ledger, lab.code, TEACHER, paused=False, reveal=("naive", FIRST.key))
    with pytest.raises(InvalidRequest, match="revealed already"):
        answer(ledger, lab.code, ADA, FIRST)
    lead(ledger, lab.code, TEACHER, pace=FREE)
    answer(ledger, lab.code, ADA, SECOND)
    lead(ledger, lab.code, TEACHER, ended=True)
    for late in (
        lambda: answer(ledger, lab.code, ADA, ASKED[-1]),
        lambda: join_class(ledger, lab.code, BOB, "Bob"),
        lambda: lead(ledger, lab.code, TEACHER, pace=FREE),
    ):
        with pytest.raises(InvalidRequest, match="has ended"):
            late()
    assert len(every_answer(ledger, lab.code)) == 1


def test_a_reset_step_can_be_answered_again_and_others_keep_theirs(ledger, lab):
    for step in (FIRST, SECOND):
        answer(ledger, lab.code, ADA, step)
    for step in (FIRST, SECOND):
        lead(ledger, lab.code, TEACHER, reveal=("naive", step.key))
    reset(ledger, lab.code, TEACHER, ("naive", FIRST.key))
    assert find_class(ledger, lab.code).shown == {("naive", SECOND.key)}
    assert set(own_answers(ledger, lab.code, ADA)) == {("naive", SECOND.key)}
    answer(ledger, lab.code, ADA, FIRST)


def test_sixty_people_who_answer_at_once_lose_nothing(ledger):
    lab, _ = open_class(ledger, TEACHER, "T", ["naive"])
    lead(ledger, lab.code, TEACHER, pace=FREE)

    def take_part(number: int) -> int:
        mine = Ledger(ledger.folder)
        join_class(mine, lab.code, f"v-{number}", f"Student {number}")
        for step in ASKED:
            answer(mine, lab.code, f"v-{number}", step)
        raise_hand(mine, lab.code, f"v-{number}", True)
        return len(own_answers(mine, lab.code, f"v-{number}"))

    with ThreadPoolExecutor(16) as pool:
        counts = list(pool.map(take_part, range(60)))
    assert counts == [len(ASKED)] * 60
    assert len(every_answer(ledger, lab.code)) == 60 * len(ASKED)
    assert sorted(one.number for one in students_of(ledger, lab.code)) == list(range(1, 61))
    assert find_class(ledger, lab.code).version == 1 + 60 * len(ASKED)


def test_those_who_learn_alone_answer_once_and_see_only_their_own(ledger):
    answer(ledger, ALONE, ADA, FIRST)
    with pytest.raises(InvalidRequest, match="cannot be changed"):
        answer(ledger, ALONE, ADA, FIRST)
    answer(ledger, ALONE, BOB, FIRST)
    assert [one.owner for one in own_answers(ledger, ALONE, ADA).values()] == [ADA]


def test_deleting_a_class_deletes_all_that_it_holds_and_nothing_else(ledger, lab):
    other, _ = open_class(ledger, TEACHER, "Other", ["naive"])
    answer(ledger, lab.code, ADA, FIRST)
    answer(ledger, ALONE, ADA, FIRST)
    delete_class(ledger, lab.code, TEACHER)
    assert find_class(ledger, lab.code) is None and find_student(ledger, lab.code, ADA) is None
    assert every_answer(ledger, lab.code) == [] and len(own_answers(ledger, ALONE, ADA)) == 1
    assert [one.code for one in classes_of(ledger, TEACHER)[0]] == [other.code]


def test_a_class_of_thirty_days_ago_is_gone_and_its_rows_go_when_the_next_is_opened(ledger, lab):
    answer(ledger, lab.code, ADA, FIRST)
    answer(ledger, ALONE, ADA, FIRST)
    old = time.time() - DAYS * 86_400 - 1
    with connect(ledger.file) as db:
        db.execute("UPDATE classes SET created = ?", (old,))
        db.execute("UPDATE answers SET at = ?", (old,))
    assert find_class(ledger, lab.code) is None and classes_of(ledger, TEACHER) == ([], [])
    open_class(ledger, BOB, "New", ["naive"])
    with connect(ledger.file) as db:
        left = {table: db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("students", "answers")}
    assert left == {"students": 0, "answers": 0}


def test_a_teacher_has_a_bound_on_open_classes(ledger):
    made = [open_class(ledger, TEACHER, "T", ["naive"])[0] for _ in range(MOST_OPEN)]
    with pytest.raises(InvalidRequest, match="5 open and 0 ended"):
        open_class(ledger, TEACHER, "T", ["naive"])
    lead(ledger, made[0].code, TEACHER, ended=True)
    open_class(ledger, TEACHER, "T", ["naive"])
    for title, keys in (("", ["naive"]), ("x" * 81, ["naive"]), ("T", [])):
        with pytest.raises(InvalidRequest, match="needs a title"):
            open_class(ledger, BOB, title, keys)


def test_being_somewhere_is_noted_once_and_not_at_every_look(ledger, lab):
    student = find_student(ledger, lab.code, ADA)
    arrive(ledger, lab.code, student, ("naive", FIRST.key))
    there = find_student(ledger, lab.code, ADA)
    assert there.place == ("naive", FIRST.key)
    version = find_class(ledger, lab.code).version
    arrive(ledger, lab.code, there, ("naive", FIRST.key))
    assert find_class(ledger, lab.code).version == version


def test_many_wrong_codes_are_slowed_down_for_one_person_and_not_for_others():
    for _ in range(MOST_OWN):
        check_tries("v-guesser", "10.0.0.1")
        note_wrong("v-guesser", "10.0.0.1")
    with pytest.raises(InvalidRequest, match="Wait a minute"):
        check_tries("v-guesser", "10.0.0.1")
    check_tries("v-other", "10.0.0.1")


def test_a_reveal_in_one_browser_keeps_what_another_has_revealed(ledger, lab):
    for step in (FIRST, SECOND):  # both pages were drawn before either reveal
        lead(ledger, lab.code, TEACHER, reveal=("naive", step.key))
    assert find_class(ledger, lab.code).shown == {("naive", FIRST.key), ("naive", SECOND.key)}


def test_a_teacher_is_no_student_in_the_same_browser(ledger, lab):
    with pytest.raises(InvalidRequest, match="another browser"):
        join_class(ledger, lab.code, TEACHER, "Me")


def test_damaged_rows_of_a_class_are_refused_in_words(ledger, lab):
    with connect(ledger.file) as db:
        db.execute("UPDATE classes SET lessons = '', shown = '', place = ''")
    assert find_class(ledger, lab.code).lessons == ()
    with pytest.raises(InvalidRequest, match="not one of the class"):
        answer(ledger, lab.code, ADA, FIRST)
    reset(ledger, lab.code, TEACHER, ("naive", FIRST.key))
    lead(ledger, lab.code, TEACHER, reveal=("naive", FIRST.key))


def test_empty_classes_make_room_when_there_is_none(ledger, lab, monkeypatch):
    monkeypatch.setattr("merging.teaching.classes.MOST_CLASSES", 2)
    empty, _ = open_class(ledger, BOB, "Empty", ["naive"])
    with pytest.raises(InvalidRequest, match="the limit"):
        open_class(ledger, BOB, "One more", ["naive"])
    with connect(ledger.file) as db:
        db.execute("UPDATE classes SET created = created - 7200")
    open_class(ledger, BOB, "One more", ["naive"])
    assert find_class(ledger, empty.code) is None and find_class(ledger, lab.code) is not None
