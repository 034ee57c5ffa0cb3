"""The right answers of questions, read from stored results. A lesson names a reader and its arguments.

A number becomes a choice where the lesson says which option holds below a bound and which otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.ledger.ledger import Ledger
from merging.results.sweep_report import NAIVE, NAIVE_TRIPLE, marks, measures_of, trends
from merging.teaching.question import LAMBDAS, Answer, Question
from merging.teaching.sources import finding_of, game_round, read_merge, sweep_of, units_of_layer
from merging.teaching.toy import CHANGES, changed_toy, largest_difference
from merging.text.reasons import costliest

Spec = Mapping[str, Any]


def truth_of(ledger: Ledger, question: Question) -> Answer | None:
    """The right answer of a question, None if it has none.

    Raises InvalidSetting if the result is not here, or is no possible answer of the question.
    """
    if not question.truth:
        return None
    known, key = _known(ledger), repr(question)
    if key not in known:
        known[key] = _read(ledger, question)
    return known[key]


@lru_cache(maxsize=8)
def _known(ledger: Ledger) -> dict[str, Answer]:
    """Truths that were read, by the text of their questions: results never change."""
    return {}


def _read(ledger: Ledger, question: Question) -> Answer:
    spec = question.truth
    name = str(spec.get("read", ""))
    if name not in READERS:
        raise InvalidSetting(f"A truth reads {name!r}; known: {', '.join(READERS)}")
    found: Any = None
    try:
        found = READERS[name](ledger, spec)
        if "below" in spec:
            found = spec["then"] if float(found) < float(spec["below"]) else spec["otherwise"]
        return question.checked(found)
    except KeyError as error:
        raise InvalidSetting(f"The truth of {question.prompt!r} lacks {error.args[0]!r}") from error
    except (StopIteration, ValueError, AttributeError, IndexError, TypeError) as error:
        raise InvalidSetting(f"The truth of {question.prompt!r} cannot be read: {error}") from error
    except InvalidRequest as error:
        raise InvalidSetting(f"The truth of {question.prompt!r} is {found!r}, no possible answer: {error}") from error


def _measure(ledger: Ledger, spec: Spec) -> float:
    return measures_of(read_merge(ledger, spec["run"]))[spec["name"]] * float(spec.get("times", 1))


def _curve(ledger: Ledger, spec: Spec) -> tuple[float, ...]:
    curve = read_merge(ledger, spec["run"]).curves[spec["path"]][spec.get("split", "test")]
    values = getattr(curve, spec["metric"]) * float(spec.get("times", 1))
    places = [int(np.argmin(np.abs(curve.lambdas - at))) for at in LAMBDAS]
    return tuple(float(values[place]) for place in places)


def _ranking(ledger: Ledger, spec: Spec) -> tuple[str, ...]:
    """Labels of networks (names of `scores`, or "ensemble"), the best test accuracy first."""
    report = read_merge(ledger, spec["run"])
    scores = {name: splits["test"].accuracy for name, splits in report.scores.items()}
    scores["ensemble"] = report.ensemble["test"].accuracy
    return tuple(spec["labels"][name] for name in sorted(spec["labels"], key=lambda name: -scores[name]))


def _costliest(ledger: Ledger, spec: Spec) -> str:
    return costliest(finding_of(ledger, spec["run"], "why"))


def _variance(ledger: Ledger, spec: Spec) -> float:
    """Variance of the units of the last layer, relative to the parents'."""
    why = finding_of(ledger, spec["run"], "why")
    return float(why.variance[spec["network"]][-1]) * float(spec.get("times", 1))


def _cka(ledger: Ledger, spec: Spec) -> float:
    """CKA after the strongest change of the manipulation lab."""
    return float(finding_of(ledger, spec["run"], "lab").cka[spec["change"]][-1])


def _similarity(ledger: Ledger, spec: Spec) -> float:
    found = read_merge(ledger, spec["run"]).similarity[spec["pair"]]
    return float(found.values[found.row_layers.index(spec["layer"]), found.column_layers.index(spec["layer"])])


def _trend(ledger: Ledger, spec: Spec) -> str:
    """The option for a measure that falls, rises, or does neither in all groups of a sweep."""
    sweep, rows = sweep_of(ledger, spec["run"])
    triple = NAIVE_TRIPLE if spec["name"].startswith(NAIVE) else sweep.triples()[0]
    found = next(one for one in trends(marks(rows, spec["name"].removeprefix(NAIVE))) if one.triple == triple)
    way = "falls" if found.falling == found.groups else "rises" if found.rising == found.groups else "neither"
    return str(spec[way])


def _point(ledger: Ledger, spec: Spec) -> float:
    """Mean of a measure at one value of a sweep's axis."""
    sweep, rows = sweep_of(ledger, spec["run"])
    triple = NAIVE_TRIPLE if spec["name"].startswith(NAIVE) else sweep.triples()[0]
    found = marks(rows, spec["name"].removeprefix(NAIVE))
    return next(mark.mean for mark in found if mark.triple == triple and mark.values[0] == spec["value"]) * float(
        spec.get("times", 1)
    )


def _partner(ledger: Ledger, spec: Spec) -> str:
    """The option ("Picture 1" ...) that shows the partner of the unit in a round of the game."""
    layer, asked = units_of_layer(ledger, spec["run"], spec["layer"]), game_round(ledger, *_round(spec))
    return f"Picture {asked.options.index(int(layer.partner[asked.unit])) + 1}"


def _round(spec: Spec) -> tuple[str, str, int]:
    return spec["run"], spec["layer"], int(spec.get("round", 0))


def _toy(ledger: Ledger, spec: Spec) -> float:
    """Largest change of the output of the network of the first lesson."""
    if spec["change"] not in CHANGES:
        raise InvalidSetting(f"Changes of the small network are {', '.join(CHANGES)}")
    return largest_difference(changed_toy(spec["change"]))


READERS: dict[str, Callable[[Ledger, Spec], Any]] = {
    "measure": _measure,
    "curve": _curve,
    "ranking": _ranking,
    "costliest": _costliest,
    "variance": _variance,
    "cka": _cka,
    "similarity": _similarity,
    "trend": _trend,
    "point": _point,
    "partner": _partner,
    "toy": _toy,
}
