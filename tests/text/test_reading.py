"""Numbers of a report that decide its words: whether a parent guesses, and whether a correction changed anything."""

import dataclasses

import numpy as np
import pytest

from merging.text.reading import Reading
from merging.text.verdicts.merge import headline, verdict
from tests.text.test_verdict import curve, report


def test_a_correction_that_changed_nothing_is_no_corrected_merge():
    known = report(curve(0.7), curve(0.3))
    asked = {**known.request, "correct": "batch-norm-reset"}
    idle = dataclasses.replace(
        known,
        request=asked,
        curves={**known.curves, "corrected": known.curves["aligned"]},
        notes={**known.notes, "correct": {"batch_norms": 0, "reason": "There is nothing to reset."}},
    )
    assert headline(idle) == headline(known) and "correct" not in verdict(idle)
    better = dataclasses.replace(known, request=asked, curves={**known.curves, "corrected": {"test": curve(0.05)}})
    assert "correct" in verdict(better)


def test_a_combination_with_other_ends_is_judged_half_way():
    """Task arithmetic on experts: at its ends the path is the base with twice one expert's change."""
    heights = np.interp(np.linspace(0, 1, 11), [0, 0.5, 1], [0.45, 0.764, 0.4])
    low = dataclasses.replace(curve(ends=(0.57, 0.494)), accuracy=heights)
    asked = {**report(low, low).request, "combine": "task-arithmetic", "align": "none"}
    found = report(low, low, request=asked, moved=0)
    assert Reading(found).fall < 0 and "partly connected" not in verdict(found)
    assert "The last network of the path does not compute what B computes" in verdict(found)


@pytest.mark.parametrize(
    ("classes", "accuracy", "guesses"),
    [
        (2, 0.52, True),
        (2, 0.54, False),
        (10, 0.149, True),
        (10, 0.151, False),
        (1000, 0.0014, True),
        (1000, 0.04, False),
    ],
)
def test_whether_a_parent_guesses_depends_on_the_number_of_classes(classes, accuracy, guesses):
    low = curve(ends=(accuracy, accuracy))
    model = {"classes": [str(number) for number in range(classes)]}
    found = report(low, low, request={"models": [model, model]})
    assert ("hardly better than guessing" in headline(found)) is guesses
