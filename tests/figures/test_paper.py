"""Figures for papers: the same numbers as on the screen, in vector graphics with embedded fonts."""

from __future__ import annotations

import csv
import io
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas

from merging.errors import InvalidSetting
from merging.figures import paper
from merging.figures.curve import curve_figure
from merging.figures.figure import Figure
from merging.figures.many import comparison
from merging.figures.many.runs import matches_by_layer
from merging.figures.many.sweep import sweep_figure
from merging.figures.palette import figure
from merging.figures.series import figure_csv, figure_table, series
from merging.figures.similarity import heatmap, layer_axis
from merging.jobs.sweeps.plan import cells_of
from merging.results.intervals import wilson
from merging.results.sweep_report import SweepRow
from merging.text.tables import similarity_csv
from tests.figures.made import report, similarity
from tests.pages.test_sweeps import request


def drawn(fig: Figure) -> Canvas:
    """The figure as matplotlib draws it."""
    canvas = Canvas()
    spec = fig.spec()
    paper._draw(canvas, spec["data"], spec["layout"])
    return canvas


@pytest.mark.parametrize("metric", ["loss", "accuracy", "ece"])
def test_the_lines_are_those_of_the_screen(metric):
    fig = curve_figure(report({}, corrected=True), metric)
    lines = {line.get_label(): line for line in drawn(fig).axes[0].lines}
    for one in series(fig):
        if one["name"] in lines:
            line = lines.pop(one["name"])
            np.testing.assert_array_equal(line.get_xdata(), np.array(one["x"], float))
            np.testing.assert_array_equal(line.get_ydata(), np.array(one["y"], float))
    assert all(label.startswith("_") for label in lines)  # matplotlib's names of lines without a legend entry


def test_the_cells_of_a_map_and_its_order_are_those_of_the_screen():
    map = similarity("A", "B")
    axes = drawn(heatmap(map, "A and B")).axes[0]
    mesh = axes.collections[0]
    np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), map.values)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the input is on top
    assert [label.get_text() for label in axes.get_yticklabels()] == list(map.row_layers)
    assert mesh.get_clim() == (0, 1)


def test_a_map_of_a_sweep_names_its_values_and_its_words_stand_out():
    sweep = request(axes=(("width", (4, 8)), ("lr", (0.01, 0.1))))
    heights = {(4, 0.01): 0.1, (4, 0.1): 0.2, (8, 0.01): 0.3, (8, 0.1): 0.9}
    rows = [
        SweepRow(cell.values, cell.triple, cell.group, cell.seed, "done", "0", {"barrier_mean": heights[cell.values]})
        for cell in cells_of(sweep)
    ]
    axes = drawn(sweep_figure(sweep, rows, "barrier_mean", sweep.triples()[0])).axes
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["4", "8"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["0.01", "0.1"]
    words = {(round(text.get_position()[0]), round(text.get_position()[1])): text for text in axes[0].texts}
    assert [words[at].get_text() for at in ((0, 0), (1, 1))] == [".100", ".900"]
    assert [words[at].get_color() for at in ((0, 0), (1, 1))] == ["white", "black"]  # on the darkest, on the lightest
    assert axes[1].get_ylabel() == "Loss barrier above the mean (nats)\nWeight matching · Average"


def bars(mode: str, flat: bool) -> Figure:
    fig = figure("bars", height=300, x={}, y={}, barmode=mode)
    names, places = (["a", "b"], "yx" if flat else "xy")
    for values in ([1, 2], [3, 4]):
        more = {"orientation": "h"} if flat else {}
        fig.add(
            "bar", **{places[0]: names, places[1]: values}, name=f"{values[0]}", marker={"color": "#0072B2"}, **more
        )
    return fig


@pytest.mark.parametrize("flat", [True, False])
def test_bars_stand_on_each_other_only_where_they_are_stacked(flat):
    for mode in ("stack", "group"):
        boxes = [patch.get_bbox() for patch in drawn(bars(mode, flat)).axes[0].patches]
        spans = [(box.x0, box.x1) if flat else (box.y0, box.y1) for box in boxes]
        places = [(box.y0, box.y1) if flat else (box.x0, box.x1) for box in boxes]
        assert spans == ([(0, 1), (0, 2), (1, 4), (2, 6)] if mode == "stack" else [(0, 1), (0, 2), (0, 3), (0, 4)])
        first, second = places[0], places[2]  # both bars of "a"
        assert first == second if mode == "stack" else first[1] == pytest.approx(second[0])


def test_files_are_vector_graphics_with_embedded_fonts_and_the_same_every_time():
    fig = curve_figure(report({}))
    svg, pdf, png = (paper.figure_file(fig, kind) for kind in paper.FORMATS)
    assert svg.startswith(b"<?xml") and b"<image" not in svg and b"font-family" not in svg  # letters are paths
    parts = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S)
    text = pdf + b"".join(zlib.decompress(part) for part in parts if part[:1] == b"x")
    assert b"/FontFile2" in text and b"/Type3" not in text
    assert png.startswith(b"\x89PNG")
    assert [paper.figure_file(fig, kind) for kind in paper.FORMATS] == [svg, pdf, png]
    with pytest.raises(InvalidSetting, match="svg, pdf, png"):
        paper.figure_file(fig, "gif")


def test_the_csv_holds_every_number_of_the_figure():
    fig = matches_by_layer(["one", "two"], [report({}), report({})])
    rows = list(csv.DictReader(io.StringIO(figure_csv(fig))))
    values = [float(row["y"]) for row in rows if row["series"] == "two"]
    np.testing.assert_array_equal(values, fig.traces[1]["y"])
    table = list(csv.DictReader(io.StringIO(figure_csv(heatmap(similarity("A", "B"), "A and B")))))
    assert [row["z"] for row in table if row["z"]] and len([row for row in table if row["z"] or row["y"]]) >= 9


def test_words_of_users_are_drawn_as_they_are():
    """Neither as formulas nor with the entities of web pages."""
    fig = figure("words", height=300, x={}, y={"tickvals": [0, 1], "ticktext": ["$$", "price $a_b$"]})
    fig.add("scatter", x=[0, 1], y=[0, 1], name="R&amp;D &lt;b&gt;", mode="lines")
    axes = drawn(fig).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["$$", "price $a_b$"]
    assert axes.lines[0].get_label() == "R&D <b>"
    for kind in paper.FORMATS:
        assert paper.figure_file(fig, kind)


@pytest.mark.parametrize(("share", "images"), [(0.0, 500), (0.0, 1000), (1.0, 50)])
def test_whiskers_at_the_ends_of_the_scale_can_be_drawn(share, images):
    low, high = wilson(share, images)
    fig = comparison.bars([comparison.Point("None", "none", "", 2, share, low=low, high=high)], {})
    assert paper.figure_file(fig, "svg")


def test_names_that_begin_like_a_formula_are_quoted_in_csv():
    fig = figure("numbers", height=300, x={}, y={})
    fig.add("scatter", x=[-1.5], y=["=2"], name="=HYPERLINK(1)")
    assert figure_csv(fig).splitlines()[1] == "'=HYPERLINK(1),-1.5,'=2"
    named = replace(similarity("A", "B"), row_layers=("=cmd", *similarity("A", "B").row_layers[1:]))
    assert similarity_csv(named).splitlines()[1].startswith("'=cmd,")


def test_layers_are_named_in_csv():
    fig = figure("shares", height=300, x=layer_axis(("conv1", "fc"), "layer", [0, 1]), y={})
    fig.add("bar", x=[np.int64(0), 1, 0.5], y=[1, 2, 3], name="a")
    assert [line["x"] for line in csv.DictReader(io.StringIO(figure_csv(fig)))] == ["conv1", "fc", "0.5"]
    assert [line["x"] for line in figure_table(fig)] == ["conv1", "fc", 0.5]


def test_points_of_a_sweep_that_lack_groups_are_marked_and_named():
    sweep = request(axes=(("width", (4, 8)),), groups=2)
    rows = [
        SweepRow((width,), cells_of(sweep)[0].triple, group, 0, "done", "0", {"barrier_mean": 0.1 * width})
        for width, group in ((4, 0), (4, 1), (8, 0))
    ]
    fig = sweep_figure(sweep, rows, "barrier_mean")
    (marked,) = (one for one in series(fig) if one["name"] == "fewer than 2 groups")
    assert [list(marked[axis]) for axis in "xy"] == [[8], [pytest.approx(0.8)]]
    assert "4: .400; 8: .800 (1 of 2 groups)" in fig.alt
    pairs = request(axes=(("width", (4, 8)), ("lr", (0.01,))), groups=2)
    cells = [replace(row, values=(*row.values, 0.01)) for row in rows]
    assert sweep_figure(pairs, cells, "barrier_mean").spec()["data"][0]["text"] == [[".400", ".800 (1/2)"]]
    whole = sweep_figure(sweep, [*rows, replace(rows[2], group=1)], "barrier_mean")
    assert "fewer than 2 groups" not in [one["name"] for one in series(whole)]


def test_bars_that_lie_have_their_error_bars_and_lines_in_files_too():
    points = [
        comparison.Point("Weight matching", "weight-matching", "average none", 2, 0.9, low=0.89, high=0.91),
        comparison.Point("None", "none", "", 2, 0.5, low=0.48, high=0.52),
    ]
    fig = comparison.bars(points, {"ensemble_accuracy": 0.95})
    first, second, reference = csv.DictReader(io.StringIO(figure_csv(fig)))
    assert [(one["y"], one["x"], one["below"], one["above"]) for one in (first, second)] == [
        ("Weight matching", "90.0", "1.0", "1.0"),
        ("None", "50.0", "2.0", "2.0"),
    ]
    assert (reference["series"], reference["x"]) == ("ensemble 95.0 %", "95.0")
    (whiskers,) = drawn(fig).axes[0].containers[-1].lines[2]
    assert [[round(float(x)) for x, _ in part] for part in whiskers.get_segments()] == [[89, 91], [48, 52]]


def test_the_csv_holds_error_bars_and_the_numbers_of_boxes():
    fig = figure("numbers", height=300, x={}, y={})
    fig.add("scatter", x=[1, 2], y=[3, 4], name="a", error_y={"array": [0.1, 0.2], "arrayminus": [0.3, 0.4]})
    fig.add("box", q1=[2], median=[3], q3=[4], lowerfence=[1], upperfence=[5], y=["b"], name="b", orientation="h")
    first, second, box = csv.DictReader(io.StringIO(figure_csv(fig)))
    assert [second[key] for key in ("x", "y", "below", "above")] == ["2", "4", "0.4", "0.2"]
    assert (first["series"], first["median"]) == ("a", "")
    assert [box[key] for key in ("y", "lowerfence", "q1", "median", "q3", "upperfence")] == ["b", *"12345"]


def test_a_table_has_a_row_for_every_point_and_none_for_pictures():
    fig = figure("two lines", height=200, x={}, y={})
    fig.add("scatter", x=[0, 1], y=[2, 3], name="one")
    fig.add("bar", x=["a"], y=[4], name="two")
    fig.add("heatmap", z=[[1, 2]], name="map")
    rows = [{"series": "one", "x": 0, "y": 2}, {"series": "one", "x": 1, "y": 3}, {"series": "two", "x": "a", "y": 4}]
    assert figure_table(fig) == rows
    fig.layout["images"] = [{"source": "data:"}]
    assert figure_table(fig) == []
