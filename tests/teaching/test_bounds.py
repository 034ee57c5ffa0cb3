"""What one person, or one network address, can take from others in the lab: classes, places, room in the ledger."""

import pytest

from merging.errors import InvalidRequest
from merging.jobs.ledger.connection import connect
from merging.teaching import answers, classes, tries
from merging.teaching.answers import ALONE, every_answer, own_answers
from merging.teaching.classes import find_class, open_class
from merging.teaching.students import arrive, find_student, join_class, remove, students_of
from tests.teaching.making import ADA, BOB, FIRST, SECOND, TEACHER, answer


def test_a_teacher_removes_a_student_with_all_answers_who_may_join_again(ledger, lab):
    answer(ledger, lab.code, ADA, FIRST)
    with pytest.raises(InvalidRequest, match="Only the teacher"):
        remove(ledger, lab.code, BOB, ADA)
    remove(ledger, lab.code, TEACHER, ADA)
    join_class(ledger, lab.code, "v-9", "Eve")  # has the number that Ada had
    remove(ledger, lab.code, TEACHER, ADA)  # pressed twice
    assert find_student(ledger, lab.code, "v-9") is not None
    remove(ledger, lab.code, TEACHER, "v-9")
    assert find_student(ledger, lab.code, ADA) is None and not every_answer(ledger, lab.code)
    join_class(ledger, lab.code, BOB, "Bob")
    join_class(ledger, lab.code, ADA, "Ada")
    assert [one.owner for one in students_of(ledger, lab.code)] == [BOB, ADA]


def test_answers_of_those_who_learn_alone_have_a_bound_each_and_together(ledger, monkeypatch):
    monkeypatch.setattr(answers, "MOST_ALONE", 1)
    monkeypatch.setattr(answers, "MOST_ALONE_IN_ALL", 2)
    with connect(ledger.file) as db:  # from the future, before the clock was set back
        db.execute("INSERT INTO answers VALUES ('', ?, 'x', 'y', '1', 9e9)", (ADA,))
    answer(ledger, ALONE, ADA, FIRST)
    assert list(own_answers(ledger, ALONE, ADA)) == [("naive", FIRST.key)]  # the one that was given last stays
    for person in ("v-1", "v-2", "v-3"):
        answer(ledger, ALONE, person, FIRST)
    assert [one.owner for one in every_answer(ledger, ALONE)] == ["v-2", "v-3"]


def test_one_address_opens_so_many_classes_a_day_and_this_machine_any_number():
    for _ in range(tries.MOST_OPENED):
        tries.check_opening("10.9.9.9")
        tries.note_opening("10.9.9.9")
    with pytest.raises(InvalidRequest, match="from your network address today"):
        tries.check_opening("10.9.9.9")
    tries.check_opening("10.9.9.8")
    for _ in range(tries.MOST_OPENED + 1):
        tries.note_opening("")
    tries.check_opening("")


def test_wrong_codes_of_one_do_not_shut_out_the_class_behind_the_same_address():
    for number in range(10):
        for _ in range(tries.MOST_OWN):
            tries.note_wrong(f"v-{number}", "10.7.7.7")
    tries.check_tries("v-classmate", "10.7.7.7")


def test_classes_that_were_filled_but_never_used_make_room(ledger, lab, monkeypatch):
    answer(ledger, lab.code, ADA, FIRST)
    monkeypatch.setattr(classes, "MOST_CLASSES", 2)
    filled, _ = open_class(ledger, BOB, "Filled", ["naive"])
    join_class(ledger, filled.code, ADA, "Ada")
    with connect(ledger.file) as db:
        db.execute("UPDATE classes SET created = created - 90000")
    open_class(ledger, BOB, "One more", ["naive"])
    assert find_class(ledger, filled.code) is None and find_class(ledger, lab.code) is not None


def test_a_student_is_seen_again_after_the_clock_was_set_back(ledger, lab, monkeypatch):
    place = ("naive", SECOND.key)
    arrive(ledger, lab.code, find_student(ledger, lab.code, ADA), place)
    there = find_student(ledger, lab.code, ADA)
    monkeypatch.setattr("merging.teaching.students.time.time", lambda: there.seen - 3600)
    arrive(ledger, lab.code, there, place)
    assert find_student(ledger, lab.code, ADA).seen == there.seen - 3600
