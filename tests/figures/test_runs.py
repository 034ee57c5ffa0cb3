"""Figures of several runs in one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from merging.figures.many.runs import MOST_RUNS, curves_over_each_other, matches_by_layer
from tests.figures.made import alt_text, report, validated


def other_naive(known):
    curve = known.curves["naive"]["test"]
    naive = {"test": replace(curve, loss=curve.loss + 1, accuracy=curve.accuracy - 0.1)}
    return replace(known, curves={**known.curves, "naive": naive})


@pytest.mark.parametrize("metric", ["loss", "accuracy", "ece"])
def test_a_naive_average_that_all_share_is_drawn_once(metric):
    plain, corrected = report({}), report({}, corrected=True)
    fig = validated(curves_over_each_other(["one", "two"], [plain, corrected], metric))
    assert [trace.name for trace in fig.data] == ["one", "two", "naive average"]
    scale = 1 if metric == "loss" else 100
    assert np.allclose(fig.data[1].y, scale * getattr(corrected.curves["corrected"]["test"], metric))
    assert "one: " in alt_text(fig) and "two: " in alt_text(fig)


def test_different_naive_averages_belong_to_their_runs():
    fig = validated(curves_over_each_other(["one", "two"], [report({}), other_naive(report({}))]))
    assert [trace.name for trace in fig.data] == ["one", "one, naive average", "two", "two, naive average"]


def test_runs_without_curves_are_left_out_and_six_have_a_style_each():
    known = [report({}, images=False), *(report({}) for _ in range(MOST_RUNS - 1))]
    fig = validated(curves_over_each_other([f"run {n}" for n in range(MOST_RUNS)], known))
    assert "run 0" not in {trace.name for trace in fig.data}
    assert len({trace.line.color for trace in fig.data}) == MOST_RUNS


def test_matches_are_the_medians_of_units_that_are_not_dead():
    known = report({})
    fig = validated(matches_by_layer(["one", "two"], [known, known]))
    assert np.allclose(fig.data[0].y, [np.nanmedian(facts.match) for facts in known.units])
