from dataclasses import replace

import numpy as np
import pytest

from merging.figures.curve import base_at, curve_figure, describe_curves
from merging.figures.palette import STYLES, page
from tests.figures.made import alt_text, report, validated

REPORT = report({}, corrected=True)


def trace(fig, name):
    return next(trace for trace in fig.data if trace.meta == name)


@pytest.mark.parametrize("metric", ["loss", "accuracy", "ece"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_curve_keeps_its_colour_dash_and_marker(metric, split):
    fig = validated(curve_figure(REPORT, metric, split))
    for kind in ("naive", "aligned", "corrected"):
        drawn, style = trace(fig, kind), STYLES[kind]
        assert (drawn.line.color, drawn.line.dash, drawn.marker.symbol) == (style.color, style.dash, style.symbol)
        np.testing.assert_allclose(
            drawn.y, getattr(REPORT.curves[kind][split], metric) * (1 if metric == "loss" else 100)
        )


def test_the_styles_differ_for_eyes_that_see_no_colour():
    kinds = ("naive", "aligned", "corrected", "ensemble")
    assert len({(STYLES[kind].dash, STYLES[kind].symbol) for kind in kinds}) == len(kinds)


def test_raw_ends_are_dots_and_the_ensemble_is_a_line():
    fig = validated(curve_figure(REPORT, "accuracy"))
    ends = REPORT.curves["naive"]["test"].ends
    assert [(trace(fig, name).x[0], trace(fig, name).y[0]) for name in "AB"] == [
        (0, pytest.approx(100 * ends[0].accuracy)),
        (1, pytest.approx(100 * ends[1].accuracy)),
    ]
    assert list(trace(fig, "ensemble").y) == [pytest.approx(90.3)] * 2


@pytest.mark.parametrize("above", ["mean", "chord"])
@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_the_bracket_stands_at_the_peak_and_is_as_high_as_the_barrier(metric, above):
    curve = REPORT.curves["naive"]["test"]
    barrier, scale = curve.barrier(metric, above=above), 1 if metric == "loss" else 100
    bracket = trace(validated(curve_figure(REPORT, metric, above=above)), "bracket naive")
    low, high = bracket.y[3], bracket.y[4]
    assert bracket.x[3] == barrier.at
    assert abs(high - low) == pytest.approx(scale * barrier.height)
    assert low == pytest.approx(scale * base_at(curve, metric, above, barrier.at))
    peak = getattr(curve, metric)[list(curve.lambdas).index(barrier.at)]
    assert high == pytest.approx(scale * peak)


def test_axes_have_titles_with_units():
    assert "nats" in validated(curve_figure(REPORT, "loss")).layout.yaxis.title.text
    assert "%" in validated(curve_figure(REPORT, "ece")).layout.yaxis.title.text
    assert "0 = A, 1 = B" in validated(curve_figure(REPORT)).layout.xaxis.title.text


def test_the_figure_is_described_in_words():
    words = alt_text(validated(curve_figure(REPORT, "accuracy")))
    assert "naive average: 39.4 % half-way, barrier 50.0 pp at λ 0.50" in words
    assert "ensemble: 90.3 %" in words


def test_without_images_the_words_say_why():
    assert describe_curves(report({}, images=False), "loss", "test") == (
        "No curves: The images of Fashion-MNIST are not on this machine."
    )


def test_a_downloaded_page_needs_no_network_and_shows_titles_as_text():
    text = page([(curve_figure(REPORT), "A <b>title</b>"), (curve_figure(REPORT, "ece"), "Another")])
    assert "A &lt;b&gt;title&lt;/b&gt;" in text
    assert "<script src=" not in text
    assert text.count("plotly-graph-div") >= 2


@pytest.mark.parametrize(
    ("align", "combine", "plain"), [("none", "average", False), ("cca", "ties", False), ("cca", "average", True)]
)
def test_only_what_was_aligned_and_nothing_else_is_called_aligned(align, combine, plain):
    made = report({"align": align, "combine": combine}, corrected=True)
    drawn = [trace(validated(curve_figure(made)), kind).name for kind in ("naive", "aligned", "corrected")]
    names = ["aligned average", "merge (corrected)"] if plain else ["merge", "merge (corrected)"]
    assert drawn == ["naive average", *names]
    assert ("; aligned average:" in describe_curves(made, "loss", "test")) == plain


@pytest.mark.parametrize("kinds", [("aligned", "corrected"), ("corrected", "aligned")])
def test_of_two_barriers_the_first_ones_label_is_to_its_left_and_the_other_to_its_right(kinds):
    naive = REPORT.curves["naive"]["test"]
    curves = {"naive": {"test": naive}}
    for kind, place in zip(kinds, (0.4, 0.6), strict=True):
        nearest = np.abs(naive.lambdas - place).argmin()
        accuracy = np.where(np.arange(len(naive.lambdas)) == nearest, 0.5, 0.9)
        curves[kind] = {"test": replace(naive, accuracy=accuracy)}
    fig = validated(curve_figure(replace(REPORT, curves=curves), "accuracy"))
    sides = {a.font.color: a.xanchor for a in fig.layout.annotations}
    assert [sides[STYLES[kind].color] for kind in kinds] == ["right", "left"]


def test_labels_of_barriers_at_one_place_do_not_cover_each_other():
    """As for a residual net: the naive average and the corrected merge both peak half-way, one twice as high."""
    naive = REPORT.curves["naive"]["test"]
    hump = 4 * naive.lambdas * (1 - naive.lambdas)
    rises = {"naive": 2.25, "aligned": 2.43, "corrected": 1.04}
    curves = {kind: {"test": replace(naive, loss=0.2 + rise * hump)} for kind, rise in rises.items()}
    labels = validated(curve_figure(replace(REPORT, curves=curves), "loss")).layout.annotations
    same_side = [a for a in labels if a.xanchor == "left" and a.text.startswith("barrier")]
    heights = [a.y * 300 / 2.43 + a.yshift for a in same_side]
    assert len(heights) == 2 and abs(heights[0] - heights[1]) >= 18


def test_a_path_without_a_barrier_takes_no_labels_place():
    naive = REPORT.curves["naive"]["test"]
    hump = 4 * naive.lambdas * (1 - naive.lambdas)
    ends = tuple(replace(end, loss=0.2) for end in naive.ends)
    paths = {"naive": 2.0, "aligned": 1.2, "corrected": -0.1}
    curves = {kind: {"test": replace(naive, ends=ends, loss=0.2 + by * hump)} for kind, by in paths.items()}
    fig = validated(curve_figure(replace(REPORT, curves=curves), "loss"))
    sides = [(a.font.color, a.xanchor) for a in fig.layout.annotations if a.text.startswith("barrier")]
    assert sorted(sides) == sorted([(STYLES["naive"].color, "left"), (STYLES["aligned"].color, "right")])
