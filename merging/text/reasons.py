"""Sentences on why a merge works or fails, each from a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from merging.naming import first_of_block
from merging.results.reports import LayerUnits
from merging.studies.why import Why
from merging.text import numbers

MAPPED = (
    "Here π(B) is B with its units mixed linearly, so that it computes a slightly different function. Wherever losses, "
    "variances or weights of the parents are named below, they are those of A and π(B)."
)
MANY = (
    "{count} networks were merged. Below, the parents, the aligned average and the ensemble are those of A and B; the "
    "naive average and the merge are those of all."
)
COLLAPSED = 0.5  # share of the parents' variance in the last layer below which activations are called shrunk
SAME = 0.01  # nats: a barrier up to this height counts as none
LEADING = 0.5  # share of the barrier above which a layer is said to contribute most of it


def reasons(
    why: Why,
    units: Sequence[LayerUnits],
    corrected: bool,
    mapped: bool = False,
    share_images: int = 0,
    networks: int = 2,
) -> str:
    """Return a paragraph on why the merge works or fails.

    Args:
        why: the measurements.
        units: from the run's report, [] if none were measured.
        corrected: whether a correction changed the merge.
        mapped: whether the alignment mixed units linearly instead of only permuting them.
        share_images: number of images on which the layers' shares were measured, 0 for all.
        networks: number of merged networks.
    """
    few = share_images if share_images < why.images else 0
    first = [MANY.format(count=networks)] if networks > 2 else []
    first += [MAPPED] if mapped else []
    found = [*_order(why), *_variance(why, corrected), *_layers(why, few), *_match(units), *_answers(why)]
    return " ".join([*first, *found])


def died(units: Sequence[LayerUnits]) -> dict[str, int]:
    """Count the units that are alive in both parents but dead in the merge: measured layer -> number."""
    layers = [one for one in units if one.images]
    return {one.layer: int((one.dead[one.models.index("merge")] & ~one.dead[:2].any(0)).sum()) for one in layers}


def costliest(why: Why) -> str:
    """Return the first layer of the block with the largest share of the barrier; "" if there is no barrier."""
    if why.total <= SAME or not len(why.blocks):
        return ""
    return first_of_block(why.blocks[int(np.argmax(why.share))])


def _order(why: Why) -> Iterator[str]:
    before, after = (float(np.nanmean(row)) for row in why.alignment)
    if after - before < 0.02:
        yield (
            f"Re-ordering B's units brings its weights no closer to A's: the alignment of their singular vectors is "
            f"{numbers.correlation(after)}."
        )
        return
    yield (
        f"Re-ordering B's units brings its weights closer to A's: the alignment of their singular vectors rises from "
        f"{numbers.correlation(before)} to {numbers.correlation(after)} on average (1 would mean equal up to scale)."
    )


def _variance(why: Why, corrected: bool) -> Iterator[str]:
    naive, average, merge = (float(why.variance[net][-1]) for net in ("naive", "average", "merge"))
    if np.isnan(average):
        return
    shrunk = "shrink" if average < COLLAPSED else "keep most of their variance" if average < 1.5 else "grow"
    yield (
        f"In the last layer the activations of the aligned average {shrunk}: their variance is "
        f"{numbers.ratio(average)} times the parents' (naive average: {numbers.ratio(naive)} times)."
    )
    if corrected:
        yield f"The correction changes this ratio to {numbers.ratio(merge)}."


def _layers(why: Why, few: int) -> Iterator[str]:
    """few: number of images on which the shares were measured, 0 for all; the losses of these may differ from all."""
    on = f" on {numbers.count(few)} of the {numbers.count(why.images)} images" if few else ""
    if why.total <= SAME or not len(why.blocks):
        yield f"Half-way, the aligned average's loss is {_above(why.total)} the parents'{on}: no barrier to explain."
        return
    worst = int(np.argmax(why.share))
    bound = numbers.loss(2 * float(why.error[worst]))
    share = float(why.share[worst]) / why.total
    lead = (
        "contributes most of this"
        if share - 2 * float(why.error[worst]) / why.total > LEADING
        else "contributes the largest part"
    )
    yield (
        f"The loss of the aligned average is {numbers.loss(why.total)} nats above its parents'{on}; "
        f"{why.blocks[worst]} {lead} ({numbers.loss(float(why.share[worst]))} ± {bound} nats)."
    )


def _match(units: Sequence[LayerUnits]) -> Iterator[str]:
    medians = {u.layer: float(np.nanmedian(u.match)) for u in units if u.images and not np.isnan(u.match).all()}
    if not medians:
        return
    worst = min(medians, key=lambda layer: medians[layer])
    dead = sum(died(units).values())
    lowest = numbers.correlation(medians[worst])
    yield f"Units match worst in {worst}: the median correlation of matched units is {lowest}."
    if dead:
        subject = (
            "1 unit that is alive in both parents is"
            if dead == 1
            else f"{dead} units that are alive in both parents are"
        )
        yield f"{subject} dead in the merge."


def _answers(why: Why) -> Iterator[str]:
    parents = (why.confidence["A"] + why.confidence["B"]) / 2
    merge = why.confidence["merge"]
    accuracy = why.scores["merge"].accuracy
    lower, higher = merge < parents - 0.02, merge > parents + 0.02
    sure = "less confident than" if lower else "more confident than" if higher else "as confident as"
    yield (
        f"The merge is {sure} its parents (mean confidence {numbers.accuracy(merge)} against "
        f"{numbers.accuracy(parents)}), and its accuracy is {numbers.accuracy(accuracy)}."
    )
    gains = (
        f" It classifies {why.gained_count} images correctly that both parents misclassify." if why.gained_count else ""
    )
    lost, right = numbers.count(why.lost_count), numbers.count(why.both_right)
    yield f"Both parents classify {right} images correctly. The merge misclassifies {lost} of these.{gains}"


def _above(total: float) -> str:
    return f"{numbers.loss(abs(total))} nats {'above' if total > 0 else 'below'}"
