"""Cost of a unit's picture relative to lucent's own loop: python -m benchmarks.feature_images, some two minutes.

All sides make pictures of the last convolution of two shipped CNNs, on one thread, in 32 steps each. The cost per step
does not depend on their number; at the usual 256, lucent's default takes over half a minute per unit.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.timing import Timing, interleave, ratios, spread, table, write
from merging.analysis.pictures.render import PASS, render
from merging.analysis.pictures.settings import PictureSettings
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors
from merging.zoo.catalogue import FOLDER
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.torchvision_import import torchvision  # noqa: F401 - lucent's loop imports it, and alone cannot

NETS = {"cifar-cnn-s0": ("features.12", (3, 32, 32)), "fashion-cnn-s0": ("features.9", (1, 28, 28))}
STEPS, LAYER_UNITS, REPEATS = 32, 64, 3


def ours(model: nn.Module, layer: str, shape: tuple[int, int, int], units: int) -> Callable[[], object]:
    """Return a function that makes pictures of the first units of the layer."""
    graph, tensors = export(model, torch.zeros(1, *shape)), named_tensors(model)
    settings = PictureSettings(steps=STEPS)
    return lambda: render(graph, tensors, layer, range(units), input_shape=shape, settings=settings)


def lucents(model: nn.Module, layer: str, shape: tuple[int, int, int], size: int) -> Callable[[], object]:
    """Return a function that makes one unit's picture by lucent's loop, with images enlarged to `size` pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kornia is outdated
        from lucent.optvis import objectives, param
        from lucent.optvis import render as loop
    channels = None if shape[0] == 3 else shape[0]  # None: RGB with correlated colours

    def run() -> object:
        return loop.render_vis(
            copy.deepcopy(model),  # lucent's hooks stay on the network and would slow the next call
            objectives.channel(layer.replace(".", "_"), 0),
            lambda: param.image(shape[1], channels=channels),
            thresholds=(STEPS,),
            preprocess=False,
            progress=False,
            show_image=False,
            fixed_image_size=size,
        )

    return run


def shared(timing: Timing, units: int) -> Timing:
    """Seconds per unit of a call that makes many."""
    return Timing(tuple(seconds / units for seconds in timing.seconds))


def main() -> None:
    """Measure and write the table."""
    torch.set_num_threads(1)
    rows = []
    for name, (layer, shape) in NETS.items():
        model = load_checkpoint(FOLDER / f"{name}.safetensors").build()
        sides = {
            f"{PASS} units per pass": ours(model, layer, shape, PASS),
            f"{LAYER_UNITS} units": ours(model, layer, shape, LAYER_UNITS),
            f"lucent, {shape[1]} pixels": lucents(model, layer, shape, shape[1]),
            "lucent, 224 pixels (its default)": lucents(model, layer, shape, 224),
        }
        timings = interleave(sides, REPEATS, clock=time.process_time)
        each = [shared(timings[side], units) for side, units in zip(sides, (PASS, LAYER_UNITS, 1, 1), strict=True)]
        rows += [
            [name, side, spread(seconds), spread(ratios(seconds, each[0]), 2)]
            for side, seconds in zip(sides, each, strict=True)
        ]
    write(f"{STEPS} steps, {REPEATS} rounds: median (lowest-highest) of processor seconds, one thread")
    write(table(["net", "side", "seconds per unit", f"times {PASS} units per pass"], rows))


if __name__ == "__main__":
    main()
