"""The network of the first lesson: two inputs, two hidden units, two more, one output; changed by hand.

Swapping two hidden units of a layer, or scaling a ReLU unit up and its outgoing weights down, leaves the output as it
is (Hecht-Nielsen 1990; Ainsworth et al. 2023, section 2). Averaging two such networks does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 33  # points per axis at which outputs are compared
CHANGES = ("swap", "scale", "swap-one", "average")


@dataclass(frozen=True)
class Toy:
    """Weights: first (2, 2), second (2, 2), last (1, 2); rows are units. ReLU after the first two."""

    first: np.ndarray
    second: np.ndarray
    last: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs (N,) of inputs (N, 2)."""
        hidden = np.maximum(x @ self.first.T, 0)
        outputs: np.ndarray = (np.maximum(hidden @ self.second.T, 0) @ self.last.T)[:, 0]
        return outputs

    def swapped(self) -> Toy:
        """The units of the first hidden layer exchanged: its rows, and the columns of the next layer."""
        return Toy(self.first[::-1], self.second[:, ::-1], self.last)

    def swapped_rows(self) -> Toy:
        """Only the rows exchanged: the next layer still reads the old order."""
        return Toy(self.first[::-1], self.second, self.last)

    def scaled(self, factor: float) -> Toy:
        """Unit 1 of the first hidden layer `factor` times as strong, and its outgoing weights divided by it."""
        factors = np.array([factor, 1.0])
        return Toy(self.first * factors[:, None], self.second / factors, self.last)

    def mean(self, other: Toy) -> Toy:
        """The average of two networks, weight by weight."""
        pairs = ((self.first, other.first), (self.second, other.second), (self.last, other.last))
        return Toy(*((one + two) / 2 for one, two in pairs))


TOY = Toy(np.array([[1.0, -0.5], [-0.75, 1.25]]), np.array([[1.0, -1.0], [0.5, 1.0]]), np.array([[1.0, -0.75]]))


def changed_toy(change: str, factor: float = 2.0) -> Toy:
    """The network after a change of CHANGES. "average": the mean of the network and of its swapped copy."""
    made = {
        "swap": TOY.swapped(),
        "scale": TOY.scaled(factor),
        "swap-one": TOY.swapped_rows(),
        "average": TOY.mean(TOY.swapped()),
    }
    return made[change]


def largest_difference(toy: Toy) -> float:
    """Largest difference of the outputs of TOY and this network on a grid of inputs from -1 to 1."""
    x = grid()
    return float(np.abs(toy(x) - TOY(x)).max())


def grid() -> np.ndarray:
    """Inputs (SIDE * SIDE, 2), row by row."""
    line = np.linspace(-1, 1, SIDE)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
