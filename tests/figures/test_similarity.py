from dataclasses import replace

import numpy as np
import pytest

from merging.figures.figure import Figure, find_layer
from merging.figures.palette import STYLES
from merging.figures.similarity import diagonal_figure, heatmap
from merging.figures.units import match_histogram
from merging.naming import block_name
from tests.figures.made import LAYERS, alt_text, report, similarity, units, validated
from tests.figures.test_paper import drawn

MAPS = report({}).similarity


def points(fig):
    return sum(np.size(trace.x) if trace.type != "heatmap" else np.size(trace.z) for trace in fig.data)


def test_all_maps_have_one_scale_and_keep_their_values():
    for name, map in MAPS.items():
        shown = validated(heatmap(map, name)).data[0]
        assert (shown.zmin, shown.zmax) == (0, 1)
        np.testing.assert_array_equal(np.array(shown.z, float), map.values)
    assert len({validated(heatmap(map, name)).data[0].colorscale for name, map in MAPS.items()}) == 1


def test_a_negative_value_is_written_and_an_undefined_one_is_a_question_mark():
    text = validated(heatmap(MAPS["A-B"], "A and B")).data[1].text
    assert text[len(LAYERS) - 1] == "−.03"
    assert text[-len(LAYERS)] == "?"


def test_the_cell_that_was_clicked_is_framed():
    plain, framed = (validated(heatmap(MAPS["A-B"], "A and B", chosen=cell)) for cell in (None, (LAYERS[2], LAYERS[1])))
    (frame,) = framed.layout.shapes[len(plain.layout.shapes) :]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (0.5, 1.5, 1.5, 2.5)


def test_layers_run_down_from_the_input_in_network_order():
    fig = validated(heatmap(MAPS["A-B"], "A and B"))
    assert tuple(fig.layout.yaxis.ticktext) == LAYERS
    assert fig.layout.yaxis.range[0] > fig.layout.yaxis.range[1]


def test_a_click_finds_the_layers_of_its_cell():
    targets = validated(heatmap(MAPS["A-B"], "A and B")).data[1]
    rows, columns = MAPS["A-B"].values.shape
    assert len(targets.x) == rows * columns
    at = list(zip(targets.y, targets.x, strict=True)).index((1, 2))
    assert tuple(targets.customdata[at][:2]) == (LAYERS[1], LAYERS[2])


def test_a_selected_layer_is_marked_on_every_axis_that_has_it():
    plain = heatmap(MAPS["A-B"], "A and B")
    marked = validated(plain.with_selected(LAYERS[1]))
    bands = marked.layout.shapes[len(plain.layout["shapes"]) :]
    assert [(band.xref, band.x0, band.x1) for band in bands if band.yref == "y domain"] == [("x", 0.5, 1.5)]
    assert [(band.yref, band.y0, band.y1) for band in bands if band.xref == "x domain"] == [("y", 0.5, 1.5)]
    assert len(plain.layout["shapes"]) == len(LAYERS)  # the unmarked figure is shared and must not change
    assert [plain.has_layer(name) for name in (LAYERS[1], "elsewhere")] == [True, False]


@pytest.mark.parametrize(
    "layer, place",
    [
        ("a.conv", 0),
        ("a", 0),
        ("b", 1),
        ("b.norm", 1),
        ("c.0", 2),
        ("c.1", None),
        ("d", None),
        ("bb", None),
        ("", None),
    ],
)
def test_a_layer_is_found_by_its_own_name_its_module_or_the_block_that_it_begins(layer, place):
    assert find_layer(layer, ["a.conv", "b", block_name(["c.0", "c.1"])]) == place


def test_a_click_gives_the_layer_at_its_place_and_nothing_outside():
    fig = diagonal_figure(MAPS)
    assert [fig.layer_at({"x": x, "y": 0.5}) for x in (0, 1, 2, 3, -1)] == [*LAYERS, "", ""]
    assert fig.layer_at({"y": 1}) == Figure("no layers").layer_at({"x": 0}) == ""


def test_the_largest_map_stays_drawable():
    many = tuple(f"layer{number}.conv" for number in range(60))
    fig = validated(heatmap(similarity("A", "B", many), "A and B"))
    assert points(fig) < 10_000
    assert len(fig.layout.xaxis.ticktext) <= 16


def test_the_diagonals_are_drawn_as_they_are():
    fig = validated(diagonal_figure(MAPS))
    lines = {trace.meta: trace.y for trace in fig.data}
    assert set(lines) == set(MAPS)
    np.testing.assert_array_equal(lines["A-merge"], np.diagonal(MAPS["A-merge"].values))
    assert "A and the merge" in alt_text(fig)


def test_the_match_histogram_leaves_dead_units_out():
    layer = units("layers.0")
    fig = validated(match_histogram(layer))
    assert fig.data[0].marker.color == STYLES["aligned"].color
    assert sum(fig.data[0].y) == layer.units - 1


def test_the_match_histogram_counts_every_unit_also_those_at_an_edge_and_just_above_1():
    """Rounding gives correlations such as 1.00000002; the figure on the screen and in a file has the same bars."""
    layer = replace(units("layers.0"), match=np.array([1.00000002, 1.0, 0.95, 0.9, -1.0, np.nan]))
    fig = match_histogram(layer)
    counts = dict(zip(np.round(fig.traces[0]["x"], 3), fig.traces[0]["y"], strict=True))
    assert {place: count for place, count in counts.items() if count} == {0.975: 3, 0.925: 1, -0.975: 1}
    bars = [patch for patch in drawn(fig).axes[0].patches if patch.get_height()]
    assert [round(patch.get_width(), 3) for patch in bars] == [0.05] * 3
