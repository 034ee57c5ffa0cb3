"""Verdicts call differences that are within the noise so."""

from __future__ import annotations

from merging.text.verdicts.merge import verdict
from tests.text.test_verdict import curve, report


def test_differences_within_the_noise_are_called_so():
    """Two standard errors of a difference of two shares: 1.96 sqrt(2 · .9 · .1 / n), 1.9 points for 2,000 images."""
    near, far = (curve(fall, images=2000) for fall in (0.004, 0.2))
    text = verdict(report(far, near))
    assert "difference in accuracy from A (" in text or "differences in accuracy from A (" in text
    assert "within the noise of 2,000 images" in text and "the naive average (" not in text.split("within the noise")[0]
    assert "within the noise" not in verdict(report(far, curve(0.1, images=2000)))
    assert "within the noise" not in verdict(report(far, curve(0.04, images=100_000)))
