"""A grid of merges: which it makes, what it leaves out, and the rows, means and spreads of what came back."""

import csv
import io
import math
from dataclasses import replace

import pytest

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.comparison import (
    COLUMNS,
    MOST_RUNS,
    Grid,
    by_kind,
    differing,
    row_of,
    summaries,
    to_csv,
    to_values,
)
from merging.zoo import catalogue
from tests.figures.made import report
from tests.jobs.making import merge_request, mlps

CNNS = tuple(ModelRef.of(catalogue.find_entry(f"fashion-cnn{end}")) for end in ("-s0", "-s1", "-shared-a"))


def test_every_triple_on_every_pair_with_every_seed() -> None:
    grid = Grid(CNNS, ("none", "weight-matching"), ("average",), ("none", "repair"), (0, 1))
    found = grid.requests()
    assert len({request.id for request in found}) == len(found) == 3 * 2 * 2 * 2
    assert {tuple(model.sha256 for model in request.models) for request in found} == {
        (a.sha256, b.sha256) for a, b in ((CNNS[0], CNNS[1]), (CNNS[0], CNNS[2]), (CNNS[1], CNNS[2]))
    }


def test_networks_of_several_kinds_are_compared_each_kind_for_itself() -> None:
    grid = Grid((*CNNS[:2], *mlps()), ("none", "weight-matching"))
    found = grid.requests()
    pairs = [CNNS[:2]] * 2 + [mlps()] * 2
    assert [request.models for request in found] == pairs
    rows = by_kind(row_of(request, "done", None) for request in found)
    assert list(rows) == [CNNS[0].label, mlps()[0].label] and [len(mine) for mine in rows.values()] == [2, 2]


def test_networks_that_are_in_no_merge_are_named() -> None:
    alone = [ModelRef.of(catalogue.find_entry(name)) for name in ("fashion-resnet-s0", "cifar-cnn-s0", "cifar-cnn-s1")]
    facts = {"dataset": "fashion-mnist", "data_sha256": "0" * 64}
    grid = Grid((*mlps(), *alone), ("none",), **facts)
    assert [request.models for request in grid.requests()] == [mlps()]
    assert grid.left_alone() == [model.name for model in alone]
    assert Grid(mlps(), ("none",)).left_alone() == []


def test_networks_whose_outputs_or_images_mean_something_else_are_no_pair() -> None:
    classes = replace(CNNS[1], classes=CNNS[1].classes[::-1], sha256="1" * 64)
    dark = replace(CNNS[1], mean=(0.5,), sha256="2" * 64)
    few = replace(CNNS[1], config={**CNNS[1].config, "classes": 5}, sha256="3" * 64)
    grid = Grid((*CNNS[:2], classes, dark, few), ("none",))
    assert [request.models for request in grid.requests()] == [CNNS[:2]]
    assert len(grid.left_alone()) == 3
    with pytest.raises(InvalidRequest, match="classes differently"):  # also of the only two
        Grid((CNNS[0], classes), ("none",)).requests()


def test_two_networks_of_unequal_widths_are_one_pair() -> None:
    wide = ModelRef.of(catalogue.find_entry("fashion-mlp-512-s0"))
    grid = Grid((mlps()[0], wide), ("none", "optimal-transport"))
    (found,) = grid.requests()
    assert (found.align, row_of(found, "done", None)["kind"]) == (
        "optimal-transport",
        f"{mlps()[0].label} + {wide.label}",
    )


def test_growing_merges_the_first_two_then_three() -> None:
    found = Grid(CNNS, ("none",), mode="growing").requests()
    assert [request.models for request in found] == [CNNS[:2], CNNS]


def test_methods_of_experts_need_their_base_and_are_left_out_without() -> None:
    without = Grid(CNNS[:2], ("none",), ("average", "ties"))
    assert [request.combine for request in without.requests()] == ["average"]
    assert without.left_out() == ["TIES"]
    based = Grid(CNNS[:2], ("none",), ("average", "ties"), base=CNNS[2])
    assert [(request.combine, request.base) for request in based.requests()] == [("average", None), ("ties", CNNS[2])]
    assert based.left_out() == []


def test_nothing_and_too_much_are_refused_in_words() -> None:
    with pytest.raises(InvalidRequest, match="None of these methods fits"):
        Grid(CNNS[:1], ("none",)).requests()
    with pytest.raises(InvalidRequest, match="No two of these networks are of the same kind"):
        Grid((CNNS[0], mlps()[0], ModelRef.of(catalogue.find_entry("fashion-resnet-s0"))), ("none",)).requests()
    with pytest.raises(InvalidRequest, match=f"the limit is {MOST_RUNS}"):
        Grid(CNNS, ("none",), seeds=tuple(range(100))).requests()
    with pytest.raises(InvalidSetting, match="no align method 'nonsense'"):
        Grid(CNNS, ("nonsense",)).requests()


def test_a_row_tells_what_the_report_measured() -> None:
    asked = merge_request()
    empty = row_of(asked, "waiting", None)
    assert list(empty) == [key for key in COLUMNS if key in empty] == list(COLUMNS)
    assert math.isnan(empty["test_accuracy"])
    made = report({"models": [{}, {}, {}]})
    full = row_of(asked, "done", made)
    assert (full["test_accuracy"], full["naive_accuracy"], full["ensemble_accuracy"]) == (0.86, 0.12, 0.903)
    assert full["parents_accuracy"] == pytest.approx(0.885)
    assert full["seconds"] == pytest.approx(2.4)
    assert math.isnan(full["barrier_mean"])
    curved = row_of(asked, "done", report({"models": [{}, {}]}))
    assert 0 < curved["barrier_chord"] <= curved["barrier_mean"] + 0.01
    assert curved["test_images"] == report({"models": [{}, {}]}).curves["aligned"]["test"].images > 0
    assert math.isnan(full["test_images"])  # an older result, which names no number


def rows() -> list[dict]:
    base = row_of(merge_request(), "done", None)
    values = [("none", 0, 0.5), ("none", 1, 0.6), ("weight-matching", 0, 0.9), ("weight-matching", 1, math.nan)]
    return [base | {"align": align, "seed": seed, "test_accuracy": value} for align, seed, value in values]


def test_means_and_spreads_are_over_seeds_and_leave_out_what_is_not_measured() -> None:
    first, second = summaries(rows(), "test_accuracy")
    assert (first.triple, first.runs, first.mean) == (("none", "average", "none"), 2, pytest.approx(0.55))
    assert first.spread == pytest.approx(0.1 / math.sqrt(2))
    assert (second.runs, second.mean, second.spread) == (1, 0.9, 0.0)


def test_only_columns_that_differ_are_named() -> None:
    assert differing(rows(), COLUMNS) == ["align", "seed", "test_accuracy"]


def test_csv_and_json_hold_the_same_and_leave_out_nothing_but_nan() -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(rows()))))
    assert [row["align"] for row in read] == ["none", "none", "weight-matching", "weight-matching"]
    assert [row["test_accuracy"] for row in read] == ["0.5", "0.6", "0.9", ""]
    assert [row["test_accuracy"] for row in to_values(rows())] == [0.5, 0.6, 0.9, None]
    assert to_values([rows()[0] | {"test_loss": math.inf}])[0]["test_loss"] is None  # JSON has no infinity
    assert mlps()[0].name in read[0]["networks"]
