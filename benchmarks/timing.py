"""Timing on a busy machine: the sides run in turns (A B A B ...), so that a slow minute slows all of them equally."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one side's repetitions, in the order in which they ran."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median repetition in seconds."""
        return statistics.median(self.seconds)


def interleave(
    sides: Mapping[str, Callable[[], object]],
    repeats: int = 5,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time every side in turns in this process, after `warm_up` unmeasured rounds.

    clock: for work on one thread, time.process_time leaves out the time that other programs took.
    """
    seconds_by_side: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm_up + repeats):
        for name, run in sides.items():
            begin = clock()
            run()
            if number >= warm_up:
                seconds_by_side[name].append(clock() - begin)
    return {name: Timing(tuple(seconds)) for name, seconds in seconds_by_side.items()}


def ratios(side: Timing, other: Timing) -> Timing:
    """Ratio side / other per round, without a unit: each compares two runs that are neighbours in time."""
    return Timing(tuple(s / o for s, o in zip(side.seconds, other.seconds, strict=True)))


def spread(timing: Timing, digits: int = 3) -> str:
    """Format a timing or ratio as "median (lowest-highest)"."""
    return f"{timing.median:.{digits}f} ({min(timing.seconds):.{digits}f}-{max(timing.seconds):.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns are aligned, so that it reads in a terminal too."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def write(text: str) -> None:
    """Print a benchmark's output."""
    sys.stdout.write(text + "\n")
