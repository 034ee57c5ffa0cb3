"""Verdicts on merges of three or more networks."""

import pytest

from merging.results.reports import MergeReport, Metrics
from merging.text.verdicts.merge import headline, verdict, word
from tests.figures.made import scores


@pytest.mark.parametrize(
    ("merge", "expected", "words"),
    [
        (0.88, "as good", "as good as they are"),
        (0.84, "worse", "worse than they are"),
        (0.3, "failed", "has lost most"),
    ],
)
def test_a_merge_of_many_is_judged_beside_its_parents(merge, expected, words):
    made = MergeReport({}, (), {}, 3e-16, scores=scores(3, merge), ensemble={"test": Metrics(0.2, 0.92, 0.01)})
    assert word(made) == expected
    assert words in headline(made)
    assert "92.0 % at 3 times the cost" in verdict(made)
    worse = MergeReport({}, (), {}, 3e-16, scores=scores(3, 0.1))
    assert "no better than their plain average" in headline(worse)


def test_a_gain_within_the_noise_of_the_images_that_were_measured_is_called_so():
    values = {"A": 0.9, "B": 0.9, "C": 0.9, "naive": 0.86, "merge": 0.88}
    for images, within in ((200, True), (10_000, False), (0, False)):  # 0: an older result, which does not say
        measured = {name: {"test": Metrics(0.3, share, 0.02, images)} for name, share in values.items()}
        made = MergeReport({"images": 60_000}, (), {}, 3e-16, scores=measured)  # asked for more than there were
        assert ("within the noise of 200 images" in headline(made)) is within
