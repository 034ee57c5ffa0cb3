import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from merging.zoo.datasets.load import load_split
from tests.figures.made import UNITS, report, units
from ui.neurons import tiles
from ui.neurons.units import (
    PAGE,
    cells,
    dead_anywhere,
    first_layer,
    match_word,
    ordered,
    page_of,
    pages,
    scale,
    strength,
)
from ui.panels.similarity_panel import nearest_layer

LAYER = units("layers.0")


@pytest.mark.parametrize("unit", range(UNITS))
def test_the_matched_units_picture_is_looked_up_from_bs_own(unit):
    found = cells(LAYER, unit)
    assert (found["pi(B)"].source, found["pi(B)"].unit) == ("B", LAYER.partner[unit])
    assert (found["B"].source, found["B"].unit) == ("B", unit)
    moved_to = list(LAYER.partner).index(unit)
    assert found["B"].seen == (LAYER.seen_mean[1, moved_to], LAYER.seen_most[1, moved_to])
    assert found["B"].dead == LAYER.dead[1, moved_to]


def test_the_slots_stand_in_one_order():
    assert list(cells(LAYER, 0)) == ["A", "pi(B)", "merge", "naive", "B"]


def test_sorting_keeps_every_unit_and_puts_dead_ones_last():
    for sort in ("best match", "worst match"):
        order = ordered(LAYER, sort, "all")
        assert sorted(order) == list(range(UNITS))
        assert order[-1] == 3
    best = [LAYER.match[unit] for unit in ordered(LAYER, "best match", "all")[:-1]]
    assert best == sorted(best, reverse=True)
    scales = [scale(LAYER)[unit] for unit in ordered(LAYER, "scale", "all")[:-1]]
    assert scales == sorted(scales)


def test_views_show_what_they_say():
    assert ordered(LAYER, "unit number", "dead") == [3]
    worst = ordered(LAYER, "worst match", "worst matched")
    assert len(worst) == 6
    assert max(LAYER.match[worst]) < min(np.delete(LAYER.match, [*worst, 3]))


def test_scale_is_relative_to_the_parents_and_undefined_for_the_dead():
    expected = LAYER.std[2] / ((LAYER.std[0] + LAYER.std[1]) / 2 + (LAYER.std[0] == 0))
    alive = np.arange(UNITS) != 3
    np.testing.assert_allclose(scale(LAYER)[alive], expected[alive])
    assert np.isnan(scale(LAYER)[3])


def test_pages_cover_all_units_once():
    order = ordered(LAYER, "unit number", "all")
    shown = [unit for number in range(1, pages(order) + 1) for unit in page_of(order, number)[0]]
    assert shown == order
    assert page_of(order, 1)[1] == order[PAGE : 2 * PAGE]
    assert pages([]) == 1


def test_a_pictures_response_is_told_on_the_scale_of_the_images():
    """0: as to the average image, 1: as to the strongest."""
    assert strength(3.0, (1.0, 2.0)) == ("response 2.00", False)
    assert strength(1.5, (1.0, 2.0)) == ("response .50", True)
    assert strength(1.998, (1.0, 2.0)) == ("response 1.00", False)  # as it is shown
    assert strength(0.5, (1.0, 2.0)) == ("response −.50", True)
    assert strength(26.26, (0.0, 1.0)) == ("response 26", False)
    assert strength(-0.4, (-0.5, -0.3)) == ("response .50", True)
    unscaled = "response 4.4, not on the scale of images", False
    assert strength(4.4, (0.0, 0.0)) == unscaled  # all images give the same response
    assert strength(4.4, (np.nan, np.nan)) == unscaled  # a result of an earlier version
    assert strength(np.nan, (0.0, 1.0)) == ("response not measured", False)


def test_units_of_an_earlier_version_have_no_scale():
    old = replace(LAYER, seen_mean=np.empty((0, 0)), seen_most=np.empty((0, 0)))
    assert all(np.isnan(cell.seen).all() for cell in cells(old, 0).values())


def test_one_begins_with_the_middle_layer_that_has_weights():
    kinds = ("conv", "norm", "activation", "conv", "pool", "linear", "activation")
    assert first_layer([replace(LAYER, kind=kind) for kind in kinds]) == 3
    assert first_layer([LAYER]) == 0


def test_a_word_for_what_became_of_a_unit():
    assert match_word(LAYER, 3) == "dead in both"
    for unit in set(range(UNITS)) - {3}:
        match = LAYER.match[unit]
        assert match_word(LAYER, unit) == (
            "well matched" if match >= 0.7 else "partly matched" if match >= 0.3 else "poorly matched"
        )
    assert dead_anywhere(LAYER).sum() == 1


def test_a_picture_keeps_its_pixels():
    pixels = np.random.default_rng(0).uniform(size=(5, 7, 3)).astype(np.float32)
    shown = np.asarray(Image.open(io.BytesIO(tiles.png(pixels))))
    np.testing.assert_allclose(shown / 255, pixels, atol=0.5 / 255 + 1e-6)


def test_exemplars_are_the_images_of_their_numbers_in_falling_order():
    images = load_split("fashion-mnist", "test", 200)
    sheet = np.asarray(Image.open(io.BytesIO(tiles.exemplar_sheet(LAYER, "A", 5, images, columns=3, most=3))))
    for at, number in enumerate(LAYER.exemplars[0, 5, :3]):
        tile = sheet[2 : tiles.SIDE - 2, at * tiles.SIDE + 2 : (at + 1) * tiles.SIDE - 2]
        small = np.asarray(Image.fromarray(images.images[number, 0]).convert("RGB").resize(tile.shape[:2], 0))
        np.testing.assert_array_equal(tile[..., :3], small)
        assert (tile[..., 3] == 255).all() and sheet[0, 0, 3] == 0  # around the images one sees the page


def test_a_click_on_a_layer_without_units_leads_to_the_one_before():
    found = report({})
    assert nearest_layer(found, "layers.2") == "layers.2"
    assert nearest_layer(found, "unknown") == "layers.0"
