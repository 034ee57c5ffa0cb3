"""Parts of feature visualization that need no network: settings, random draws, and contact sheets of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from merging.results.reports import UnitPicture
from merging.settings import setting

GREY = 128  # a tile without a picture


@dataclass(frozen=True)
class PictureSettings:
    """Settings of feature visualization.

    The defaults make pictures to which the matched units of another network respond as well
    (`python -m benchmarks.picture_transfer` measures it).
    """

    steps: int = setting(256, low=1, high=4096, label="Steps", help="Number of optimisation steps per picture.")
    lr: float = setting(0.02, low=1e-4, high=1.0, label="Step size", help="Learning rate of Adam.")
    objective: str = setting(
        "neuron",
        choices=("neuron", "channel"),
        label="Objective",
        help="What is maximised: the unit's value at the centre (neuron), or its mean over all positions (channel).",
    )
    negative: bool = setting(
        False,
        label="Negative direction",
        help="Minimise instead: the picture shows what suppresses the unit most, measured before its activation.",
    )
    jitter: float = setting(
        0.08,
        low=0.0,
        high=0.5,
        label="Jitter",
        help="Every step shifts the picture by at most this share of its side.",
    )
    decay: float = setting(
        2.0, low=0.0, high=4.0, label="Smoothness", help="Amplitudes are divided by frequency to this power."
    )
    scale: float = setting(
        0.15,
        low=0.0,
        high=0.5,
        label="Scaling",
        help="Every step enlarges or shrinks the picture by at most this share.",
    )
    rotation: float = setting(
        15.0, low=0.0, high=180.0, unit="degrees", label="Rotation", help="Largest turn of the picture per step."
    )


@dataclass(frozen=True)
class Move:
    """Movement of the picture in one step. shift: pixels (down, right); turn: radians; zoom: a factor."""

    shift: tuple[int, int]
    turn: float
    zoom: float


def first_spectrum(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the noise from which every picture with this seed starts: normal, standard deviation .01, float32."""
    return (0.01 * np.random.default_rng([0, seed]).standard_normal(shape)).astype(np.float32)


def moves(seed: int, settings: PictureSettings, size: tuple[int, int]) -> Iterator[Move]:
    """Draw one Move per optimisation step, uniformly within the settings, for pictures of `size` (height, width).

    The first moves do not depend on the number of steps.
    """
    rng = np.random.default_rng([1, seed])
    most = np.round(settings.jitter * np.array(size)).astype(int)
    for _ in range(settings.steps):
        down, right = rng.integers(-most, most, endpoint=True)
        turn, zoom = rng.uniform(-1, 1, size=2)
        yield Move(
            (int(down), int(right)), float(np.radians(turn * settings.rotation)), float(1 + zoom * settings.scale)
        )


def contact_sheet(pictures: Sequence[UnitPicture | np.ndarray | None], columns: int) -> np.ndarray:
    """Arrange pictures row by row, one pixel apart, in one image (H, W, C) uint8.

    Args:
        pictures: each (h, w, c) in 0..1, all of one shape; None gives a grey tile. Pictures whose c is neither 1 nor 3
            are shown as their mean over channels.
        columns: pictures per row.
    """
    tiles = [None if picture is None else _tile(picture) for picture in pictures]
    h, w, c = next((tile.shape for tile in tiles if tile is not None), (1, 1, 1))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, c), 255, dtype=np.uint8)
    for number in range(rows * columns):
        top, left = (h + 1) * (number // columns), (w + 1) * (number % columns)
        tile = tiles[number] if number < len(tiles) else None
        sheet[top : top + h, left : left + w] = GREY if tile is None else tile
    return sheet


def pixel_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation (K,), over pixels, of each picture of x with that of y, both (K, H, W, C)."""
    flat = [one.reshape(len(one), -1).astype(np.float64) for one in (x, y)]
    flat = [one - one.mean(1, keepdims=True) for one in flat]
    sizes = np.linalg.norm(flat[0], axis=1) * np.linalg.norm(flat[1], axis=1)
    products = (flat[0] * flat[1]).sum(1)
    correlations: np.ndarray = np.divide(products, sizes, out=np.full(len(x), np.nan), where=sizes > 0)
    return correlations


def _tile(picture: UnitPicture | np.ndarray) -> np.ndarray:
    pixels = picture.pixels if isinstance(picture, UnitPicture) else picture
    shown = pixels if pixels.shape[2] in (1, 3) else pixels.mean(2, keepdims=True)
    return np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)
