"""Figures of studies: what they draw is what was found, and they say it in words."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from merging.figures.many.comparison import ALIGN_COLORS
from merging.figures.paper import figure_file
from merging.figures.series import figure_csv
from merging.figures.similarity import heatmap
from merging.figures.studies.evidence import evidence_figure, fates_figure, match_figure, spread_figure
from merging.figures.studies.inside import SHOWN, inside_figure, loss_figure
from merging.figures.studies.lab import lab_figure
from merging.figures.studies.landscape import landscape_figure
from merging.figures.studies.learned_curves import curves_figure, units_in_order
from merging.figures.studies.reliability import interval_figure
from merging.figures.studies.why import (
    aligners_figure,
    calibration_figure,
    match_quality_figure,
    shares_figure,
    spectra_figure,
    variance_figure,
)
from merging.figures.units import change_figure, cross_figure, sheet_figure, tuning_figure
from merging.studies.units import WORDS
from tests.figures import made
from tests.figures.made import alt_text, validated
from tests.studies.test_inside import run
from tests.studies.test_table import QUICK


@cache  # and only when a test asks: every process of a parallel run imports this file
def found(key: str, kind: str = "cnn"):
    from tests.studies.subjects import merged

    return run(key, merged(kind), **QUICK[key])


def learned_curves():
    from tests.studies.subjects import learned

    return run("nonlinearities", learned(), **QUICK["nonlinearities"])


DRAWN = {
    "variance": lambda: variance_figure(found("why"), corrected=True),
    "shares": lambda: shares_figure(found("why")),
    "spectra": lambda: spectra_figure(found("why")),
    "matches": lambda: match_quality_figure([made.units(layer, seed) for seed, layer in enumerate(made.LAYERS)]),
    "calibration": lambda: calibration_figure(found("why")),
    "aligners": lambda: aligners_figure(found("aligners", "mlp"), ALIGN_COLORS),
    "inside": lambda: inside_figure(found("along"), "naive", "to_a"),
    "loss": lambda: loss_figure(found("along")),
    "landscape": lambda: landscape_figure(found("landscape"), "accuracy"),
    "landscape of the loss": lambda: landscape_figure(found("landscape"), "loss"),
    "lab": lambda: lab_figure(found("lab"), "unit"),
    "curves": lambda: curves_figure(learned_curves(), "layers.1", [0, 3, 5, 7, 9]),
    "interval": lambda: interval_figure(found("reliability")),
    "cross": lambda: cross_figure(found("units").cross[:, :, 0], "abcde", 0),
    "tuning": lambda: tuning_figure(found("layer").tuning[:, :, 0], ["A", "π(B)", "merge", "naive", "x"], "vwxyz", 0),
    "change": lambda: change_figure(found("film"), 0, "cold"),
    "evidence": lambda: evidence_figure(found("evidence"), "cross"),
    "match": lambda: match_figure(found("evidence"), "overlap"),
    "spread": lambda: spread_figure(found("evidence"), "pixels"),
    "fates": lambda: fates_figure(found("evidence")),
    "sheet": lambda: sheet_figure("data:", [4, 7, 9], ["a", "b", "c"], 2, "three units"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_says_what_it_shows_and_stays_small(name):
    figure = validated(DRAWN[name]())
    assert len(alt_text(figure)) > 10
    assert "nan" not in alt_text(figure)
    titles = [axis.title.text for axis in (figure.layout.xaxis, figure.layout.yaxis)]
    assert name == "sheet" or any(titles)
    points = sum(
        np.size(trace.z) if trace.type in ("heatmap", "contour") else np.size(trace.x) for trace in figure.data
    )
    assert 0 < points < 10_000


@pytest.mark.parametrize("name", ["sheet", "landscape"])
def test_a_chart_of_one_scale_fits_again_after_it_was_too_low(name):
    layout = validated(DRAWN[name]()).layout
    assert layout.yaxis.scaleanchor == "x"
    assert {layout.xaxis.constrain, layout.yaxis.constrain} == {"domain"}  # a widened range would stay


def test_bars_are_the_shares():
    bars = validated(shares_figure(found("why"))).data[0]
    np.testing.assert_array_equal(bars.y, found("why").share)
    np.testing.assert_array_equal(bars.error_y.array, 2 * found("why").error)


def test_boxes_are_the_quartiles_of_what_is_known():
    seen = found("evidence")
    boxes = {box.meta: box for box in validated(spread_figure(seen, "overlap")).data}
    assert set(boxes) == {"merge", "naive", "parents"}  # no picture enters, so there is no second one
    quartiles = [boxes["merge"].q1[0], boxes["merge"].median[0], boxes["merge"].q3[0]]
    np.testing.assert_allclose(quartiles, np.nanquantile(seen.values["overlap"]["merge"], [0.25, 0.5, 0.75]))


def test_fates_are_parts_of_one_whole_for_merge_and_naive_average():
    seen = found("evidence")
    bars = validated(fates_figure(seen)).data
    assert [bar.name for bar in bars] == list(WORDS)
    np.testing.assert_allclose(np.sum([bar.x for bar in bars], 0), 100)
    assert [bars[0].x[0], bars[0].x[1]] == [100 * seen.shares(row)["kept"] for row in ("merge", "naive")]


def test_match_quality_is_the_median_and_middle_half_of_living_units():
    measured = made.units("layers.0")
    line = validated(match_quality_figure([measured, made.unmeasured("layers.2")])).data[0]
    low, middle, high = np.nanquantile(measured.match, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(
        [line.y[0], line.error_y.array[0], line.error_y.arrayminus[0]], [middle, high - middle, middle - low]
    )
    assert len(line.y) == 1
    assert len(validated(match_quality_figure([])).data[0].y) == 0


def test_curves_are_the_units_functions_in_the_colours_of_the_networks():
    seen = learned_curves()
    units = units_in_order(seen, "layers.1", "apart", 3)
    distance = seen.distance("layers.1")
    assert list(distance[list(units)]) == sorted(distance, reverse=True)[:3]
    assert units_in_order(seen, "layers.1", "alike", 10)[::-1][:3] == units
    assert units_in_order(seen, "layers.1", "first", 2) == (0, 1)
    lines = validated(curves_figure(seen, "layers.1", units)).data
    assert [line.meta for line in lines] == ["A", "pi(B)", "merge"] * 3
    np.testing.assert_array_equal(lines[4].y, seen.curves["layers.1"][1, units[1]])
    assert [line.line.dash for line in lines[:3]] == ["solid", "dash", "solid"]
    assert sum(line.showlegend for line in lines) == 3


def test_a_high_loss_ends_the_colours_and_keeps_its_number():
    seen = found("landscape")
    steep = dataclasses.replace(seen, loss=np.where(np.arange(seen.loss.size).reshape(seen.loss.shape) == 3, 57.0, 1.0))
    figure = validated(landscape_figure(steep, "loss"))
    assert np.max(figure.data[0].z) == 57 and figure.data[0].zmax == 4
    assert figure.data[0].colorbar.title.text == "Loss (nats), colours up to 4"
    assert "57.0" in figure_csv(landscape_figure(steep, "loss"))
    assert figure_file(landscape_figure(steep, "loss"), "svg")


def test_the_planes_marks_are_the_networks():
    seen = found("landscape")
    figure = validated(landscape_figure(seen, "accuracy"))
    marks = {trace.meta: (trace.x[0], trace.y[0]) for trace in figure.data if trace.meta in seen.points}
    assert marks == {name: point[:2] for name, point in seen.points.items()}
    assert figure.layout.yaxis.scaleanchor == "x"


def test_doubtful_cells_carry_a_sign_and_their_reason():
    seen = found("similarity")
    doubts = [["" for _ in row] for row in seen.distrust]
    doubts[0][1] = "few images decide"
    figure = validated(heatmap(seen.maps["cka"], "A and B", doubts=doubts))
    assert "⚠" in figure.data[1].text[1] and "⚠" not in figure.data[1].text[len(doubts)]
    assert "few images decide" in figure.data[1].customdata[1][3]
    assert "1 cells are marked as unreliable" in alt_text(figure)


@pytest.mark.parametrize("what", SHOWN)
def test_every_quantity_along_the_path_can_be_drawn(what):
    seen = found("along")
    for line in ("naive", "aligned"):
        np.testing.assert_array_equal(validated(inside_figure(seen, line, what)).data[0].z, getattr(seen, what)[line].T)


def test_clicking_a_tile_tells_its_unit():
    figure = validated(DRAWN["sheet"]())
    assert list(figure.data[0].customdata) == [4, 7, 9]
    assert list(zip(figure.data[0].x, figure.data[0].y, strict=True)) == [(0.5, 0.5), (1.5, 0.5), (0.5, 1.5)]
