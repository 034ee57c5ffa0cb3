"""Sentences on what a method did, from the notes in its report. Each key of the notes has its sentence here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from merging.text import numbers

Notes = Mapping[str, Any]
STEADY = 0.9  # share of units with the same result from both halves of the images: above, more images change little
LONG = 3  # names per sentence


def sentences(notes: Notes) -> Iterator[str]:
    """Sentences on what a method did, one or two per key of its notes."""
    for needed, tell in _TELLERS:
        if needed in notes:
            yield from tell(notes)


def network_remarks(notes: Notes, grouped: bool) -> Iterator[str]:
    """Sentences on the networks, from the notes of tracing. grouped: whether any units may be permuted."""
    if not grouped:
        yield "No units of these networks may change places, so there was nothing to align."
    if notes.get("outputs") == "probabilities":
        yield "These networks end in a softmax: their losses are taken of the logarithms of what they put out."
    pinned = notes.get("trace", {}).get("pinned", {})
    if pinned:
        constants = _listed(sorted(set(pinned.values())))
        verb = "keeps its" if len(pinned) == 1 else "keep their"
        yield f"{_listed(list(pinned))} {verb} order: constants that are no weights ({constants}) belong to it."


def _agreement(notes: Notes) -> Iterator[str]:
    if "objective_at_identity" not in notes:
        return
    before, after = notes["objective_at_identity"], notes["objective"]
    yield f"The agreement of the weights, the sum of their inner products, rose from {before:.4g} to {after:.4g}."


def _restarts(notes: Notes) -> Iterator[str]:
    objectives = notes["objectives"]
    if isinstance(objectives, Mapping):  # one objective per start
        others = ", ".join(f"{value:.5g} from the {name}" for name, value in objectives.items())
        yield f"Of its starts ({others}) the {notes['start']} was kept."
    elif len(objectives) > 1:
        share = notes["spread"] / max(abs(notes["objective"]), 1e-300)
        yield (
            f"{len(objectives)} restarts ended between {min(objectives):.5g} and {max(objectives):.5g}, "
            f"{numbers.accuracy(share)} apart; the best, number {notes['best_restart']}, was kept."
        )


def _settled(notes: Notes) -> Iterator[str]:
    passes = len(notes["gains"])
    turns = f"{passes} pass{'es' if passes != 1 else ''}"
    yield (
        f"It stopped by itself after {turns}: no single move could gain any more."
        if notes["settled"]
        else f"It was stopped after {turns}, before it was done: allow more."
    )


def _quadratic(notes: Notes) -> Iterator[str]:
    if notes["quadratic_groups"]:
        yield (
            f"{_listed(notes['quadratic_groups'])} lie on both axes of one weight: for them an assignment is only a "
            "linearisation of the true gain, and was taken only where it gained."
        )


def _polished(notes: Notes) -> Iterator[str]:
    yield (
        f"Soft permutations moved {len(notes['soft'])} times; once they were rounded, moving single layers gained "
        f"another {notes['polished']:.3g}."
    )


def _checked(notes: Notes) -> Iterator[str]:
    values = [value for _, value in notes["checks"]]
    step = notes["chosen"]
    what = "objective" if notes.get("objective") == "weights" else "loss on held-out training images"
    yield (
        f"Of {len(values)} permutations on the way the one at step {step} had the lowest {what} "
        f"({min(values):.4g}; at the start {values[0]:.4g})."
    )


def _tried(notes: Notes) -> Iterator[str]:
    losses = [row[-1] for row in notes["tried"]]
    best = losses[kept_row(notes)]
    yield (
        f"{_setting(notes)}: the best of {len(losses)} choices on training images held out for that "
        f"({numbers.loss(best)} nats)."
        if best == min(losses)
        else f"{_setting(notes)}, as asked for ({numbers.loss(best)} nats on held-out training images; the lowest on "
        f"the way was {numbers.loss(min(losses))})."
    )


def _given(notes: Notes) -> Iterator[str]:
    if "tried" not in notes:
        yield f"{_setting(notes)}, as asked for."


def _images(notes: Notes) -> Iterator[str]:
    if notes["images"]:
        held_out = notes.get("held_out")
        judged = f", and was judged by {numbers.count(held_out)} others" if held_out else ""
        yield f"It looked at {numbers.count(notes['images'])} training images{judged}."


def _stable(notes: Notes) -> Iterator[str]:
    share = _of_units(notes["stable"], notes)
    if share is None:
        return
    steady = "more images would change little" if share >= STEADY else "more images may change it"
    yield f"By either half of the images {numbers.accuracy(share)} of the units get the same answer: {steady}."


def _cost(notes: Notes) -> Iterator[str]:
    costs = notes["cost"]
    if costs:
        worst, mean = max(costs, key=costs.get), float(np.mean(list(costs.values())))
        yield (
            f"Moving B's units onto A's costs {numbers.ratio(mean)} of what moving them "
            f"anywhere would, on average over the groups; most in {worst} ({numbers.ratio(costs[worst])})."
        )


def _alike(notes: Notes) -> Iterator[str]:
    share = _of_units(notes["alike"], notes)
    if share is not None:
        yield (
            f"Had either half of the held-out images chosen alone, {numbers.accuracy(share)} of the units would have "
            "got the same partner."
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
        yield f"Matched units are least alike in {worst} (mean similarity {numbers.correlation(value)})."


def _dead(notes: Notes) -> Iterator[str]:
    a, b = (sum(pair[side] for pair in notes["dead"].values()) for side in (0, 1))
    if a or b:
        yield f"{a} units of A and {b} of B answer all images alike: they were matched by their place alone."


def _by_weights(notes: Notes) -> Iterator[str]:
    if notes["by_weights"]:
        yield f"{_listed(notes['by_weights'])} were matched by their weights: their units can only change places."


def _within(notes: Notes) -> Iterator[str]:
    yield f"{numbers.accuracy(notes['within'])} of the merged units joined units of one network alone."


def _lengths(notes: Notes) -> Iterator[str]:
    lengths = ", ".join(f"{length:.3g}" for length in notes["lengths"])
    yield f"The experts lie {lengths} from their base (L2 norm of what was added)."


def _batch_norms(notes: Notes) -> Iterator[str]:
    if notes["batch_norms"]:
        yield f"The running statistics of {notes['batch_norms']} BatchNorm layers were measured anew."


def _reason(notes: Notes) -> Iterator[str]:
    yield notes["reason"]


def _corrected(notes: Notes) -> Iterator[str]:
    yield f"{len(notes['corrected'])} layers were corrected: {_listed(notes['corrected'])}."
    if notes["not_shifted"]:
        yield f"{_listed(notes['not_shifted'])} have no bias, so only their spread was corrected."


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
    """The settings of the method with their values, such as "Gamma 0.5, beta 1"."""
    return ", ".join(f"{label} {notes[name]:g}" for name, label in SETTINGS.items() if name in notes)


def kept_row(notes: Notes) -> int:
    """Index of the row of `tried` with the settings that the method used in the end."""
    settings = [notes[name] for name in SETTINGS if name in notes]
    return [setting_values(row) for row in notes["tried"]].index(settings)


def setting_values(row: list[Any]) -> list[float]:
    """The settings in a row of `tried`, whose last entry is the loss."""
    first, *rest = row[:-1]
    return [*first, *rest] if isinstance(first, list) else [first, *rest]


def _listed(names: list[str]) -> str:
    first = ", ".join(names[:LONG])
    return f"{first} and {len(names) - LONG} more" if len(names) > LONG else first
