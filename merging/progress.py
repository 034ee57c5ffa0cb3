"""The interface of progress callbacks for long computations. torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

_POINT = re.compile(
    r"(?:(?P<curve>[a-z]+): )?point (?P<number>\d{1,4}) of (?P<points>\d{1,4}), "
    r"loss (?P<loss>-?\d{1,12}\.\d+), accuracy (?P<accuracy>\d{1,3}\.\d+) %"
)


class Progress(Protocol):
    """Callback to which a long computation reports its progress. It may raise Cancelled to stop the computation."""

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Report the progress.

        Args:
            stage: one or two lower-case words, such as "matching".
            fraction: completed share of this stage, 0 to 1; None if unknown.
            message: text for the user.
        """


def no_progress(stage: str, fraction: float | None = None, message: str = "") -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class CurvePoint:
    """A measured point of a curve: the curve's name ("" if it has none), lambda, loss and accuracy."""

    curve: str
    at: float
    loss: float
    accuracy: float


def point_words(number: int, points: int, loss: float, accuracy: float) -> str:
    """Message about point `number` (from 1) of a curve of so many points, with its loss and accuracy."""
    return f"point {number} of {points}, loss {loss:.4f}, accuracy {100 * accuracy:.2f} %"


def read_point(message: str) -> CurvePoint | None:
    """Read a message of `point_words`, which may follow the name of the curve; None for any other message."""
    found = _POINT.fullmatch(message)
    if found is None or not 1 <= int(found["number"]) <= int(found["points"]) or int(found["points"]) < 2:
        return None
    at = (int(found["number"]) - 1) / (int(found["points"]) - 1)
    return CurvePoint(found["curve"] or "", at, float(found["loss"]), float(found["accuracy"]) / 100)
