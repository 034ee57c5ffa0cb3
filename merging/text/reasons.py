"""Sentences on why a merge works or fails, each from a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from merging.results.reports import LayerUnits
from merging.studies.why import Why
from merging.text import numbers

MAPPED = (
    "Here π(B) is B with its units mixed, which is no longer quite B: wherever parents' losses, variances and weights "
    "are named below, it stands for B."
)
COLLAPSED = 0.5  # share of the parents' variance in the last layer, below which the activations are called shrunk
SAME = 0.01  # nats: a lower barrier counts as none
LEADING = 0.5  # share of the barrier above which a layer is said to cause most of it


def reasons(why: Why, units: Sequence[LayerUnits], corrected: bool, mapped: bool = False) -> str:
    """A paragraph on why the merge works or fails.

    units: from the run's report, [] if none were measured.  corrected: whether a correction was applied to the merge.
    mapped: whether the alignment mixed units linearly and not only permuted them.
    """
    text = " ".join([*_order(why), *_variance(why, corrected), *_layers(why), *_match(units), *_answers(why)])
    return f"{MAPPED} {text}" if mapped else text


def died(units: Sequence[LayerUnits]) -> dict[str, int]:
    """The number of units that are alive in both parents and dead in the merge: layer -> number, if measured."""
    layers = [one for one in units if one.images]
    return {one.layer: int((one.dead[one.models.index("merge")] & ~one.dead[:2].any(0)).sum()) for one in layers}


def _order(why: Why) -> Iterator[str]:
    before, after = (float(np.nanmean(row)) for row in why.alignment)
    if after - before < 0.02:
        yield (
            f"Re-ordering B's units brings its weights no nearer to A's: the singular vectors' alignment is "
            f"{numbers.correlation(after)}."
        )
        return
    yield (
        f"Re-ordering B's units brings its weights nearer to A's: the alignment of their singular vectors rises from "
        f"{numbers.correlation(before)} to {numbers.correlation(after)} on average (1 would be equal up to scale)."
    )


def _variance(why: Why, corrected: bool) -> Iterator[str]:
    naive, average, merge = (float(why.variance[net][-1]) for net in ("naive", "average", "merge"))
    if np.isnan(average):
        return
    shrunk = "shrink" if average < COLLAPSED else "keep most of their width" if average < 1.5 else "grow"
    yield (
        f"In the last layer the aligned average's activations {shrunk}: they have {numbers.ratio(average)} of the "
        f"parents' variance (naive average: {numbers.ratio(naive)})."
    )
    if corrected:
        yield f"The correction brings that to {numbers.ratio(merge)}."


def _layers(why: Why) -> Iterator[str]:
    if why.total <= SAME or not len(why.blocks):
        yield f"Half-way, the aligned average's loss is {_above(why.total)} its parents': no barrier to explain."
        return
    worst = int(np.argmax(why.share))
    share = float(why.share[worst]) / why.total
    lead = "causes most of it" if share - 2 * float(why.error[worst]) / why.total > LEADING else "has the largest part"
    yield (
        f"The aligned average's loss is {numbers.loss(why.total)} nats above its parents'; {why.blocks[worst]} {lead} "
        f"({numbers.loss(float(why.share[worst]))} ± {numbers.loss(2 * float(why.error[worst]))} nats)."
    )


def _match(units: Sequence[LayerUnits]) -> Iterator[str]:
    medians = {u.layer: float(np.nanmedian(u.match)) for u in units if u.images and not np.isnan(u.match).all()}
    if not medians:
        return
    worst = min(medians, key=lambda layer: medians[layer])
    dead = sum(died(units).values())
    yield f"Units match worst in {worst}: the median correlation of partners is {numbers.correlation(medians[worst])}."
    if dead:
        subject = "1 unit that lives in both parents is" if dead == 1 else f"{dead} units that live in both parents are"
        yield f"{subject} dead in the merge."


def _answers(why: Why) -> Iterator[str]:
    parents = (why.confidence["A"] + why.confidence["B"]) / 2
    merge = why.confidence["merge"]
    accuracy = why.scores["merge"].accuracy
    sure = "less sure than" if merge < parents - 0.02 else "surer than" if merge > parents + 0.02 else "as sure as"
    yield (
        f"The merge is {sure} its parents (mean confidence {numbers.accuracy(merge)}, theirs "
        f"{numbers.accuracy(parents)}) and right on {numbers.accuracy(accuracy)}."
    )
    gains = f", and it gains {why.gained_count} that neither had." if why.gained_count else "."
    lost, right = numbers.count(why.lost_count), numbers.count(why.both_right)
    yield f"Of {right} images that both parents get right it loses {lost}{gains}"


def _above(total: float) -> str:
    return f"{numbers.loss(abs(total))} nats {'above' if total > 0 else 'below'}"
