"""A sentence on a comparison: which methods the test images can tell from the best one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from merging.jobs.requests.comparison import Row, summaries
from merging.results.intervals import student
from merging.text import numbers
from merging.text.uncertainty import noise

Triple = tuple[str, str, str]  # keys of the methods that align, combine and correct
SHOWN = 3  # methods named in a list


def standing(rows: Sequence[Row], label: Callable[[Triple], str]) -> str:
    """Return what the merges say about the order of the methods, or "" where there is no order to speak of.

    With one merge per method, two methods are told apart by the noise of the test images, as if networks erred
    independently. With several, by the 95 % interval (Student 1908) of the mean difference in accuracy over the cells
    (networks and seed) that both methods have done.

    Args:
        rows: merges of one kind of network; those without a test accuracy are ignored.
        label: the name of a method triple for the reader.
    """
    done = [row for row in rows if not math.isnan(row["test_accuracy"])]
    ordered = sorted(summaries(done, "test_accuracy"), key=lambda summary: -summary.mean)
    if len(ordered) < 2 or len({summary.count for summary in ordered}) > 1:
        return ""
    best, others = ordered[0].triple, [summary.triple for summary in ordered[1:]]
    cells = {triple: _cells(done, triple) for triple in (best, *others)}
    if sum(len(each) for each in cells.values()) != len(done):
        return ""  # different networks of one name: the cells of two methods cannot be paired
    if max(len(each) for each in cells.values()) > 1:
        return _over_merges(best, others, cells, label)
    if len({frozenset(each) for each in cells.values()}) > 1:
        return ""  # some methods have only merges of other networks, or with other seeds
    images = [row["test_images"] for row in done]
    if any(math.isnan(count) for count in images) or len(set(images)) > 1:
        return ""
    return _over_images(best, {summary.triple: summary.mean for summary in ordered}, int(images[0]), label)


def _cells(rows: Sequence[Row], triple: Triple) -> dict[tuple[str, int], float]:
    """Test accuracy per (networks, seed) of the merges by these methods."""
    mine = (row for row in rows if (row["align"], row["combine"], row["correct"]) == triple)
    return {(row["networks"], row["seed"]): row["test_accuracy"] for row in mine}


def _over_images(best: Triple, means: Mapping[Triple, float], images: int, label: Callable[[Triple], str]) -> str:
    share = means[best]
    close = [other for other in means if other != best and share - means[other] <= noise(share, means[other], images)]
    text = (
        f"{label(best)} is best here: {numbers.accuracy(share)}, with a 95 % interval of "
        f"{numbers.interval(share, images)} on {numbers.counted(images, 'test image')}."
    )
    if not close:
        return f"{text} The differences from the others are larger than the noise of these images, on this seed."
    return (
        f"{text} {_named(close, label)} cannot be told from it on these images, if networks err independently. "
        "More images, networks and seeds can show a difference."
    )


def _over_merges(
    best: Triple,
    others: Sequence[Triple],
    cells: Mapping[Triple, Mapping[tuple[str, int], float]],
    label: Callable[[Triple], str],
) -> str:
    apart = [other for other in others if _above(cells[best], cells[other])]
    close = [other for other in others if other not in apart]
    count = len(cells[best])
    text = f"{label(best)} has the best mean, over {numbers.counted(count, 'merge')}."
    if apart:
        text += f" It is above {_named(apart, label)} by more than chance explains (95 % interval of the differences)."
    if close:
        text += f" {_named(close, label)} cannot be told from it with so few merges."
    return f"{text} Merges that share a network are not independent, so this test is somewhat too easy to pass."


def _above(first: Mapping[tuple[str, int], float], second: Mapping[tuple[str, int], float]) -> bool:
    """Whether the 95 % interval of first - second, over the cells of both, lies above 0."""
    differences = [first[cell] - second[cell] for cell in first if cell in second]
    return len(differences) > 1 and student(differences)[1] > 0


def _named(triples: Sequence[Triple], label: Callable[[Triple], str]) -> str:
    names = [label(triple) for triple in triples[:SHOWN]]
    if len(triples) > SHOWN:
        names.append(f"{len(triples) - SHOWN} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
