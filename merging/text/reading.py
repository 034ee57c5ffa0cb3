"""The numbers in a report on two networks that determine its verdict, and the thresholds that choose the words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from merging.methods.registry import table
from merging.results.reports import LossCurve, MergeReport
from merging.text import numbers

FEW_IMAGES = 1000  # below this number, a verdict states the uncertainty of its accuracies
CONNECTED = 0.02  # largest fall in accuracy along a path that is called connected ("stable" in Frankle et al. 2020)
EXACT = 1e-6  # relative change of B's outputs up to which a mapping counts as exact; permutations must stay below it
PARTLY = 0.10  # largest fall in accuracy along a path that is called partly connected
# A parent has learnt almost nothing if its accuracy is above chance by less than half of chance, and by less than this
# share of what chance gets wrong. With ten classes both are an accuracy of 15 %; with two, only the second is of use.
GUESSING = 1 / 18


def margin(accuracy: float, images: int) -> float:
    """Uncertainty of an accuracy that was measured on this many images: two standard errors."""
    return min(2 * float(np.sqrt(max(accuracy * (1 - accuracy), 1 / images) / images)), 1.0)


def fall_of(curve: LossCurve) -> float:
    """Largest fall of accuracy below the chord between the ends, as a share of the images.

    With the chord, a difference between the parents does not count as a fall.
    """
    return curve.barrier("accuracy", above="chord").height


def points_beside(value: float, threshold: float) -> str:
    """Format a fall in percentage points, with a second decimal if it would otherwise look equal to the threshold."""
    text = numbers.points(value)
    return text if text != numbers.points(threshold) or value <= threshold else f"{100 * value:.2f} pp"


def corrects(report: MergeReport) -> bool:
    """Whether the merge was corrected: a correction was asked for, and found something to correct."""
    notes = report.notes.get("correct", {})
    return report.request.get("correct") != "none" and "reason" not in notes and notes.get("corrected") != []


@dataclass(frozen=True)
class Reading:
    """The numbers in a report on two networks that determine its verdict."""

    report: MergeReport

    @cached_property
    def split(self) -> str:
        """The split that the texts are about: "test" if there are test images, else the first one."""
        splits = self.report.curves["aligned" if self.unequal else "naive"]
        return "test" if "test" in splits else next(iter(splits))

    @property
    def unequal(self) -> bool:
        """Whether the networks differ in width, so that there is no straight line between them."""
        return "naive" not in self.report.curves

    @cached_property
    def naive(self) -> LossCurve:
        """The straight line from A to B; the merge's path if there is none."""
        return self.report.curves["naive"][self.split] if not self.unequal else self.final

    @cached_property
    def aligned(self) -> LossCurve:
        """The uncorrected path from A to pi(B); the straight line to B if nothing was aligned."""
        kind = "aligned" if "aligned" in self.report.curves else "naive"
        return self.report.curves[kind][self.split]

    @cached_property
    def final(self) -> LossCurve:
        """The merge's path: the corrected one if there is one, else the aligned one."""
        return self.report.curves["corrected"][self.split] if self.corrected else self.aligned

    @property
    def corrected(self) -> bool:
        """Whether a correction changed the merge's path."""
        return "corrected" in self.report.curves and corrects(self.report)

    @property
    def moved(self) -> bool:
        """Whether any unit of B changed its position."""
        return any(moved for _, moved in self.report.groups.values())

    @property
    def mapped(self) -> bool:
        """Whether the alignment mixed units linearly, which changes the function, instead of only permuting them."""
        method = table("align").get(self.report.request.get("align", ""))
        return method is not None and not method.permutes

    @property
    def straight(self) -> bool:
        """Whether the merge's path is the straight line from A to pi(B)."""
        return self.report.request.get("combine", "average") == "average"

    @property
    def combined(self) -> str:
        """The label of the combination, such as "NP Merge"."""
        return table("combine")[self.report.request.get("combine", "average")].label

    @property
    def path(self) -> str:
        """The word for the merge's path: "straight line" or "path"."""
        return "straight line" if self.straight else "path"

    @property
    def parents(self) -> tuple[float, float]:
        """Accuracies of A and B in 0..1."""
        first, second = self.naive.ends
        return first.accuracy, second.accuracy

    @property
    def ends_elsewhere(self) -> bool:
        """Whether the path does not end at B: the alignment changed B's function, or the combination has other ends."""
        method = table("combine").get(self.report.request.get("combine", "average"))
        changed = (self.unequal or self.mapped) and self.report.equivalence > EXACT
        return changed or (method is not None and not method.ends)

    @property
    def fall(self) -> float:
        """Fall of accuracy along the merge's path (half-way, if it does not end at B), as a share of the images."""
        if not self.ends_elsewhere:
            return fall_of(self.final)
        return sum(self.parents) / 2 - self.final.middle("accuracy")

    @property
    def status(self) -> str:
        """The status of the path: "connected", "partly connected" or "not connected"."""
        fall = self.fall
        return "connected" if fall <= CONNECTED else "partly connected" if fall <= PARTLY else "not connected"

    @property
    def guessing(self) -> bool:
        """Whether a parent is hardly better than guessing; False if the number of classes is unknown."""
        models = self.report.request.get("models") or [{}]
        classes = len(models[0].get("classes") or ())
        if classes < 2:
            return False
        chance = 1 / classes
        return min(self.parents) < chance + min(chance / 2, GUESSING * (1 - chance))
