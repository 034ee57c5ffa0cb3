"""Questions of lessons: what may be answered, how near an answer is to the truth, and how both are written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merging.errors import InvalidRequest, InvalidSetting
from merging.teaching.lesson_file import checked_fields

KINDS = ("number", "choice", "order", "curve", "text")
LONGEST = 600  # characters of a free text
FINEST = 1e-9  # smallest step, relative to the largest number that can be answered
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # where a curve is predicted
Answer = float | str | tuple[Any, ...]


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        kind: "number", "choice" (one of `options`), "order" (all `options`, first to last), "curve" (one number per
            lambda in LAMBDAS) or "text" (never judged).
        prompt: the question.
        truth: where the right answer is read (see `truths`); empty for a question without one.
        options: the options of a choice or an order.
        low, high, step: bounds and steps of numbers and curves.
        unit: unit of numbers and curves.
        near: a number is right if it is at most this far from the truth.
    """

    kind: str
    prompt: str
    truth: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 100.0
    step: float = 1.0
    unit: str = ""
    near: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidSetting(f"kind is {self.kind!r}; known: {', '.join(KINDS)}")
        if self.kind in ("choice", "order") and not 2 <= len(set(self.options)) == len(self.options) <= 8:
            raise InvalidSetting("a choice or an order needs 2 to 8 different options")
        if not self.low < self.high or not 0 < self.step <= self.high - self.low:
            raise InvalidSetting("low must be less than high, and step greater than 0")
        if self.step < FINEST * max(1, abs(self.low), abs(self.high)):
            raise InvalidSetting("step is too small for numbers from low to high")
        if self.near < 0:
            raise InvalidSetting("near must be at least 0")
        if self.truth and self.kind == "text":
            raise InvalidSetting("a free text is not judged and has no truth")

    def checked(self, answer: Any) -> Answer:
        """The answer as one of this question. Raises InvalidRequest, which says what is expected."""
        if self.kind == "number":
            return self._number(answer)
        if self.kind == "curve":
            if not isinstance(answer, Sequence) or isinstance(answer, str) or len(answer) != len(LAMBDAS):
                raise InvalidRequest(f"A curve has {len(LAMBDAS)} numbers.")
            return tuple(map(self._number, answer))
        if self.kind == "choice":
            if not isinstance(answer, str) or answer not in self.options:
                raise InvalidRequest("Choose one of the options.")
            return answer
        if self.kind == "order":
            if not isinstance(answer, list | tuple) or sorted(map(str, answer)) != sorted(self.options):
                raise InvalidRequest("Put all options in an order, each once.")
            return tuple(map(str, answer))
        text = answer.strip() if isinstance(answer, str) else ""
        if not 1 <= len(text) <= LONGEST:
            raise InvalidRequest(f"Write 1 to {LONGEST} characters.")
        return text

    def _number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise InvalidRequest(f"Give a number from {self.low:g} to {self.high:g}.")
        return float(value)

    def is_right(self, answer: Answer, truth: Answer) -> bool | None:
        """Whether the answer is right; None for numbers without a tolerance, and for curves."""
        if self.kind in ("choice", "order"):
            return answer == truth
        if self.kind == "number" and self.near:
            return self.off(answer, truth) <= self.near * (1 + 1e-9)
        return None

    def off(self, answer: Answer, truth: Answer) -> float:
        """Distance of a number from the truth, or the mean distance of a curve; NaN for other kinds."""
        if self.kind == "number":
            return abs(float(answer) - float(truth))  # type: ignore[arg-type]
        if self.kind == "curve":
            distances = [abs(float(one) - float(other)) for one, other in zip(answer, truth, strict=True)]  # type: ignore[arg-type]
            return math.fsum(distances) / len(distances)
        return math.nan


def read_question(values: Mapping[str, Any]) -> Question:
    """The question that a lesson declares. Raises InvalidSetting."""
    given = dict(checked_fields(Question, values))
    for name in ("low", "high", "step", "near"):
        if name in given:
            given[name] = float(given[name])
    options = given.get("options", ())
    if not isinstance(options, list | tuple) or not all(isinstance(one, str) for one in options):
        raise InvalidSetting("options must be a list of texts")
    given["options"] = tuple(options)
    return Question(**given)


def to_text(answer: Answer) -> str:
    """An answer as JSON, as the ledger keeps it."""
    return json.dumps(answer, ensure_ascii=False)


def from_text(question: Question, text: str) -> Answer | None:
    """The answer that `to_text` wrote; None if it is damaged or the lesson's question has changed since."""
    try:
        return question.checked(json.loads(text))
    except (ValueError, RecursionError, InvalidRequest):
        return None


def in_words(question: Question, answer: Answer, *, comma: bool = False) -> str:
    """An answer as text. comma: write the decimal point as a comma."""

    digits = max(0, 1 - math.floor(math.log10(question.step)))  # a tenth of a step

    def number(value: Any) -> str:
        text = f"{float(value):.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        text = "0" if text == "-0" else text
        return text.replace(".", ",") if comma else text

    unit = f" {question.unit}" if question.unit else ""
    if question.kind == "number":
        return f"{number(answer)}{unit}"
    if question.kind == "curve":
        between = "; " if comma else ", "
        return between.join(map(number, answer)) + unit  # type: ignore[arg-type]
    return " › ".join(answer) if question.kind == "order" else str(answer)  # type: ignore[arg-type]
