"""What pages keep: made once, of the very same results, and never more than so many."""

import gc
import weakref
from dataclasses import dataclass

import pytest

from benchmarks.sessions import addresses
from merging.figures.figure import Figure
from merging.jobs.examples import LOOKED_INTO, merges
from ui.shell import kept as keeping
from ui.shell.kept import kept

PRESET = "cnns"


@dataclass(frozen=True, eq=False)
class Result:
    value: int


def doubled(result, times=2, *more):
    return [result.value * times, *more]


def test_the_same_result_and_values_give_the_very_same_object():
    result = Result(3)
    assert kept(doubled, result) == [6]
    assert kept(doubled, result) is kept(doubled, result)
    assert kept(doubled, result, 5) == [15]
    assert kept(doubled, result, 5, ("a", 1)) is kept(doubled, result, 5, ("a", 1))


def test_another_result_is_never_taken_for_a_known_one():
    one = Result(1)
    seen = {id(one): kept(doubled, one)}
    for value in range(2, 2000):  # each may stand where a former one stood in memory
        one = Result(value)
        assert kept(doubled, one) == [2 * value]
        seen[id(one)] = value
    assert len(seen) < 1000  # places were used again, or this test shows nothing


def test_a_result_that_nobody_looks_at_is_not_kept_alive():
    result = Result(4)
    kept(doubled, result)
    there = weakref.ref(result)
    del result
    gc.collect()
    assert there() is None


def test_no_more_than_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(keeping, "LARGEST", 5)
    result = Result(1)
    first = kept(doubled, result, 0)
    for times in range(1, 6):
        kept(doubled, result, times)
    assert kept(doubled, result, 5) is kept(doubled, result, 5)
    assert kept(doubled, result, 0) is not first


def test_what_would_be_made_anew_each_time_is_refused():
    with pytest.raises(TypeError):
        kept(doubled, Result(1), 2, [3])


@pytest.mark.parametrize("name", addresses("", LOOKED_INTO[PRESET]))
def test_a_page_of_a_finished_run_is_drawn_again_without_making_a_figure(name, open_page, monkeypatch):
    page, params = addresses(merges()[PRESET].id[:12], LOOKED_INTO[PRESET])[name]
    app = open_page(page, **params)
    charts = len(app.get("plotly_chart"))
    made = []
    monkeypatch.setattr(Figure, "spec", lambda figure: made.append(figure))
    before = Figure.__init__
    monkeypatch.setattr(Figure, "__init__", lambda figure, *a, **k: (made.append(figure), before(figure, *a, **k))[1])
    app.run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == charts
    assert not made
