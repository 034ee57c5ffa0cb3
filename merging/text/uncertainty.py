"""Differences of accuracies that are too small for the number of images."""

from __future__ import annotations

import math
from collections.abc import Iterator

from merging.results.intervals import Z95
from merging.text import numbers
from merging.text.reading import Reading


def noise(first: float, second: float, images: int) -> float:
    """Difference of two accuracies, each on this many images, that chance alone exceeds in 5 % of cases.

    The two are taken as independent. Networks that are measured on the same images mostly err on the same ones, so
    chance exceeds this difference less often, and a test of pairs (McNemar 1947) may tell smaller ones from chance.
    """
    return Z95 * math.sqrt((first * (1 - first) + second * (1 - second)) / images)


def small_differences(reading: Reading) -> Iterator[str]:
    """A sentence on the differences from the merge that are too small for the number of images."""
    merge, images = reading.final.middle("accuracy"), reading.final.images
    others = dict(zip("AB", reading.parents, strict=True))
    others |= {} if reading.unequal else {"the naive average": reading.naive.middle("accuracy")}
    small = {
        name: abs(merge - value)
        for name, value in others.items()
        if images and 0 < abs(merge - value) <= noise(merge, value, images)
    }
    if small:
        each = " and ".join(f"{name} ({numbers.points(difference)})" for name, difference in small.items())
        plural = "s" if len(small) > 1 else ""
        yield (
            f"The merge's difference{plural} in accuracy from {each} {'are' if plural else 'is'} within the noise of "
            f"{numbers.count(images)} images, if networks err independently. On the same images they do not, so "
            "smaller differences can be real."
        )
