"""What the page says of a plane of weights, by where the networks lie and what they compute."""

import dataclasses

import numpy as np
import pytest

from merging.studies.landscape import Landscape
from ui.panels.landscape_panel import landscape_words

POINTS = {
    "A": (0.0, 0.0, 0.0, 0.3, 0.90),
    "B": (10.0, 0.0, 0.0, 0.3, 0.89),
    "pi(B)": (4.0, 6.0, 0.0, 0.3, 0.89),
    "naive": (5.0, 0.0, 0.0, 2.0, 0.12),
    "merge": (2.0, 3.0, 0.0, 0.35, 0.88),
}
GRID = np.zeros((3, 3))
PLANE = Landscape(np.linspace(-2, 12, 3), np.linspace(-2, 8, 3), GRID, GRID, GRID == 0, POINTS, "as stored", 100, 1000)


def said(**changed) -> str:
    return landscape_words(dataclasses.replace(PLANE, points={**POINTS, **changed}))


def test_a_permutation_is_the_same_function_and_both_middles_are_on_their_lines():
    text = said()
    assert text.startswith("B and π(B) compute the same function at two points of weight space. The middle of the line")
    assert "from A to B lies in a worse region than A and B (12.0 %)" in text
    assert "On the line from A to π(B), the merge is as good as A and B (88.0 %; A 90.0 %, B 89.0 %)." in text


def test_mixed_units_compute_another_function():
    text = said(**{"pi(B)": (4.0, 6.0, 0.0, 4.9, 0.337)})
    assert "which changes its function: its accuracy is 33.7 %, B's 89.0 %" in text and "same function" not in text


@pytest.mark.parametrize("name", ["naive", "merge"])
def test_what_is_on_no_line_is_not_said_to_be(name):
    x, y, _, loss, accuracy = POINTS[name]
    far = said(**{name: (x, y, 7.9, loss, accuracy)})
    assert f"{'The naive average' if name == 'naive' else 'The merge'}, at a distance of 7.9 from the plane," in far
    beside = said(**{name: (x + 1, y, 0.0, loss, accuracy)})
    assert ("The naive average lies" if name == "naive" else "The merge is as good") in beside
