"""Whether another network sees the same in a unit's picture: python -m benchmarks.picture_transfer, some ten minutes.

Pictures of A's units are shown to B, whose units were matched to A's. Measured on units on which the default settings
were not chosen (all live ones but the first 16 of each layer, at most 32), in the middle and the last layer with
weights before the classes, with two seeds of the pictures:

- transfer: response of the matched unit of B to A's picture, own: of A's unit; 1: as to its strongest image;
- identification: how often, among all live units of the layer in B, the matched unit responds most to A's picture, on
  the scale of 0 (mean over images) to 1 (strongest image); chance is 1 in the number of units;
- rank: median number of B's units that respond more than the matched one;
- fine: share of the picture's power at or above half the Nyquist frequency.

Responses are those at the strongest position, after the nonlinearity.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.timing import table, write
from merging.analysis.activations.responses import relative, respond
from merging.analysis.pictures.render import render
from merging.analysis.pictures.settings import PictureSettings, contact_sheet
from merging.network.graph.graph import Graph, Layer, export
from merging.network.permutation import named_tensors
from merging.pipeline.merge import prepare
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.datasets.load import load_split

PAIRS = {
    "MLP": ("fashion-mlp-512-s0", "fashion-mlp-512-s1", "fashion-mnist"),
    "small CNN": ("fashion-small-s0", "fashion-small-s1", "fashion-mnist"),
    "CNN": ("fashion-cnn-s0", "fashion-cnn-s1", "fashion-mnist"),
    "CNN + BN": ("fashion-cnn-bn-s0", "fashion-cnn-bn-s1", "fashion-mnist"),
    "CIFAR CNN": ("cifar-cnn-s0", "cifar-cnn-s1", "cifar-10"),
}
WAYS = {
    "before": PictureSettings(256, 0.04, "channel", jitter=0.1, decay=1.0, scale=0.0, rotation=0.0),
    "now": PictureSettings(),
}
USED, MOST, SEEDS, IMAGES = 16, 32, (0, 1), 2000
SHOWN, ENLARGED = 12, 3  # pictures per row, pixels per pixel


@dataclass(frozen=True)
class Pair:
    """Two matched networks of one structure, as (tensors of A, tensors of pi(B)), and images (n, C, H, W)."""

    graph: Graph
    nets: tuple[dict[str, Tensor], dict[str, Tensor]]
    images: Tensor

    @staticmethod
    def of(a: str, b: str, dataset: str) -> Pair:
        """Load two shipped networks, match B's units to A's, and read the test images."""
        models = [load_checkpoint(name).build() for name in (a, b)]
        x = torch.from_numpy(load_split(dataset, "test", IMAGES).images).float() / 255
        prepared = prepare(models, align="weight-matching", example=x[:2], seed=0)
        aligned = prepared.problem.aligned[1]
        return Pair(export(models[0], x[:2]), (named_tensors(models[0]), named_tensors(aligned)), x)

    def layers(self) -> tuple[Layer, Layer]:
        """The middle one and the last one of the layers with weights, without the classes."""
        weighty = [layer for layer in self.graph.layers if layer.kind in ("conv", "linear")][:-1]
        return weighty[len(weighty) // 2], weighty[-1]


@dataclass(frozen=True)
class Measures:
    """Measures of K units; `matched` is (K,) bool, whether the matched unit responds most."""

    transfer: np.ndarray
    own: np.ndarray
    matched: np.ndarray
    rank: np.ndarray
    fine: np.ndarray
    seconds: float

    @staticmethod
    def of(pair: Pair, layer: Layer, settings: PictureSettings, seed: int) -> Measures:
        """Make the pictures and measure them."""
        known = [respond(pair.graph, net, layer, pair.images).seen for net in pair.nets]
        live = [one.amax(0) > one.double().mean(0) for one in known]
        units = torch.nonzero(live[0] & live[1]).flatten()[USED : USED + MOST].tolist()
        start = time.process_time()
        shape = tuple(pair.images.shape[1:])
        made = render(pair.graph, pair.nets[0], layer.name, units, input_shape=shape, settings=settings, seed=seed)
        seconds = (time.process_time() - start) / len(units)
        pictures = torch.from_numpy(np.stack([one.pixels for one in made])).permute(0, 3, 1, 2).contiguous()
        own, other = (
            relative(respond(pair.graph, net, layer, pictures).seen, reference)
            for net, reference in zip(pair.nets, known, strict=True)
        )
        rows, numbers = torch.arange(len(units)), torch.tensor(units)
        above = (other[:, live[1]] > other[rows, numbers][:, None]).sum(1).numpy()
        fine = np.array([power_of_fine_detail(one.pixels) for one in made])
        return Measures(other[rows, numbers].numpy(), own[rows, numbers].numpy(), above == 0, above, fine, seconds)


def power_of_fine_detail(pixels: np.ndarray) -> float:
    """Share of the power at or above half the Nyquist frequency, of a picture (H, W, C) without its mean."""
    grey = pixels.mean(-1) - pixels.mean()
    power = np.abs(np.fft.fft2(grey)) ** 2
    down, right = (np.fft.fftfreq(size) for size in grey.shape)
    return float(power[np.hypot(down[:, None], right[None]) >= 0.25].sum() / power.sum()) if power.sum() else 0.0


def write_pictures(pair: Pair, file: Path) -> None:
    """Write pictures of A's first units of the last layer, before and now, and of their partners in B, as PNG."""
    layer, shape = pair.layers()[1], tuple(pair.images.shape[1:])
    rows = [(pair.nets[0], WAYS["before"]), (pair.nets[0], WAYS["now"]), (pair.nets[1], WAYS["now"])]
    pictures = [
        picture
        for net, settings in rows
        for picture in render(pair.graph, net, layer.name, range(USED), input_shape=shape, settings=settings)[:SHOWN]
    ]
    sheet = Image.fromarray(contact_sheet(pictures, SHOWN))
    sheet.resize((sheet.width * ENLARGED, sheet.height * ENLARGED), Image.Resampling.NEAREST).save(file)


def spread(values: np.ndarray) -> str:
    """Mean over units, and its standard error."""
    return f"{values.mean():.2f} ± {values.std() / np.sqrt(len(values)):.2f}"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=",".join(PAIRS), help="names of pairs, separated by commas")
    parser.add_argument("--pictures", type=Path, help="write pictures of the CIFAR CNN to this PNG instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.pictures:
        return write_pictures(Pair.of(*PAIRS["CIFAR CNN"]), options.pictures)
    rows = []
    for name in options.pairs.split(","):
        pair = Pair.of(*PAIRS[name])
        for way, settings in WAYS.items():
            found = [Measures.of(pair, layer, settings, seed) for layer in pair.layers() for seed in SEEDS]
            columns = [
                np.concatenate([getattr(one, field) for one in found]) for field in ("transfer", "own", "matched")
            ]
            rank, fine = (np.concatenate([getattr(one, field) for one in found]) for field in ("rank", "fine"))
            seconds = np.mean([one.seconds for one in found])
            rows.append(
                [
                    name,
                    way,
                    *map(spread, columns),
                    f"{np.median(rank):.0f}",
                    spread(fine),
                    f"{seconds:.2f}",
                    f"{len(rank)}",
                ]
            )
    heads = ["pair", "settings", "transfer", "own", "identification", "rank", "fine", "s per unit", "pictures"]
    write("Mean over units and seeds ± standard error; processor seconds on one thread")
    return write(table(heads, rows))


if __name__ == "__main__":
    main()
