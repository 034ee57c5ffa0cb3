"""Questions: only possible answers are taken, and what was stored is read back as it was."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merging.errors import InvalidRequest
from merging.teaching.charts import answers_figure, answers_table
from merging.teaching.question import LAMBDAS, LONGEST, Question, from_text, in_words, to_text
from ui.teaching.question_view import distance_of

OPTIONS = ("falls", "rises", "neither")
NUMBER = Question("number", "How much?", low=0, high=100, unit="%", near=5)
CHOICE = Question("choice", "Which?", options=OPTIONS)
ORDER = Question("order", "In which order?", options=OPTIONS)
CURVE = Question("curve", "How?", low=0, high=100, unit="%")
TEXT = Question("text", "Why?")
numbers = st.floats(0, 100)
ALL = (NUMBER, CHOICE, ORDER, CURVE, TEXT)
ANSWERS = {
    "number": numbers,
    "choice": st.sampled_from(OPTIONS),
    "order": st.permutations(OPTIONS).map(tuple),
    "curve": st.tuples(*[numbers] * len(LAMBDAS)),
    "text": st.text(min_size=1, max_size=LONGEST).filter(lambda text: text.strip()),
}
QUESTIONS = pytest.mark.parametrize("question", ALL, ids=lambda question: question.kind)


@QUESTIONS
@given(data=st.data())
def test_an_answer_is_read_back_as_it_was_stored(question, data):
    answer = question.checked(data.draw(ANSWERS[question.kind]))
    assert from_text(question, to_text(answer)) == answer
    assert in_words(question, answer)


@QUESTIONS
@given(data=st.data())
def test_the_truth_itself_is_right_and_no_distance_away(question, data):
    answer = question.checked(data.draw(ANSWERS[question.kind]))
    assert question.is_right(answer, answer) in (True, None)
    assert question.off(answer, answer) == 0 or math.isnan(question.off(answer, answer))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@QUESTIONS
@given(value=json_values)
def test_anything_else_is_refused_and_never_stored_as_an_answer(question, value):
    try:
        answer = question.checked(value)
    except InvalidRequest:
        return
    assert question.checked(answer) == answer
    assert not isinstance(value, bool)


@pytest.mark.parametrize("off, right", [(0, True), (5, True), (5.01, False), (-5, True), (-6, False)])
def test_a_number_is_right_within_its_tolerance(off, right):
    assert NUMBER.is_right(50.0 + off, 50.0) is right


def test_numbers_are_written_with_the_decimal_sign_of_the_class():
    assert in_words(NUMBER, 12.5) == "12.5 %"
    assert in_words(NUMBER, 12.5, comma=True) == "12,5 %"
    assert in_words(CURVE, (1.5,) * 5, comma=True) == "1,5; 1,5; 1,5; 1,5; 1,5 %"


@pytest.mark.parametrize(("off", "words"), [(0.0362, "0.036"), (0.0301, "0.03"), (0.004, "0.004")])
def test_a_distance_is_written_as_finely_as_the_answers(off, words):
    fine = replace(NUMBER, low=0.0, high=1.0, step=0.01, unit="", near=0.03)
    assert in_words(distance_of(fine), off) == words
    assert in_words(distance_of(NUMBER), 4.6) == "4.6 points"


def test_a_stored_answer_whose_question_changed_is_no_answer():
    assert from_text(CHOICE, to_text("explodes")) is None
    assert from_text(CHOICE, "{") is None


@pytest.mark.parametrize("question", ALL[:-1], ids=lambda one: one.kind)
@pytest.mark.parametrize("count", [0, 1, 30])
def test_the_chart_counts_every_answer_and_says_the_same_in_words(question, count):
    some = {"number": 40.0, "choice": "falls", "order": OPTIONS, "curve": (10.0, 20.0, 30.0, 20.0, 10.0)}[question.kind]
    figure = answers_figure(question, [some] * count, some, some)
    figure.checked()
    assert f"{count} answer" in figure.alt and "the truth:" in figure.alt
    table = answers_table(question, [some] * count)
    if question.kind != "curve":
        assert sum(row["Answers"] for row in table) == count


def test_an_enlarged_chart_shows_the_same_with_larger_texts():
    figure = answers_figure(CHOICE, ["falls", "rises"], "falls")
    large = figure.enlarged(2)
    large.checked()
    assert large.traces == figure.traces and large.alt == figure.alt
    assert large.layout["xaxis"]["tickfont"] == {"size": 24} and "tickfont" not in figure.layout["xaxis"]
