"""Loss and accuracy on the plane through three networks, with orthonormal axes in units of weight distance.

With A at the origin, x points towards B, and y along the part of C - A that is orthogonal to x (Garipov et al. 2018),
over all parameters. The point (x, y) is the network A + u (B - A) + v (C - A), whose buffers are combined likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.path.evaluation import evaluate
from merging.errors import IncompatibleModels, InvalidSetting
from merging.network.batch_norm import batch_norms, reset_batch_norm
from merging.network.data import Batches
from merging.network.permutation import named_tensors, with_tensors
from merging.progress import Progress, no_progress
from merging.results.reports import Metrics

MARGIN = 0.25  # margin around the three networks, as a share of their extent
FLAT, LEVEL = 0.03, 0.1  # accuracy, relative loss: points whose coarse neighbours differ less are not measured
TINY = 1e-12  # least running variance, because extrapolation beyond the networks can make one negative


@dataclass(frozen=True)
class Axes:
    """The plane of three networks.

    Attributes:
        tensors: for each network, name -> tensor.
        parameters: names of the tensors that are parameters.
        corners: (3, 2), the networks' (x, y).
        lengths: |B - A|, and the distance of C from the line through A and B.
    """

    tensors: tuple[Mapping[str, Tensor], ...]
    parameters: frozenset[str]
    corners: np.ndarray
    lengths: tuple[float, float]

    @staticmethod
    def through(nets: Sequence[nn.Module]) -> Axes:
        """Axes of three networks of one structure. Raises IncompatibleModels where they lie on one line."""
        tensors = tuple(named_tensors(net) for net in nets)
        parameters = frozenset(name for name, _ in nets[0].named_parameters())
        along, across = (_difference(tensors[0], other, parameters) for other in tensors[1:])
        width, size = _dot(along, along) ** 0.5, _dot(across, across) ** 0.5
        x = _dot(along, across) / width if width else 0.0
        height = max(size**2 - x**2, 0.0) ** 0.5
        if not min(width, height) > 1e-6 * max(width, size):
            raise IncompatibleModels(
                "The three networks lie on one line, so they define no plane: B and π(B) are equal, or one of them "
                "equals A. Choose an alignment that permutes units."
            )
        return Axes(tensors, parameters, np.array([[0, 0], [width, 0], [x, height]]), (width, height))

    def shares(self, x: float, y: float) -> tuple[float, float]:
        """Coefficients (u, v) of a point: its shares of B - A and of C - A."""
        v = y / self.lengths[1]
        return (x - v * float(self.corners[2, 0])) / self.lengths[0], v

    def place(self, tensors: Mapping[str, Tensor]) -> tuple[float, float, float]:
        """Position (x, y, distance from the plane) of a network given by its tensors, name -> any shape."""
        offset = _difference(self.tensors[0], tensors, self.parameters)
        along, across = (_difference(self.tensors[0], other, self.parameters) for other in self.tensors[1:])
        x = _dot(offset, along) / self.lengths[0]
        y = (_dot(offset, across) - x * float(self.corners[2, 0])) / self.lengths[1]
        return x, y, max(_dot(offset, offset) - x * x - y * y, 0.0) ** 0.5

    def fill(self, net: nn.Module, x: float, y: float) -> None:
        """Overwrite the tensors of `net` with those of a point; at a corner, they are that network's, bit for bit."""
        corner = np.flatnonzero((self.corners == (x, y)).all(1))
        u, v = self.shares(x, y)
        a, b, c = self.tensors
        for name, tensor in named_tensors(net).items():
            number = tensor.is_floating_point() or tensor.is_complex()
            same = all(own[name].equal(a[name]) for own in (b, c))  # a constant, which may contain infinities
            if len(corner) or same or not number:
                tensor.copy_(self.tensors[int(corner[0]) if len(corner) else 0][name])
                continue
            torch.mul(a[name], 1 - u - v, out=tensor).add_(b[name], alpha=u).add_(c[name], alpha=v)
            if name.endswith("running_var"):
                tensor.clamp_(min=TINY)


@dataclass(frozen=True)
class Surface:
    """Metrics over a plane.

    Attributes:
        x, y: (X,) and (Y,), coordinates.
        loss, accuracy: (Y, X).
        measured: (Y, X) bool, False for points between similar neighbours, which have the mean of those.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    measured: np.ndarray


def surface(
    nets: Sequence[nn.Module],
    data: Batches,
    *,
    resolution: int = 21,
    refine: bool = True,
    reset: Batches | None = None,
    report: Progress | None = None,
) -> tuple[Axes, Surface]:
    """Measure the plane through three networks on a grid of resolution x resolution points that includes all three.

    One copy of a network is overwritten at each point.

    Args:
        resolution: points per side, odd and at least 5.
        refine: measure every second point first, and the points between them only where neighbours differ by more than
            3 percentage points of accuracy or 10 % of loss.
        reset: training images from which BatchNorm's statistics are recomputed at every point except the three
            networks, which stay unchanged; None interpolates the statistics like weights.

    Raises IncompatibleModels, InvalidSetting, DataUnavailable.
    """
    if resolution < 5 or resolution % 2 == 0:
        raise InvalidSetting(f"A plane needs an odd number of points per side, at least 5, not {resolution}.")
    axes = Axes.through(nets)
    x, y = (_grid(axes.corners[:, dim], resolution) for dim in (0, 1))
    scratch, anew = with_tensors(nets[0], {}), bool(batch_norms(nets[0]))

    def measure(row: int, column: int) -> Metrics:
        point = (float(x[column]), float(y[row]))
        axes.fill(scratch, *point)
        corner = bool((axes.corners == point).all(1).any())
        return evaluate(
            reset_batch_norm(scratch, reset) if anew and reset is not None and not corner else scratch, data
        )

    return axes, _measured(x, y, measure, refine, report or no_progress)


def _measured(
    x: np.ndarray, y: np.ndarray, measure: Callable[[int, int], Metrics], refine: bool, report: Progress
) -> Surface:
    loss, accuracy = (np.full((len(y), len(x)), np.nan) for _ in range(2))
    mask, step = np.zeros(loss.shape, bool), 2 if refine else 1
    share = 0.5 if refine else 1.0

    def visit(points: list[tuple[int, ...]], start: float, end: float) -> None:
        for number, (row, column) in enumerate(points):
            report("plane", start + (end - start) * number / len(points), f"point {number + 1} of {len(points)}")
            metrics = measure(row, column)
            loss[row, column], accuracy[row, column], mask[row, column] = metrics.loss, metrics.accuracy, True

    visit([(row, column) for row in range(0, len(y), step) for column in range(0, len(x), step)], 0.0, share)
    if refine:
        visit(
            [point for point in np.ndindex(loss.shape) if not mask[point] and _steep(loss, accuracy, *point)], share, 1
        )
    for row, column in np.argwhere(~mask):
        for values in (loss, accuracy):
            values[row, column] = float(np.mean(values[_around(row, column)]))
    return Surface(x, y, loss, accuracy, mask)


def _steep(loss: np.ndarray, accuracy: np.ndarray, row: int, column: int) -> bool:
    """Whether the coarse points around a point differ; True also where one of them is NaN."""
    around, right = loss[_around(row, column)], accuracy[_around(row, column)]
    return not (np.ptp(right) <= FLAT and np.ptp(around) <= LEVEL * around.min())


def _around(row: int, column: int) -> tuple[slice, slice]:
    """Slices that select a point's neighbours on the coarse grid, which holds every second point."""
    rows, columns = (slice(at - at % 2, at + at % 2 + 1, 2) for at in (row, column))
    return rows, columns


def _grid(corners: np.ndarray, resolution: int) -> np.ndarray:
    """Evenly spaced coordinates, except that the nearest one to each network is moved onto the network's coordinate."""
    low, high = float(corners.min()), float(corners.max())
    places = np.linspace(low - MARGIN * (high - low), high + MARGIN * (high - low), resolution)
    free = np.ones(resolution, bool)
    for value in sorted({float(corner) for corner in corners}):
        nearest = int(np.argmin(np.where(free, np.abs(places - value), np.inf)))
        places[nearest], free[nearest] = value, False
    return np.sort(places)


def _difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor], names: frozenset[str]) -> dict[str, Tensor]:
    return {name: second[name].double() - first[name].double() for name in names}


def _dot(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    return float(sum(float((first[name] * second[name]).sum()) for name in sorted(first)))
