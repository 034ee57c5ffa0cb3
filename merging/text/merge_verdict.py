"""A report in plain words: one sentence for the headline, a paragraph below it, and a short status.

Everything is decided by the numbers and by the thresholds below, on the test images where there are some.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from merging.results.reports import Barrier, LossCurve, MergeReport
from merging.text import many_verdict, numbers
from merging.text.reading import CONNECTED, FEW_IMAGES, PARTLY, Reading, beside, fall_of, margin

END = 0.005  # difference in accuracy from which a path is said to end elsewhere
EQUAL = 0.02  # difference of the parents' accuracies up to which they are called equally good
RISE = 0.1  # nats: a path whose loss rises further is not called good without saying so
SAME = 1e-4  # nats: a path that departs less from its ends than this is flat
SHRUNK = 0.75  # of the parents' standard deviation: averaged units below it have lost their scale
FEW_MOVED = 0.1  # of all units: up to here the nets are said to agree on the order


def word(report: MergeReport) -> str:
    """ "connected", "partly connected" or "not connected": the merge's path by its largest fall in accuracy;
    "as good", "worse" or "failed" for more than two networks; "not measured" without images."""
    if not report.curves:
        return many_verdict.status(report) if report.scores else "not measured"
    return Reading(report).status


def headline(report: MergeReport) -> str:
    """One or two sentences: what the half-way numbers mean."""
    if not report.curves and report.scores:
        return many_verdict.headline(report)
    if not report.curves:
        return "B was re-ordered and merged with A. What the merge is worth was not measured."
    return _headline(Reading(report))


def verdict(report: MergeReport) -> str:
    """A paragraph: the half-way accuracies beside the parents' and the ensemble's, the barriers, what they mean for
    linear mode connectivity, and what to be careful about."""
    if not report.curves and report.scores:
        return many_verdict.verdict(report)
    if not report.curves:
        why = report.missing or "There were no images to measure with."
        return f"{why} What holds without images: {_equivalence(report)}"
    reading = Reading(report)
    return " ".join([*_halfway(reading), *_barriers(reading), _meaning(reading), *_cautions(reading)])


def _headline(found: Reading) -> str:
    naive, aligned, final = fall_of(found.naive), fall_of(found.aligned), found.fall
    if found.guessing:
        return "At least one of the nets is hardly better than guessing, so the path between them says little."
    if found.unequal:
        return _headline_unequal(found, final)
    if _flat(found.naive):
        return "A and B behave as one network all along the line between them: there is nothing to merge."
    if _flat(found.aligned) and found.moved and not found.mapped:
        return "B is A with its neurons in another order: re-ordered, the two are the same network."
    if naive <= CONNECTED:
        return _headline_connected(found, final)
    done = _done(found, needed=aligned > CONNECTED)
    if final <= CONNECTED:
        path = "path between them" if found.corrected and aligned > CONNECTED else found.path
        return f"{_begin(found, naive, aligned)}. {done}, the {path} stays good{_though(found.final)}."
    if final < naive - CONNECTED and final <= PARTLY:
        near = f"it comes within {numbers.points(final)} of them, but a barrier remains"
        return f"{_begin(found, naive, aligned)}. {done}, {near}."
    if final < naive - CONNECTED:
        worse = found.final.middle("loss") >= found.naive.middle("loss")
        better = "it is right more often, though its loss is no lower" if worse else "it does better"
        return f"{_begin(found, naive, aligned)}. {done}, {better}, but the merge still fails."
    return f"{_begin(found, naive, aligned)}, and {_tried(found)} did not help."


def _headline_unequal(found: Reading, final: float) -> str:
    known = "A and B differ in width, so their weights have no plain average. With B mapped onto A's units"
    known += " and the average corrected" if found.corrected else ""
    if final <= CONNECTED:
        return f"{known}, the path between them stays good{_though(found.final)}."
    if final <= PARTLY:
        return f"{known}, the merge comes within {numbers.points(final)} of them, but a barrier remains."
    return f"{known}, the merge still fails."


def _headline_connected(found: Reading, final: float) -> str:
    good = f"The straight line between A and B is good{_though(found.naive) or ' as it is'}, without any re-ordering"
    if final > CONNECTED:
        return f"{good}; {_tried(found)} made it worse."
    rise = _rise_of(found.final)
    if rise > RISE and rise > _rise_of(found.naive) + RISE:
        return f"{good}; along the merge's own path the loss rises by {numbers.loss(rise)} nats."
    moved = sum(moved for _, moved in found.report.groups.values())
    units = sum(units for units, _ in found.report.groups.values())
    agree = ": the nets already agree on the order of their neurons" if moved <= FEW_MOVED * units else ""
    return f"{good}{agree}."


def _begin(found: Reading, naive: float, aligned: float) -> str:
    """The order of the neurons is called the cause where re-ordering alone, which keeps B's function, repairs most."""
    repaired = aligned < min(naive / 2, naive - CONNECTED) and found.straight and not found.mapped
    cause = ", because their neurons are in a different order" if repaired else ""
    fails = naive > PARTLY and found.naive.middle("accuracy") < min(found.parents) - PARTLY / 2
    return f"{_parents(found)}, yet their average {'fails' if fails else 'is worse'}{cause}"


def _though(path: LossCurve) -> str:
    """What a path that keeps its accuracy loses all the same."""
    rise = _rise_of(path)
    return f" in accuracy, though its loss rises by {numbers.loss(rise)} nats" if rise > RISE else ""


def _rise_of(path: LossCurve) -> float:
    return path.barrier("loss", above="chord").height


def _parents(found: Reading) -> str:
    first, second = found.parents
    if abs(first - second) <= EQUAL:
        return "Both nets are equally good"
    better, worse = ("A", "B") if first > second else ("B", "A")
    return f"{better} is better than {worse}"


def _done(found: Reading, needed: bool = True) -> str:
    """What was done to B and to the average, as the beginning of a sentence. needed: whether the correction was."""
    steps = ["mapped" if found.mapped else "re-ordered"] if found.moved else []
    steps += [] if found.straight else [f"merged by {found.combined}"]
    steps += ["corrected"] if found.corrected and (needed or not found.moved) else []
    done = _listed(steps) if steps else "left as they are"
    return done[0].upper() + done[1:]


def _tried(found: Reading) -> str:
    steps = ["mapping" if found.mapped else "re-ordering"] if found.moved else []
    steps += [] if found.straight else [found.combined]
    steps += ["correction"] if found.corrected else []
    return _listed(steps) if steps else "leaving the neurons where they are"


def _halfway(found: Reading) -> Iterator[str]:
    first, second = map(numbers.accuracy, found.parents)
    (name, curve), *others = _named(found)
    each = [f"the {name} is right on {numbers.accuracy(curve.middle('accuracy'))} of the {found.split} images"]
    each += [f"the {name} on {numbers.accuracy(curve.middle('accuracy'))}" for name, curve in others]
    yield f"Half-way between A ({first} right) and B ({second}), {_listed(each)}."
    if found.split in found.report.ensemble:
        both = numbers.accuracy(found.report.ensemble[found.split].accuracy)
        yield f"Averaging the two nets' answers instead, an ensemble, gives {both} at twice the cost."


def _barriers(found: Reading) -> Iterator[str]:
    each = [f"{_rise(curve.barrier('loss', above='chord'))} for the {name}" for name, curve in _named(found)]
    yield f"The loss barrier, the largest rise above the chord between A and B, is {_listed(each)}."


def _meaning(found: Reading) -> str:
    fall = found.fall
    corrected = found.corrected and fall_of(found.aligned) > CONNECTED
    order_matters = found.moved and (found.unequal or fall_of(found.naive) > CONNECTED)
    steps = ["their neurons are mapped to each other" if found.mapped else "their neurons are in one order"]
    steps = steps if order_matters else []
    steps += ["the average is corrected"] if corrected else []
    order = f", once {' and '.join(steps)}" if steps else ""
    allowed = f"the {numbers.points(CONNECTED)} that Frankle et al. (2020) take for stable"
    where = "{} below the parents' mean half-way" if found.ends_elsewhere else "at most {} below the chord from A to B"
    lost = f"Accuracy falls by {where.format(beside(max(fall, 0.0), CONNECTED))}"
    if corrected and fall <= CONNECTED:
        return f"{lost}, within {allowed}: the two are connected{order}."
    if not found.straight and fall <= CONNECTED and not found.unequal and fall_of(found.naive) <= CONNECTED:
        return (
            f"{lost}, within {allowed}: the merge's own path, which is not straight, is as good as the straight line."
        )
    if not found.straight and fall <= CONNECTED:
        return f"{lost}, within {allowed}: the two are connected{order}, though by a path that is not straight."
    if fall <= CONNECTED:
        return f"{lost}, within {allowed}: the two are linearly connected{order}."
    if fall <= PARTLY:
        return f"{lost}, more than {allowed}: the two are only partly connected."
    return f"{lost}, far more than {allowed}: this merge does not connect them."


def _cautions(found: Reading) -> Iterator[str]:
    first, second = found.parents
    if abs(first - second) > EQUAL and found.final.middle("accuracy") < max(first, second):
        yield "The parents are not equally good, so a merge half-way is worth less than the better one."
    if found.corrected and found.final.middle("accuracy") < found.aligned.middle("accuracy") - 0.01:
        yield "The correction made the half-way net worse than leaving it alone."
    if found.corrected:
        yield "The corrected path is corrected at its ends too, so it need not start and stop at A and B."
    ends = found.final.accuracy[-1], found.final.ends[1].accuracy
    if found.ends_elsewhere and not found.corrected and abs(ends[0] - ends[1]) > END:
        was, now = numbers.accuracy(ends[1]), numbers.accuracy(float(ends[0]))
        yield f"B mapped onto A's units is no longer B ({now} right instead of {was}): the path does not end at B."
    if not found.corrected and found.fall > CONNECTED:
        yield from _advice(found)
    if found.naive.images < FEW_IMAGES:
        p, n = found.final.middle("accuracy"), found.naive.images
        by = margin(p, n)
        open_ = any(abs(found.fall - threshold) < by for threshold in (CONNECTED, PARTLY))
        more = ", so that more images may change the conclusion" if open_ else ""
        yield f"It was measured on {n} images only: accuracies are uncertain by about {numbers.points(by)}{more}."


def _advice(found: Reading) -> Iterator[str]:
    """What to try where a barrier remains and nothing was corrected."""
    normed = any(layer.kind == "norm" for layer in found.report.layers)
    if found.report.notes.get("trace", {}).get("batch_norms", normed):
        yield (
            "This network has BatchNorm, whose averaged running statistics do not fit the averaged weights. Try a "
            "correction, BatchNorm reset or REPAIR."
        )
    elif (scale := _scale(found.report)) < SHRUNK:
        yield (
            f"In its last layers the merge's units vary {numbers.ratio(scale)} times as widely as the parents': "
            "averaging has shrunk them. Try the correction REPAIR."
        )
    if found.moved and not found.unequal and fall_of(found.final) > fall_of(found.naive) - CONNECTED:
        yield "Re-ordering alone did not help here. Try another alignment, or the correction first."
    if not found.moved:
        yield "B's neurons stayed where they were. Try an alignment that moves them."


def _scale(report: MergeReport) -> float:
    """Median standard deviation of the merge's units over the mean of the parents', in the last third of the layers;
    NaN where it is not known."""
    layers = report.units[-max(1, len(report.units) // 3) :]
    shares: list[float] = []
    for layer in layers:
        std = dict(zip(layer.models, layer.std, strict=True))
        alive = std["A"] + std["pi(B)"] > 0
        shares.extend((2 * std["merge"] / (std["A"] + std["pi(B)"]).clip(1e-30))[alive] if "merge" in std else ())
    return float(np.median(shares)) if shares else float("nan")


def _named(found: Reading) -> list[tuple[str, LossCurve]]:
    named = [] if found.unequal else [("naive average", found.naive)]
    if not found.corrected and not found.unequal:
        same = np.array_equal(found.naive.loss, found.aligned.loss)
        return [("average", found.naive)] if same else [*named, ("merge", found.aligned)]
    if not found.corrected:
        return [("merge", found.final)]
    return [*named, ("merge before correction", found.aligned), ("corrected merge", found.final)]


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
    return f"{moved} of {units} units of B found another place, which changed B's outputs by {error} of their size."


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
