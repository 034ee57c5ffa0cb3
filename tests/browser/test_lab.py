"""The Lab in real browsers: a teacher and three students in one class, and one person alone on a phone."""

import csv
import re
from contextlib import suppress

import pytest
from playwright.sync_api import TimeoutError

from tests.browser.test_accessible import FITS, faults
from tests.browser.test_journeys import go, settle, type_into

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
NAMES = ("Ada", "Bob <b>", "Çelik")


@pytest.fixture
def people(chromium, server):
    """Open browsers of their own (own cookies): `people(viewport)` gives a page."""
    contexts = []

    def person(viewport):
        context = chromium.new_context(viewport=viewport, base_url=server.url)
        context.set_default_timeout(120_000)
        contexts.append(context)
        return context.new_page()

    yield person
    for context in contexts:
        context.close()


def opened_class(teacher) -> str:
    """Open a class with all lessons, at the second; give its code."""
    go(teacher, "/lab")
    teacher.get_by_text("Open a class").click()
    type_into(teacher, teacher.get_by_role("textbox", name="Title"), "Deep learning")
    teacher.get_by_role("button", name="Open the class").click()
    teacher.get_by_text("Your key of this class").wait_for()
    choose(teacher, "The naive average")
    return re.search("class=([A-Z2-9]{6})", teacher.url)[1]


def choose(teacher, lesson):
    """Take the class to another lesson."""
    for _ in range(10):  # a menu closes if its page is drawn anew just then
        settle(teacher)
        teacher.get_by_role("combobox", name="Lesson").click()
        with suppress(TimeoutError):
            teacher.get_by_role("option", name=lesson).click(timeout=10_000)
            break
    teacher.get_by_text(f"{lesson} · step 1").wait_for()


def joined(page, code, name):
    go(page, f"/lab?class={code}")
    page.get_by_role("textbox", name="Nickname").fill(name)
    page.get_by_role("button", name="Join", exact=True).click()
    page.get_by_text(f"Deep learning · {name}").wait_for()


def lock(page):
    page.get_by_role("button", name="Lock my answer").click()
    page.get_by_text("It is locked").wait_for()


def step(teacher, title, students):
    """Take the class to a step; every student's page follows without a click."""
    teacher.get_by_role("button", name="Next step").click()
    for page in (teacher, *students):
        page.get_by_role("heading", name=title).wait_for()


def test_a_teacher_and_three_students_walk_through_a_lesson_and_run_one_experiment(people, server):
    teacher, students = people(DESK), [people(PHONE), people(PHONE), people(DESK)]
    code = opened_class(teacher)
    for page, name in zip(students, NAMES, strict=True):
        joined(page, code, name)
    step(teacher, "Half-way between them", students)
    for page in students:
        lock(page)
    students[0].reload()
    students[0].get_by_text("It is locked").wait_for()
    assert not students[0].get_by_text("The result:").is_visible()
    assert faults(students[0]) == [] and faults(teacher) == []
    students[0].wait_for_function(FITS)
    teacher.get_by_text("3 answered").wait_for()

    server.kill()
    server.start()
    teacher.get_by_role("button", name="Reveal").click()
    for page in (teacher, *students):
        page.get_by_text("The result:").wait_for()
    board = teacher.context.new_page()
    go(board, f"/lab?class={code}&view=board")
    board.get_by_text("79.8 %").first.wait_for()
    assert board.get_by_text("Ada").count() == 0
    board.close()

    choose(teacher, "Width and time")
    step(teacher, "And without re-ordering?", [])
    step(teacher, "The class measures", students)
    students[0].get_by_role("button", name="Start my part").click()
    students[0].get_by_role("button", name="Start my part").wait_for(state="hidden")
    server.kill_dispatcher()
    server.kill()
    server.start()
    students[0].get_by_text("Your part is done").wait_for()
    teacher.get_by_text("1 of 30 parts are done").wait_for()

    with teacher.expect_download() as got:
        teacher.get_by_role("button", name="Answers (CSV)").click()
    rows = list(csv.DictReader(got.value.path().read_text().splitlines()))
    assert sorted(row["nickname"] for row in rows) == sorted(NAMES)
    assert {row["truth"] for row in rows} == {"79.8 %"}


def test_one_person_learns_alone_on_a_phone_and_keeps_a_worksheet(people):
    page = people(PHONE)
    go(page, "/lab")
    page.get_by_role("button", name="Begin").nth(1).click()
    page.get_by_role("button", name="Next", exact=True).click()
    page.get_by_role("heading", name="Half-way between them").wait_for()
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_role("button", name="Lock my answer").click()
    page.get_by_text("The result: 79.8 %").wait_for()
    assert faults(page) == []
    page.wait_for_function(FITS)
    page.get_by_role("button", name="Next", exact=True).click()
    pad = page.get_by_role("img", name="Your curve: 50, 50, 50, 50, 50 %")
    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 12)  # half-way, at the top
    page.mouse.down()
    page.mouse.up()
    page.get_by_role("img", name="Your curve: 50, 50, 100, 50, 50 %").wait_for()
    page.get_by_role("slider").nth(0).press("ArrowRight")
    page.get_by_role("img", name="Your curve: 51, 50, 100, 50, 50 %").wait_for()
    assert faults(page) == []
    page.wait_for_function(FITS)
    page.get_by_role("button", name="Take home").click()
    with page.expect_download() as got:
        page.get_by_role("button", name="To print or keep (HTML)").click()
    text = got.value.path().read_text()
    assert "79.8 %" in text and "python -m merging merge" in text and text.count("____") > 10
