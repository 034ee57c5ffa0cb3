"""What the methods of a run did, in words and as courses to draw, from the notes in its report.

All methods note what they found in one vocabulary (`objective`, `tried`, `stable` ...): a method that uses it is
accounted for here without another line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from merging.figures import numbers
from merging.methods import ROLES, Role, find
from merging.results import MergeReport

Notes = Mapping[str, Any]
STEADY = (
    0.9  # share of units that get one partner from either half of the images, from which the answer is called steady
)
LONG = 3  # names that a sentence lists at most


@dataclass(frozen=True)
class Course:
    """A course to draw: y (P,) at x (P,).

    words: (P,) names of the points where x only counts them, else ().  chosen: the place of the point that was kept,
    or None.
    """

    title: str
    x_title: str
    y_title: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    words: tuple[str, ...] = ()
    chosen: int | None = None


@dataclass(frozen=True)
class Account:
    """What one method did. summary: what it always does; sentences: what it did here.  model: which network that is
    told of ("B"), "" for all."""

    role: Role
    label: str
    summary: str
    sentences: tuple[str, ...]
    courses: tuple[Course, ...] = ()
    model: str = ""


def accounts(report: MergeReport) -> tuple[Account, ...]:
    """One a role, or one a network where a method took them in turns, in the order in which they were at work."""
    found: list[Account] = []
    for role in ROLES:
        method = find(role, report.request.get(role, "none"))
        notes = report.notes.get(role, {})
        shared = {key: value for key, value in notes.items() if key != "by_model"}
        for model, own in notes.get("by_model", {"": {}}).items():
            told = {**own, **shared}
            words, drawn = tuple(_sentences(told)), tuple(_courses(told))
            found.append(Account(role, method.label, method.summary, words, drawn, model))
    return tuple(found)


def _sentences(notes: Notes) -> Iterator[str]:
    for needed, tell in _TELLERS:
        if needed in notes:
            yield from tell(notes)


def _agreement(notes: Notes) -> Iterator[str]:
    if "objective_at_identity" not in notes:
        return
    before, after = notes["objective_at_identity"], notes["objective"]
    yield f"The agreement of the weights, the sum of their inner products, rose from {before:.4g} to {after:.4g}."


def _restarts(notes: Notes) -> Iterator[str]:
    found = notes["objectives"]
    if isinstance(found, Mapping):  # one a start
        others = ", ".join(f"{value:.5g} from the {name}" for name, value in found.items())
        yield f"Of its starts ({others}) the {notes['start']} was kept."
    elif len(found) > 1:
        share = notes["spread"] / max(abs(notes["objective"]), 1e-300)
        yield (
            f"{len(found)} restarts ended between {min(found):.5g} and {max(found):.5g}, {numbers.accuracy(share)} "
            f"apart; the best, number {notes['best_restart']}, was kept."
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
    kept = notes["chosen"]
    what = "objective" if notes.get("objective") == "weights" else "loss on held-out training images"
    yield (
        f"Of {len(values)} permutations on the way the one at step {kept} had the lowest {what} "
        f"({min(values):.4g}; at the start {values[0]:.4g})."
    )


def _tried(notes: Notes) -> Iterator[str]:
    losses = [row[-1] for row in notes["tried"]]
    kept = losses[_kept(notes)]
    yield (
        f"{_setting(notes)}: the best of {len(losses)} choices on training images held out for that "
        f"({numbers.loss(kept)} nats)."
        if kept == min(losses)
        else f"{_setting(notes)}, as asked for ({numbers.loss(kept)} nats on held-out training images; the lowest on "
        f"the way was {numbers.loss(min(losses))})."
    )


def _given(notes: Notes) -> Iterator[str]:
    if "tried" not in notes:
        yield f"{_setting(notes)}, as asked for."


def _images(notes: Notes) -> Iterator[str]:
    if notes["images"]:
        yield f"It looked at {numbers.count(notes['images'])} training images."


def _stable(notes: Notes) -> Iterator[str]:
    found = notes["stable"]
    shares = [value for value in (found.values() if isinstance(found, Mapping) else [found]) if value is not None]
    if not shares:
        return
    share = float(np.mean(shares))
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
)


_SETTINGS = {
    "gamma": "Gamma",
    "alpha": "Alpha",
    "beta": "beta",
    "scale": "Scale",
    "rate": "Learning rate",
    "epoch": "epoch",
}


def _setting(notes: Notes) -> str:
    """The settings that were chosen or given, with their values."""
    return ", ".join(f"{label} {notes[name]:g}" for name, label in _SETTINGS.items() if name in notes)


def _kept(notes: Notes) -> int:
    """Which of the rows of `tried` has the settings that were kept."""
    kept = [notes[name] for name in _SETTINGS if name in notes]
    return [_values(row) for row in notes["tried"]].index(kept)


def _values(row: list[Any]) -> list[float]:
    """A row of `tried` without its loss."""
    first, *rest = row[:-1]
    return [*first, *rest] if isinstance(first, list) else [first, *rest]


def _courses(notes: Notes) -> Iterator[Course]:
    if "gains" in notes and len(notes["gains"]) > 1:
        yield _counted("Gain of every pass", "pass", "gain in agreement", notes["gains"], 1)
    if "soft" in notes and len(notes["soft"]) > 1:
        yield _counted("Soft permutations", "step", "agreement of the weights", notes["soft"], 0)
    if "checks" in notes:
        steps, values = zip(*notes["checks"], strict=True)
        y_title = "objective" if notes.get("objective") == "weights" else "held-out loss (nats)"
        yield Course("On the way", "step", y_title, steps, values, chosen=steps.index(notes["chosen"]))
    if "tried" in notes:
        values = tuple(float(row[-1]) for row in notes["tried"])
        words = tuple(", ".join(f"{value:g}" for value in _values(row)) for row in notes["tried"])
        x = tuple(float(number) for number in range(len(values)))
        names = ", ".join(label.lower() for name, label in _SETTINGS.items() if name in notes)
        yield Course("What was tried", names, "held-out loss (nats)", x, values, words, chosen=_kept(notes))


def _counted(title: str, x_title: str, y_title: str, values: list[float], first: int) -> Course:
    return Course(title, x_title, y_title, tuple(float(first + k) for k in range(len(values))), tuple(values))


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:LONG])
    return f"{shown} and {len(names) - LONG} more" if len(names) > LONG else shown
