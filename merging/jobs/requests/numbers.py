"""The whole numbers that requests have in common: label, bounds, step and help, for forms, command line and checks."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class WholeNumber:
    """A field of a request.

    Attributes:
        label: in forms.
        low, high: bounds, both included.
        step: between allowed values, from `low` on.
        help: on the command line; forms show the glossary's entry.
    """

    label: str
    low: int
    high: int
    step: int = 1
    help: str = ""

    @property
    def bounds(self) -> tuple[int, int]:
        """low and high."""
        return self.low, self.high


WHOLE_NUMBERS = {
    "images": WholeNumber("Images", 100, 60_000, help="of each split"),
    "points": WholeNumber("Points", 3, 101, step=2, help="lambdas of each curve, an odd number"),  # one is half-way
    "seed": WholeNumber("Seed", 0, MAX_SEED, help="of all random draws"),
    "seeds": WholeNumber("Seeds", 1, 10, help="runs per method, with seeds 0, 1 ..."),
    "epochs": WholeNumber("Epochs", 1, 50),
}
