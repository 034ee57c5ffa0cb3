"""Sentences about what a method did, made from the notes in its report by one function per key of the notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from merging.text import numbers

Notes = Mapping[str, Any]
STEADY = 0.9  # share of units with equal results from both halves of the images, from which more images change little
LONG = 3  # names per sentence


def sentences(notes: Notes) -> Iterator[str]:
    """Yield sentences about what a method did, one or two per key of its notes."""
    for needed, tell in _TELLERS:
        if needed in notes:
            yield from tell(notes)


def network_remarks(notes: Notes, grouped: bool) -> Iterator[str]:
    """Yield sentences about the networks, from the notes of tracing. grouped: whether any units may be permuted."""
    if not grouped:
        yield "No units of these networks can be permuted, so there was nothing to align."
    if notes.get("outputs") == "probabilities":
        yield "These networks end in a softmax: their losses are computed from the logarithms of their outputs."
    pinned = notes.get("trace", {}).get("pinned", {})
    if pinned:
        constants = _listed(sorted(set(pinned.values())))
        yield (
            f"The units of {_listed(list(pinned))} keep their order, because another order would change constants that "
            f"are not weights ({constants})."
        )


def _agreement(notes: Notes) -> Iterator[str]:
    if "objective_at_identity" not in notes:
        return
    before, after = (f"{notes[name]:.4g}" for name in ("objective_at_identity", "objective"))
    what = "The agreement of the weights, the sum of their inner products,"
    if before == after:
        yield f"{what} stayed at {after}."
    else:
        way = "rose" if notes["objective"] > notes["objective_at_identity"] else "fell"
        yield f"{what} {way} from {before} to {after}."


def _restarts(notes: Notes) -> Iterator[str]:
    objectives = notes["objectives"]
    if isinstance(objectives, Mapping):  # one objective per start
        others = ", ".join(f"{value:.5g} from the {name}" for name, value in objectives.items())
        yield f"Of the results from all starts ({others}), that from the {notes['start']} was kept."
    elif len(objectives) > 1:
        share = notes["spread"] / max(abs(notes["objective"]), 1e-300)
        yield (
            f"The matching was repeated {len(objectives)} times with other orders of the layers. The agreement reached "
            f"{min(objectives):.5g} to {max(objectives):.5g}, a spread of {numbers.accuracy(share)}; the best result, "
            f"number {notes['best_restart']}, was kept."
        )


def _settled(notes: Notes) -> Iterator[str]:
    passes = len(notes["gains"])
    turns = f"{passes} pass{'es' if passes != 1 else ''}"
    yield (
        f"The search converged after {turns}: no single change could raise the objective any more."
        if notes["settled"]
        else f"The search reached its limit after {turns}, before it converged: raise the limit."
    )


def _quadratic(notes: Notes) -> Iterator[str]:
    if notes["quadratic_groups"]:
        yield (
            f"Some groups ({_listed(notes['quadratic_groups'])}) lie on two axes of one weight. Their assignments "
            "maximise only a linearisation of the objective, and each was kept only if the objective itself rose."
        )


def _polished(notes: Notes) -> Iterator[str]:
    yield (
        f"The search took {len(notes['soft'])} steps with soft permutations. After they were rounded, matching layer "
        f"by layer raised the agreement by another {notes['polished']:.3g}."
    )


def _checked(notes: Notes) -> Iterator[str]:
    values = [value for _, value in notes["checks"]]
    step = notes["chosen"]
    what = "objective" if notes.get("objective") == "weights" else "loss on held-out training images"
    yield (
        f"Of {len(values)} permutations that were checked, the one at step {step} had the lowest {what} "
        f"({min(values):.4g}; at the start {values[0]:.4g})."
    )


def _tried(notes: Notes) -> Iterator[str]:
    losses = [row[-1] for row in notes["tried"]]
    best = losses[kept_row(notes)]
    yield (
        f"{_setting(notes)}: the best of {len(losses)} choices, by the loss on training images held out for this "
        f"choice ({numbers.loss(best)} nats)."
        if best == min(losses)
        else f"{_setting(notes)}, as requested ({numbers.loss(best)} nats on held-out training images; the lowest loss "
        f"that was met is {numbers.loss(min(losses))})."
    )


def _given(notes: Notes) -> Iterator[str]:
    if "tried" not in notes:
        yield f"{_setting(notes)}, as requested."


def _images(notes: Notes) -> Iterator[str]:
    if notes["images"]:
        held_out = notes.get("held_out")
        others = f", and {numbers.count(held_out)} others to choose the best result" if held_out else ""
        yield f"The method used {numbers.count(notes['images'])} training images{others}."


def _stable(notes: Notes) -> Iterator[str]:
    share = _of_units(notes["stable"], notes)
    if share is None:
        return
    steady = "more images would change little" if share >= STEADY else "more images may change it"
    yield f"{numbers.accuracy(share)} of the units get the same result from both halves of the images: {steady}."


def _cost(notes: Notes) -> Iterator[str]:
    costs = notes["cost"]
    if costs:
        worst, mean = max(costs, key=costs.get), float(np.mean(list(costs.values())))
        yield (
            f"On average over the groups, the transport of B's units onto A's costs {numbers.ratio(mean)} times as "
            f"much as pairing units at random. The costliest group is {worst} ({numbers.ratio(costs[worst])} times)."
        )


def _alike(notes: Notes) -> Iterator[str]:
    share = _of_units(notes["alike"], notes)
    if share is not None:
        yield (
            "The result was also chosen on each half of the held-out images separately: "
            f"{numbers.accuracy(share)} of the units have the same partner in both of these results."
        )


def _of_units(shares: Any, notes: Notes) -> float | None:
    """Average a share of units per group over all groups, weighted by size. A plain number is returned unchanged."""
    if not isinstance(shares, Mapping):
        return float(shares)
    sizes = [notes["sizes"].get(name, 1) for name in shares]
    return float(np.average(list(shares.values()), weights=sizes)) if shares else None


def _similar(notes: Notes) -> Iterator[str]:
    worst = min(notes["mean_similarity"], key=notes["mean_similarity"].get, default="")
    if worst:
        value = notes["mean_similarity"][worst]
        yield f"Matched units are least similar in {worst} (mean similarity {numbers.correlation(value)})."


def _dead(notes: Notes) -> Iterator[str]:
    a, b = (sum(pair[side] for pair in notes["dead"].values()) for side in (0, 1))
    if a or b:
        yield f"{a} units of A and {b} of B respond equally to all images, so that their partners mean little."


def _by_weights(notes: Notes) -> Iterator[str]:
    if notes["by_weights"]:
        mixes = "mean_similarity" not in notes
        why = "may not be mixed, or cannot be measured" if mixes else "cannot be measured"
        yield f"Some groups were matched by their weights, because their units {why}: {_listed(notes['by_weights'])}."


def _within(notes: Notes) -> Iterator[str]:
    yield f"{numbers.accuracy(notes['within'])} of the merged units combine units of one network only."


def _lengths(notes: Notes) -> Iterator[str]:
    lengths = ", ".join(f"{length:.3g}" for length in notes["lengths"])
    yield f"The experts' distances from their base are {lengths} (L2 norms of the differences in weights)."


def _batch_norms(notes: Notes) -> Iterator[str]:
    if notes["batch_norms"]:
        yield f"The running statistics of {notes['batch_norms']} BatchNorm layers were re-estimated."


def _reason(notes: Notes) -> Iterator[str]:
    yield notes["reason"]


def _corrected(notes: Notes) -> Iterator[str]:
    if notes["corrected"]:
        layers = numbers.counted(len(notes["corrected"]), "layer")
        verb = "was" if len(notes["corrected"]) == 1 else "were"
        yield f"{layers} {verb} corrected: {_listed(notes['corrected'])}."
    if notes.get("not_shifted"):
        yield f"Without a bias, only the standard deviation was corrected: {_listed(notes['not_shifted'])}."
    if notes.get("left_out"):
        yield (
            f"Not corrected: {_listed(notes['left_out'])}. These are no weights of a linear layer or convolution of "
            "torch.nn, are shared by several layers, or belong to a norm with weights for every position."
        )


_TELLERS: tuple[tuple[str, Callable[[Notes], Iterator[str]]], ...] = (
    ("reason", _reason),
    ("objective", _agreement),
    ("objectives", _restarts),
    ("settled", _settled),
    ("polished", _polished),
    ("quadratic_groups", _quadratic),
    ("checks", _checked),
    ("tried", _tried),
    ("gamma", _given),
    ("alpha", _given),
    ("scale", _given),
    ("lengths", _lengths),
    ("within", _within),
    ("cost", _cost),
    ("mean_similarity", _similar),
    ("dead", _dead),
    ("by_weights", _by_weights),
    ("batch_norms", _batch_norms),
    ("corrected", _corrected),
    ("images", _images),
    ("stable", _stable),
    ("alike", _alike),
)


SETTINGS = {
    "gamma": "Gamma",
    "alpha": "Alpha",
    "beta": "beta",
    "scale": "Scale",
    "rate": "Learning rate",
    "epoch": "epoch",
}


def _setting(notes: Notes) -> str:
    """Return the settings of the method with their values, such as "Gamma 0.5, beta 1"."""
    return ", ".join(f"{label} {notes[name]:g}" for name, label in SETTINGS.items() if name in notes)


def kept_row(notes: Notes) -> int:
    """Return the index of the row of `tried` with the settings that the method finally used."""
    settings = [notes[name] for name in SETTINGS if name in notes]
    return [setting_values(row) for row in notes["tried"]].index(settings)


def setting_values(row: list[Any]) -> list[float]:
    """Return the settings in a row of `tried`, whose last entry is the loss."""
    first, *rest = row[:-1]
    return [*first, *rest] if isinstance(first, list) else [first, *rest]


def _listed(names: list[str]) -> str:
    first = ", ".join(names[:LONG])
    return f"{first} and {len(names) - LONG} more" if len(names) > LONG else first
