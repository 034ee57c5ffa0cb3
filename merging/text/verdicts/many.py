"""Verdict on a merge of three or more networks, from accuracies alone, because there is no single path between them."""

from __future__ import annotations

from merging.results.reports import MergeReport
from merging.text import numbers
from merging.text.uncertainty import noise

CLOSE = 0.02  # largest fall in accuracy below the parents' mean for a merge that is called as good as they are
FAILED = 0.10  # fall in accuracy below the parents' mean above which the merge is called failed


def status(report: MergeReport) -> str:
    """Return "as good", "worse" or "failed", by the merge's accuracy against the mean of its parents' accuracies."""
    fall = _mean(report) - _accuracy(report, "merge")
    return "as good" if fall <= CLOSE else "worse" if fall <= FAILED else "failed"


def many_headline(report: MergeReport) -> str:
    """Return one sentence on the merge's accuracy compared with the parents' and with their plain average's."""
    count, merge, naive = len(_parents(report)), _accuracy(report, "merge"), _accuracy(report, "naive")
    lost = "has lost most of their accuracy" if merge < _mean(report) / 2 else "is much worse than they are"
    outcome = {
        "as good": "into one that is as good as they are",
        "worse": "into one that is worse than they are",
        "failed": f"into one that {lost}",
    }[status(report)]
    gain = merge - naive
    beside = f"{numbers.points(gain)} above their plain average" if gain > 0 else "no better than their plain average"
    images = report.scores["merge"][_split(report)].images
    if images and 0 < gain <= noise(merge, naive, images):
        beside += f", which is within the noise of {numbers.count(images)} images if networks err independently"
    return f"{count} networks merge {outcome}: {numbers.accuracy(merge)}, {beside}."


def many_verdict(report: MergeReport) -> str:
    """Return a paragraph with the accuracies of the parents, their average, the merge and the ensemble."""
    each = ", ".join(f"{name} {numbers.accuracy(_accuracy(report, name))}" for name in _parents(report))
    naive, merge = (numbers.accuracy(_accuracy(report, name)) for name in ("naive", "merge"))
    split = _split(report)
    text = f"Accuracy on the {split} images: {each}. Their plain average: {naive}. The merge: {merge}."
    if split in report.ensemble:
        together = numbers.accuracy(report.ensemble[split].accuracy)
        cost = f"{len(_parents(report))} times the cost"
        text += f" An ensemble, which averages their predictions, gives {together} at {cost}."
    return f"{text} More than two networks have no single line between them, so there is no curve."


def _split(report: MergeReport) -> str:
    return "test" if "test" in report.scores["merge"] else next(iter(report.scores["merge"]))


def _accuracy(report: MergeReport, name: str) -> float:
    return report.scores[name][_split(report)].accuracy


def _parents(report: MergeReport) -> list[str]:
    return [name for name in report.scores if len(name) == 1]


def _mean(report: MergeReport) -> float:
    parents = _parents(report)
    return sum(_accuracy(report, name) for name in parents) / len(parents)
