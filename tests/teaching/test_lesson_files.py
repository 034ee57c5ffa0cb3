"""Crafted lesson files: each is refused with its name and what to do, at once, and costs no other lesson."""

import os
import socket
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merging.errors import InvalidSetting, MergescopeError
from merging.jobs.ledger.ledger import Ledger
from merging.teaching.charts import answers_figure
from merging.teaching.lesson import FOLDER, broken_lessons, lessons, read_lesson
from merging.teaching.lesson_file import LARGEST, MOST_DOTS
from merging.teaching.question import from_text, in_words, read_question, to_text
from merging.teaching.shown import shown_figure
from merging.teaching.truths import truth_of

SHIPPED = len(list(FOLDER.glob("*.toml")))
GOOD = 'title = "T"\n[[steps]]\ntitle = "S"\ntext = "x"\n'
ASKS = GOOD + '[steps.question]\nprompt = "p"\nkind = "number"\n'
TASK = GOOD + 'task = {label = "x", page = "merge", '
FIGURE = GOOD + "shown = {figure = 'curve', run = 'mlps', "
HUGE = "1" + "0" * 400
TEXTS = {
    **{f"{name} is {value[:9]}": (ASKS + f"{name} = {value}", "must lie between")
       for name in ("low", "high", "step", "near") for value in (HUGE, "inf", "-inf", "nan", "0x" + "f" * 9_000)},
    **{f"{name} is {value}": (ASKS.replace(f'{name} = "p"', "") + f"{name} = {value}", words)
       for name, words in (("low", "a number"), ("near", "a number"), ("prompt", "a text"), ("unit", "a text"),
                           ("truth", "a table"))
       for value in ("[1]", "true", *(('"abc"', "[]") if words != "a text" else ("5", "{}")))},
    **{f"{name} is 5": (GOOD + f"{name} = 5", f"{name} must be a table") for name in ("shown", "question", "task")},
    **{f"task has {one}": (TASK + one + "}", said) for one, said in (
        ("embed = 'true'", "cannot set"), ("EMBED_options = 'x'", "cannot set"), ("a = [1]", "a text or a number"))},
    **{f"the key is {key!r}": (f"key = '{key}'\n" + GOOD, "cannot be set") for key in ("a/b", "", "<b>", "x" * 300)},
    "minutes of 9,000 digits": ("minutes = 0x" + "f" * 9_000 + "\n" + GOOD, "'minutes' must lie"),
    "a bound of a truth": (ASKS + f"truth = {{read = 'toy', change = 'swap', below = {HUGE}, then = 3}}", "must lie"),
    "a round of pictures": (FIGURE + "round = inf}", "must lie between"),
    "a figure that is a list": (GOOD + "shown = {figure = ['curve']}", "figure must be a text"),
    "a label that is a number": (GOOD + "task = {label = 5, page = 'merge'}", "label must be a text"),
    "pairs for a question": (GOOD + "question = [['kind', 'text'], ['prompt', 'x']]", "question must be a table"),
    "steps as a text": ('title = "T"\nsteps = "abc"', "steps must be a list"),
    "steps of numbers": ('title = "T"\nsteps = [1]', "a step must be a table"),
    "no prompt": (GOOD + "question = {kind = 'text'}", "'prompt' is missing"),
    "no title": (GOOD.partition("\n")[2], "'title' is missing"),
    "a step below what numbers tell apart": (ASKS + "step = 1e-300", "step is too small"),
    "a negative tolerance": (ASKS + "near = -1", "near must be at least 0"),
    "lists within lists": ("x = " + "[" * 90_000, "nested too deeply"),
    "tables within tables": ("x = " + "{a=" * 40_000, "nested too deeply"),
    "a dozen lists": (FIGURE + "paths = " + "[" * 12 + "]" * 12 + "}", "nested too deeply"),
    "tables by dots": (GOOD + "[steps.shown]\nfigure = 'toy'\na" + ".a" * 20 + " = 1", "nested too deeply"),
    "a dotted key": ("x" + ".a" * 40_000 + " = 1", "line 1 has more than"),
    "a dotted heading": (GOOD + "[x" + ".a" * 40_000 + "]", "line 5 has more than"),
    "quoted keys with dots": ('"x"' + '."a"' * 40_000 + " = 1", "line 1 has more than"),
    "many dotted keys": ("".join(f"{at}" + ".a" * MOST_DOTS + " = 1\n" for at in range(1_800)), "nested too deeply"),
    "a long word": ("x" * 5_000 + " = 1\n" + GOOD, "there is no"),
    "a text that is not UTF-8": (GOOD.replace("x", "\udcff"), "codec"),
    "too much": ("#" * (LARGEST + 1), "larger than"),
}  # fmt: skip


def socket_at(file):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(file))


def sparse_file(file):
    with file.open("wb") as opened:
        opened.truncate(2**40)


FILES = {
    "a pipe": (os.mkfifo, "not a file"),
    "a link to a device": (lambda file: file.symlink_to("/dev/zero"), "not a file"),
    "a socket": (socket_at, "cannot be used: No such device"),
    "a folder": (os.mkdir, "Is a directory"),
    "a link to itself": (lambda file: file.symlink_to(file), "symbolic links"),
    "a terabyte": (sparse_file, "larger than"),
}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder of a course, with one good lesson."""
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    monkeypatch.setenv("MERGESCOPE_LESSONS", ".")
    monkeypatch.setattr("merging.teaching.lesson._known", {})
    (tmp_path / "95-good.toml").write_text(GOOD)
    return tmp_path


def check_only_this_is_refused(name: str, said: str) -> None:
    """The file of this name is told, and all other lessons are there; the second look, which reads nothing, agrees."""
    before = time.process_time()
    for _ in range(2):
        assert len(lessons()) == SHIPPED + 1 and "good" in lessons()
        (fault,) = broken_lessons()
        assert f"lesson {name} cannot be used: " in fault and said in fault
        assert fault.endswith("Correct the file or remove it.") and fault.isprintable() and len(fault) < 1_000
    assert time.process_time() - before < 8


@pytest.mark.parametrize("text, said", TEXTS.values(), ids=TEXTS)
def test_a_crafted_text_is_refused_and_costs_no_other_lesson(text, said, course):
    (course / "90-mine.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    check_only_this_is_refused("90-mine.toml", said)


@pytest.mark.parametrize("make, said", FILES.values(), ids=FILES)
def test_what_is_no_file_is_refused_at_once_and_costs_no_other_lesson(make, said, course):
    make(course / "90-mine.toml" if make is not socket_at else "90-mine.toml")
    check_only_this_is_refused("90-mine.toml", said)


@pytest.mark.parametrize("name", [b"90-m\xff.toml", b"90-a\nb.toml", b"90-M.toml"])
def test_a_name_that_no_page_can_show_is_told_in_its_escaped_form(name, course):
    with open(os.fsencode(course) + b"/" + name, "w") as file:
        file.write(GOOD)
    told = os.fsdecode(name)
    check_only_this_is_refused(told if told.isprintable() else ascii(told), "small letters")


@pytest.mark.parametrize("folder", ["a" * 5_000, "no-such-folder", "95-good.toml", "\udcff"])
def test_a_folder_that_cannot_be_read_is_told_and_costs_no_other(folder, course, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_LESSONS", os.pathsep.join((folder, ".")))
    assert len(lessons()) == SHIPPED + 1
    (fault,) = broken_lessons()
    assert "folder of lessons" in fault and "Check its path." in fault and fault.isprintable() and len(fault) < 1_000


@pytest.mark.parametrize("moment", [0, -5, 2**33])
def test_a_file_of_any_time_is_read_and_read_again_when_it_changes_at_that_time(moment, course):
    file = course / "90-mine.toml"
    for title in ("One", "Another", "Third"):
        file.write_text(GOOD.replace('"T"', f'"{title}"'))
        os.utime(file, (moment, moment))
        assert lessons()["mine"].title == title


def to_toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {to_toml(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(to_toml, value))}]"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


words = st.sampled_from(("", "abc", "mlps", "widths", "measure", "toy", "swap", "curve", "number", "choice", "naive"))
numbers = st.integers(-3, 3) | st.sampled_from((0.5, 1e-9, 1e12, -1e12, 1e300, 10**400)) | st.floats()
fields = st.sampled_from(
    ("read", "run", "name", "change", "below", "then", "otherwise", "times", "round", "path", "metric", "paths")
)
anything = st.recursive(
    words | numbers | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=6,
)
asked = st.sampled_from(("kind", "prompt", "truth", "options", "low", "high", "step", "unit", "near"))
drawn = st.fixed_dictionaries(
    {"kind": st.sampled_from(("number", "curve", "choice", "text")), "prompt": words},
    optional={"truth": st.dictionaries(fields, anything, max_size=4)},
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return Ledger(tmp_path_factory.mktemp("ledger"))


@given(question=drawn, more=st.dictionaries(asked, anything, max_size=3), shown=st.dictionaries(fields, anything))
def test_whatever_a_file_says_it_is_refused_or_all_that_pages_do_with_it_ends_in_words(
    question, more, shown, ledger, tmp_path_factory
):
    file = tmp_path_factory.getbasetemp() / "90-drawn.toml"
    file.write_text(f"{GOOD}question = {to_toml(question | more)}\nshown = {to_toml({'figure': 'curve'} | shown)}\n")
    try:
        (step,) = read_lesson(file).steps
    except InvalidSetting:
        return
    asks = step.question
    for ask, what in ((shown_figure, step.shown), (truth_of, asks)):
        with suppress(MergescopeError):
            ask(ledger, what)
    if asks.kind == "number":
        assert in_words(asks, asks.low) and in_words(asks, asks.high)
    if asks.kind != "text":
        answers_figure(asks, []).checked()


ASKED = [read_question({"prompt": "?", **one}) for one in (
    {"kind": "number"}, {"kind": "curve"}, {"kind": "choice", "options": ["a", "b"]},
    {"kind": "order", "options": ["a", "b"]}, {"kind": "text"})]  # fmt: skip
ANSWERS = (5.0, (1.0,) * 5, "a", ("a", "b"), "ab")


@pytest.mark.parametrize("own, answer", [*zip(ASKED, ANSWERS, strict=True)], ids=[one.kind for one in ASKED])
def test_an_answer_from_before_the_question_changed_its_kind_is_none(own, answer):
    for question in ASKED:
        takes = question is own or (question.kind == "text" and isinstance(answer, str))
        assert from_text(question, to_text(answer)) == (answer if takes else None)
    assert from_text(own, "[" * 100_000) is None
