"""Cost of a curve relative to the forward passes that it cannot avoid: python -m benchmarks.interpolation

Both sides run in this process, in turns: the 25-point curve (interpolated weights; loss, accuracy and calibration
error), and 25 plain forward passes of one network over the same batches. The ratio is taken per round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.nets import PAIRS, images, pair
from benchmarks.timing import interleave, ratios, spread, table, write
from merging.analysis.path.evaluation import CPU_BATCH
from merging.analysis.path.interpolation import interpolate
from merging.network.data import Batches

POINTS = 25


@torch.inference_mode()
def forward_passes(model: nn.Module, data: Batches) -> None:
    """Pass all batches 25 times, and discard the outputs."""
    for _ in range(POINTS):
        for batch, _ in data:
            model(batch)


def main() -> None:
    """Write one row per shipped pair."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=5)
    arguments = options.parse_args()
    data, rows = images(arguments.images).sized(CPU_BATCH), []  # the batch size sets the cost of a pass
    for label, name in PAIRS.items():
        a, b = pair(name)
        sides: dict[str, Callable[[], object]] = {
            "curve": partial(interpolate, a, b, data, points=POINTS),
            "forward": partial(forward_passes, a, data),
        }
        timings = interleave(sides, arguments.repeats)
        ratio = ratios(timings["curve"], timings["forward"])
        rows.append([label, spread(timings["curve"], 2), spread(timings["forward"], 2), spread(ratio)])
    write(
        f"{POINTS} points, {arguments.images} images, {arguments.repeats} rounds: median (lowest-highest), one thread"
    )
    write(table(["net", "curve (s)", "forward passes (s)", "ratio"], rows))


if __name__ == "__main__":
    main()
