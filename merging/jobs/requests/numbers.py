"""Whole-number fields that several requests have: label, bounds, step and help, for forms, command line and checks."""

from __future__ import annotations

from dataclasses import dataclass

from merging.methods.registry import MOST_MODELS

MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class WholeNumber:
    """A field of a request.

    Attributes:
        label: label in forms.
        low, high: bounds, both included.
        step: difference between allowed values, which begin at `low`.
        help: help text on the command line; forms show the glossary's entry.
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
    "images": WholeNumber("Images", 100, 60_000, help="number of images per split"),
    "points": WholeNumber("Points", 3, 101, step=2, help="number of lambdas per curve, odd"),  # one lambda is 1/2
    "seed": WholeNumber("Seed", 0, MAX_SEED, help="seed of all random draws"),
    "seeds": WholeNumber("Seeds", 1, 10, help="runs per method, with seeds 0, 1 ..."),
    "epochs": WholeNumber("Epochs", 1, 50),
    "common": WholeNumber("Common start", 0, 50, help="epochs that the networks of a group share; 0 for none"),
    "networks": WholeNumber("Networks", 2, MOST_MODELS, help="networks per merge"),
    "groups": WholeNumber("Groups", 1, 20, help="groups of networks, each with training seeds of its own"),
    "first_group": WholeNumber("First group", 0, 1000, help="number of the first group, which sets its seeds"),
}
