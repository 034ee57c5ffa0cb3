"""Verdict on a merge: a headline of one or two sentences, a paragraph, and a short status.

All texts follow from the numbers in the report and the thresholds below. Test images are used if there are any.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from merging.results.reports import Barrier, LossCurve, MergeReport
from merging.text import numbers
from merging.text.next_steps import next_steps
from merging.text.reading import CONNECTED, FEW_IMAGES, PARTLY, Reading, fall_of, margin, points_beside
from merging.text.uncertainty import small_differences
from merging.text.verdicts import many

END = 0.005  # difference in accuracy above which the path is said not to end at B
EQUAL = 0.02  # largest difference in accuracy between parents that are called equally good
RISE = 0.1  # nats: a larger rise in loss is mentioned even if the path is called good
SAME = 1e-4  # nats: a path whose loss varies less is called flat
FEW_MOVED = 0.1  # largest share of moved units at which the nets are said to agree on the order


def word(report: MergeReport) -> str:
    """Return the status of a merge in at most two words.

    For two networks, "connected", "partly connected" or "not connected", by the path's largest fall in accuracy. For
    more networks, "as good", "worse" or "failed". Without images, "not measured".
    """
    if not report.curves:
        return many.status(report) if report.scores else "not measured"
    return Reading(report).status


def headline(report: MergeReport) -> str:
    """Return one or two sentences that summarise the merge half-way between the networks."""
    if not report.curves and report.scores:
        return many.many_headline(report)
    if not report.curves:
        return "B was re-ordered and merged with A. The accuracy of the merge was not measured."
    return _headline(Reading(report))


def verdict(report: MergeReport) -> str:
    """Return a paragraph on the merge.

    The paragraph states the accuracies of the half-way nets, the parents and the ensemble, the barriers, what they mean
    for linear mode connectivity, and caveats.
    """
    if not report.curves and report.scores:
        return many.many_verdict(report)
    if not report.curves:
        why = report.missing or "There were no images to measure with."
        return f"{why} Known without images: {_equivalence(report)}"
    reading = Reading(report)
    return " ".join([*_halfway(reading), *_barriers(reading), _meaning(reading), *_cautions(reading)])


def _headline(reading: Reading) -> str:
    naive, aligned, final = fall_of(reading.naive), fall_of(reading.aligned), reading.fall
    if reading.guessing:
        return "At least one of the nets is hardly better than guessing, so the path between them is not informative."
    if reading.unequal:
        return _headline_unequal(reading, final)
    if _flat(reading.naive):
        return "A and B behave like the same network along the whole line between them: there is nothing to merge."
    if _flat(reading.aligned) and reading.moved and not reading.mapped:
        return "B is A with its neurons in another order; once B is re-ordered, the two are the same network."
    if naive <= CONNECTED:
        return _headline_connected(reading, final)
    done = _done(reading, needed=aligned > CONNECTED)
    if final <= CONNECTED:
        path = "path between them" if reading.corrected and aligned > CONNECTED else reading.path
        return f"{_begin(reading, naive, aligned)}. {done}, the {path} stays good{_though(reading.final)}."
    if final < naive - CONNECTED and final <= PARTLY:
        near = f"the merge comes within {numbers.points(final)} of the line between the parents, but a barrier remains"
        return f"{_begin(reading, naive, aligned)}. {done}, {near}."
    if final < naive - CONNECTED:
        worse = reading.final.middle("loss") >= reading.naive.middle("loss")
        better = "is right more often than the naive average, but its loss is no lower" if worse else "does better"
        still = ", and it still fails" if worse else ", but still fails"
        return f"{_begin(reading, naive, aligned)}. {done}, the merge {better}{still}."
    tried = _tried(reading)
    if not tried:
        return f"{_begin(reading, naive, aligned)}; neither an alignment nor a correction was chosen."
    return f"{_begin(reading, naive, aligned)}, and {tried} did not help."


def _headline_unequal(reading: Reading, final: float) -> str:
    start = "A and B differ in width, so their weights have no plain average. With B mapped onto A's units"
    start += " and the average corrected" if reading.corrected else ""
    if final <= CONNECTED:
        return f"{start}, the path between them stays good{_though(reading.final)}."
    if final <= PARTLY:
        near = f"the merge comes within {numbers.points(final)} of the line between the parents"
        return f"{start}, {near}, but a barrier remains."
    return f"{start}, the merge still fails."


def _headline_connected(reading: Reading, final: float) -> str:
    good = f"Without any re-ordering, the straight line between A and B is good{_though(reading.naive)}"
    if final > CONNECTED:
        return f"{good}; {_tried(reading)} made it worse."
    rise = _rise_of(reading.final)
    if rise > RISE and rise > _rise_of(reading.naive) + RISE:
        return f"{good}; along the merge's own path the loss rises by {numbers.loss(rise)} nats."
    moved = sum(moved for _, moved in reading.report.groups.values())
    units = sum(units for units, _ in reading.report.groups.values())
    agree = ": the nets already agree on the order of their neurons" if moved <= FEW_MOVED * units else ""
    return f"{good}{agree}."


def _begin(reading: Reading, naive: float, aligned: float) -> str:
    """Begin the headline of a failed average.

    The order of the neurons is named as the cause if re-ordering alone, which keeps B's function, removes most of the
    fall.
    """
    repaired = aligned < min(naive / 2, naive - CONNECTED) and reading.straight and not reading.mapped
    cause = ", because their neurons are in a different order" if repaired else ""
    fails = naive > PARTLY and reading.naive.middle("accuracy") < min(reading.parents) - PARTLY / 2
    return f"{_parents(reading)}, yet their average {'fails' if fails else 'is worse'}{cause}"


def _though(path: LossCurve) -> str:
    """A clause on the rise in loss of a path that keeps its accuracy; "" if the rise is small."""
    rise = _rise_of(path)
    return f" in accuracy, though its loss rises by {numbers.loss(rise)} nats" if rise > RISE else ""


def _rise_of(path: LossCurve) -> float:
    return path.barrier("loss", above="chord").height


def _parents(reading: Reading) -> str:
    first, second = reading.parents
    if abs(first - second) <= EQUAL:
        return "Both nets are equally good"
    better, worse = ("A", "B") if first > second else ("B", "A")
    return f"{better} is better than {worse}"


def _done(reading: Reading, needed: bool = True) -> str:
    """Name the steps that were applied to B and to the average, as the beginning of a sentence.

    needed: whether the path is good only with the correction.
    """
    steps = ["B mapped onto A's units" if reading.mapped else "B re-ordered"] if reading.moved else []
    steps += [] if reading.straight else [f"the nets merged by {reading.combined}"]
    steps += ["the average corrected"] if reading.corrected and (needed or not reading.moved) else []
    return f"With {_listed(steps) if steps else 'both nets unchanged'}"


def _tried(reading: Reading) -> str:
    steps = ["mapping" if reading.mapped else "re-ordering"] if reading.moved else []
    steps += [] if reading.straight else [reading.combined]
    steps += ["correction"] if reading.corrected else []
    return _listed(steps) if steps else ""


def _halfway(reading: Reading) -> Iterator[str]:
    first, second = map(numbers.accuracy, reading.parents)
    (name, curve), *others = _named(reading)
    each = [f"the {name} is right on {numbers.accuracy(curve.middle('accuracy'))} of the {reading.split} images"]
    each += [f"the {name} on {numbers.accuracy(curve.middle('accuracy'))}" for name, curve in others]
    yield f"Half-way between A ({first} right) and B ({second}), {_listed(each)}."
    if reading.split in reading.report.ensemble:
        both = numbers.accuracy(reading.report.ensemble[reading.split].accuracy)
        yield f"An ensemble, which averages the two nets' predictions instead, gives {both} at twice the cost."


def _barriers(reading: Reading) -> Iterator[str]:
    each = [f"{_rise(curve.barrier('loss', above='chord'))} for the {name}" for name, curve in _named(reading)]
    yield f"The barrier, the largest rise of the loss above the straight line from A's to B's loss, is {_listed(each)}."


def _meaning(reading: Reading) -> str:
    fall = reading.fall
    corrected = reading.corrected and fall_of(reading.aligned) > CONNECTED
    order_matters = reading.moved and (reading.unequal or fall_of(reading.naive) > CONNECTED)
    steps = ["their neurons are mapped to each other" if reading.mapped else "their neurons are in the same order"]
    steps = steps if order_matters else []
    steps += ["the average is corrected"] if corrected else []
    order = f", once {' and '.join(steps)}" if steps else ""
    allowed = f"the {numbers.points(CONNECTED)} that Frankle et al. (2020) call stable"
    where = (
        "{} below the parents' mean half-way"
        if reading.ends_elsewhere
        else "at worst {} below the straight line from A's accuracy to B's"
    )
    lost = f"The merge's accuracy falls {where.format(points_beside(max(fall, 0.0), CONNECTED))}"
    if corrected and fall <= CONNECTED:
        return f"{lost}, within {allowed}: the two are connected{order}."
    if not reading.straight and fall <= CONNECTED and not reading.unequal and fall_of(reading.naive) <= CONNECTED:
        return (
            f"{lost}, within {allowed}: the merge's own path, which is not straight, is as good as the straight line."
        )
    if not reading.straight and fall <= CONNECTED:
        return f"{lost}, within {allowed}: the two are connected{order}, though by a path that is not straight."
    if fall <= CONNECTED:
        return f"{lost}, within {allowed}: the two are linearly connected{order}."
    if fall <= PARTLY:
        return f"{lost}, more than {allowed}: the two are only partly connected."
    return f"{lost}, far more than {allowed}: this merge does not connect them."


def _cautions(reading: Reading) -> Iterator[str]:
    first, second = reading.parents
    if abs(first - second) > EQUAL and reading.final.middle("accuracy") < max(first, second):
        yield "The parents are not equally good, and the half-way merge is less accurate than the better one."
    if reading.corrected and reading.final.middle("accuracy") < reading.aligned.middle("accuracy") - 0.01:
        yield "The correction made the half-way net worse."
    if reading.corrected and not reading.ends_elsewhere:
        yield "The corrected path is corrected at its ends too, so it need not start at A and end at B."
    ends = reading.final.accuracy[-1], reading.final.ends[1].accuracy
    if reading.ends_elsewhere and not reading.corrected and abs(ends[0] - ends[1]) > END:
        was, now = numbers.accuracy(ends[1]), numbers.accuracy(float(ends[0]))
        last = "The mapped B" if reading.mapped or reading.unequal else "The last network of the path"
        yield f"{last} does not compute what B computes ({now} right instead of {was}): the path does not end at B."
    yield from dict.fromkeys(step.why for step in next_steps(reading))
    yield from small_differences(reading)
    if reading.naive.images < FEW_IMAGES:
        p, n = reading.final.middle("accuracy"), reading.naive.images
        by = margin(p, n)
        open_ = any(abs(reading.fall - threshold) < by for threshold in (CONNECTED, PARTLY))
        more = ", so that more images may change the conclusion" if open_ else ""
        by_points = numbers.points(by)
        yield f"The merge was measured on {n} images only: accuracies are uncertain by about {by_points}{more}."


def _named(reading: Reading) -> list[tuple[str, LossCurve]]:
    line = [] if reading.unequal else [("naive average", reading.naive)]
    if not reading.corrected and not reading.unequal:
        same = np.array_equal(reading.naive.loss, reading.aligned.loss)
        return [("average", reading.naive)] if same else [*line, ("merge", reading.aligned)]
    if not reading.corrected:
        return [("merge", reading.final)]
    return [*line, ("merge before correction", reading.aligned), ("corrected merge", reading.final)]


def _rise(barrier: Barrier) -> str:
    if barrier.height <= SAME:
        return "none"
    return f"{numbers.loss(barrier.height)} nats (at λ = {numbers.ratio(barrier.at)})"


def _flat(curve: LossCurve) -> bool:
    values = [*curve.loss, *(end.loss for end in curve.ends)]
    return max(values) - min(values) <= SAME


def _equivalence(report: MergeReport) -> str:
    units, moved = (sum(counts[part] for counts in report.groups.values()) for part in (0, 1))
    error = numbers.tiny(report.equivalence)
    return f"{moved} of {units} units of B changed position, which changed B's outputs by {error} of their size."


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
