"""The numbers of a report of two networks that its words depend on, and the thresholds that decide between words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from merging.methods.registry import table
from merging.results.reports import LossCurve, MergeReport
from merging.text import numbers

FEW_IMAGES = 1000  # below, a verdict says how uncertain its accuracies are
CONNECTED = 0.02  # fall of accuracy on the way: what Frankle et al. 2020 call stable
EXACT = 1e-6  # relative difference of outputs up to which B mapped is B, as the merge itself demands of permutations
PARTLY = 0.10  # up to this fall the path is damaged but not destroyed
GUESSING = 1.5  # times the accuracy of guessing: parents below it have learnt next to nothing


def margin(accuracy: float, images: int) -> float:
    """By how much an accuracy measured on so many images is uncertain: two standard errors."""
    return min(2 * float(np.sqrt(max(accuracy * (1 - accuracy), 1 / images) / images)), 1.0)


def fall_of(curve: LossCurve) -> float:
    """The largest fall of accuracy, as a share of the images; below the chord, so that parents' difference is none."""
    return curve.barrier("accuracy", above="chord").height


def beside(value: float, threshold: float) -> str:
    """A fall in points, with as many digits as it takes to tell it from the threshold."""
    said = numbers.points(value)
    return said if said != numbers.points(threshold) or value <= threshold else f"{100 * value:.2f} pp"


@dataclass(frozen=True)
class Reading:
    """The numbers of a report that its words depend on."""

    report: MergeReport

    @cached_property
    def split(self) -> str:
        """Test images where there are some."""
        splits = self.report.curves["aligned" if self.unequal else "naive"]
        return "test" if "test" in splits else next(iter(splits))

    @property
    def unequal(self) -> bool:
        """Whether the nets differ in width, so that there is no straight line between them."""
        return "naive" not in self.report.curves

    @cached_property
    def naive(self) -> LossCurve:
        """The straight line from A to B; the merge's own path where there is none."""
        return self.report.curves["naive"][self.split] if not self.unequal else self.final

    @cached_property
    def aligned(self) -> LossCurve:
        """The path to pi(B), nothing corrected; the straight line where nothing was aligned."""
        kind = "aligned" if "aligned" in self.report.curves else "naive"
        return self.report.curves[kind][self.split]

    @cached_property
    def final(self) -> LossCurve:
        """The merge's own path: the corrected one where there is one."""
        return self.report.curves["corrected"][self.split] if self.corrected else self.aligned

    @property
    def corrected(self) -> bool:
        """Whether the merge was corrected."""
        return "corrected" in self.report.curves

    @property
    def moved(self) -> bool:
        """Whether any unit of B found another place."""
        return any(moved for _, moved in self.report.groups.values())

    @property
    def mapped(self) -> bool:
        """Whether units were mixed by maps, which change what the networks compute, and not only re-ordered."""
        method = table("align").get(self.report.request.get("align", ""))
        return method is not None and not method.permutes

    @property
    def straight(self) -> bool:
        """Whether the merge's path is the straight line from A to pi(B)."""
        return self.report.request.get("combine", "average") == "average"

    @property
    def combined(self) -> str:
        """The combination by its name, such as "NP Merge"."""
        return table("combine")[self.report.request.get("combine", "average")].label

    @property
    def path(self) -> str:
        """What the merge's path is called."""
        return "straight line" if self.straight else "path"

    @property
    def parents(self) -> tuple[float, float]:
        """Accuracies of A and B, 0..1."""
        first, second = self.naive.ends
        return first.accuracy, second.accuracy

    @property
    def ends_elsewhere(self) -> bool:
        """Whether mapping changed what B computes, so that the path does not end at B."""
        return (self.unequal or self.mapped) and self.report.equivalence > EXACT

    @property
    def fall(self) -> float:
        """How far accuracy falls along the merge's path, as a share of the images; half-way where that does not end
        at B."""
        if not self.ends_elsewhere:
            return fall_of(self.final)
        return sum(self.parents) / 2 - self.final.middle("accuracy")

    @property
    def status(self) -> str:
        """The path in two words at most."""
        fall = self.fall
        return "connected" if fall <= CONNECTED else "partly connected" if fall <= PARTLY else "not connected"

    @property
    def guessing(self) -> bool:
        """Whether a parent is hardly better than guessing; False where the number of classes is not known."""
        models = self.report.request.get("models") or [{}]
        classes = len(models[0].get("classes") or ())
        return classes > 1 and min(self.parents) < GUESSING / classes
