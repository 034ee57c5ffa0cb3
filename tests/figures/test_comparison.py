from dataclasses import replace

import pytest

from merging.figures.many.comparison import ALIGN_COLORS, Point, bars, growth, mean_of
from merging.methods.registry import table
from tests.figures.made import alt_text, validated

POINTS = [
    Point("None (naive)", "none", "average none", 2, 0.41, 0.41, 0.41),
    Point("Weight matching", "weight-matching", "average none", 2, 0.88, 0.86, 0.892),
]


def test_every_alignment_has_a_colour_of_its_own():
    assert set(table("align")) <= set(ALIGN_COLORS)
    assert len(set(ALIGN_COLORS.values())) == len(ALIGN_COLORS)


def test_bars_are_the_means_best_first_with_their_whiskers_and_the_references_as_lines():
    fig = validated(bars(POINTS, {"parents_accuracy": 0.89, "naive_accuracy": 0.41}))
    bar, *references = fig.data
    assert [line.name for line in references] == ["mean of the networks 89.0 %", "naive average 41.0 %"]
    assert list(bar.y) == ["Weight matching", "None (naive)"]
    assert list(bar.x) == pytest.approx([88, 41])
    assert list(bar.error_x.array) == pytest.approx([1.2, 0])
    assert list(bar.error_x.arrayminus) == pytest.approx([2, 0])
    assert [shape.x0 for shape in fig.layout.shapes] == pytest.approx([89, 41])
    assert "Weight matching (2 networks) 88.0 % (86.0 % to 89.2 %)" in alt_text(fig)
    assert "mean of the networks 89.0 %" in alt_text(fig)


def test_without_whiskers_none_is_drawn():
    alone = [replace(point, low=point.mean, high=point.mean) for point in POINTS]
    assert not validated(bars(alone, {})).data[0].error_x.visible


def test_growth_draws_a_line_a_method_over_the_number_of_networks():
    means = {count: 0.9 - 0.01 * count for count in (4, 3)}
    more = [replace(POINTS[1], count=count, mean=mean, low=mean, high=mean) for count, mean in means.items()]
    fig = validated(growth([*POINTS, *more]))
    line = next(trace for trace in fig.data if trace.name == "Weight matching")
    assert list(line.x) == [2, 3, 4]
    assert list(line.y) == pytest.approx([88, 87, 86])


def test_nothing_done_is_said():
    assert alt_text(validated(bars([], {}))) == "No merge in this comparison has finished yet."


def test_the_mean_leaves_out_what_is_not_known():
    nan = float("nan")
    assert mean_of([1.0, nan, 3.0]) == 2
    assert mean_of([nan]) != mean_of([nan])
