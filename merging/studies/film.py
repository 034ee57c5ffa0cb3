"""Pictures of sixteen units along the path from A to B, which show where features are lost beyond numerical noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merging.results.intervals import finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.along import LINES
from merging.studies.layer import layer_of
from merging.studies.registry import Number, Subject, study
from merging.studies.units import block

if TYPE_CHECKING:
    from torch import Tensor

    from merging.analysis.pictures.settings import PictureSettings
    from merging.network.graph.graph import Layer

NOISE = 1e-7  # relative change of every weight in the control
STARTS = ("cold", "warm", "control")


@saved
@dataclass(frozen=True)
class Film:
    """Pictures of K units of a layer at P lambdas, on the lines to B ("naive") and to pi(B) ("aligned").

    No correction is applied. There are three starts: "cold" starts from noise at every lambda; "warm" starts from the
    picture of the previous lambda; "control" is a cold start with every weight changed by a relative 1e-7, so its
    difference from "cold" is numerical noise.

    Attributes:
        layer: torch name.
        units: numbers of the units.
        lambdas: (P,).
        pictures: line -> start -> (P, K, H, W, C) uint8.
        step: line -> start -> (P, K) pixel correlation with the picture at the previous lambda; NaN at the first.
        control: line -> (P, K) pixel correlation of "cold" with "control".
        strength: line -> start -> (P, K) response of the unit to its picture at that lambda, at its strongest position
            and after the nonlinearity, on a scale where 0 is its mean response to test images and 1 its largest.
        how: settings of the pictures, and the seed.
    """

    layer: str
    units: tuple[int, ...]
    lambdas: np.ndarray
    pictures: dict[str, dict[str, np.ndarray]]
    step: dict[str, dict[str, np.ndarray]]
    control: dict[str, np.ndarray]
    strength: dict[str, dict[str, np.ndarray]]
    how: dict[str, object]


@dataclass(frozen=True)
class FilmSettings:
    """Units and number of pictures."""

    layer: str = setting("", label="Layer", help="The layer's name in torch; if empty, the first layer with units.")
    first: int = setting(0, low=0, high=1_000_000, label="First unit", help="First of sixteen consecutive units.")
    points: int = setting(11, low=3, high=21, step=2, label="Pictures", help="Number of lambdas, odd.")
    steps: int = setting(128, low=16, high=4096, label="Steps", help="Number of optimisation steps per picture.")


@study(
    "film",
    label="Pictures along the path",
    summary="What units respond to at every lambda from A to B, with a control for numerical noise.",
    source="Olah et al. 2017 (pictures); the control is this program's own",
    settings=FilmSettings,
    page="neurons",
    places=(
        "layer",
        "first",
    ),
    version=2,
    long=True,
    numbers={
        "steady": Number(
            "Pixel correlation of neighbouring pictures on the path",
            lambda found: finite_mean(found.step["aligned"]["warm"]),
            lambda found: finite_mean(found.step["naive"]["warm"]),
        ),
    },
)
def film(subject: Subject, settings: FilmSettings) -> Film:
    """Render the units along both lines, in three passes of 16 pictures per lambda and line.

    Memory: the pictures, and one network's tensors.
    """
    from merging.analysis.pictures.settings import PictureSettings
    from merging.settings import settings_dict

    place, _ = layer_of(subject, settings.layer)
    numbers = block(place, settings.first)
    lambdas, how = np.linspace(0, 1, settings.points), PictureSettings(steps=settings.steps)
    result = Film(place.name, numbers, lambdas, {}, {}, {}, {}, {**settings_dict(how), "seed": subject.seed})
    for number, line in enumerate(LINES):
        piece = subject.reported(number / len(LINES), (number + 1) / len(LINES))
        frames, strength = _shot(piece, place, numbers, line, lambdas, how)
        result.pictures[line] = {s: np.round(255 * np.clip(one, 0, 1)).astype(np.uint8) for s, one in frames.items()}
        result.step[line] = {start: _steps(one) for start, one in frames.items()}
        result.control[line] = _alike(frames["cold"], frames["control"])
        result.strength[line] = strength
    return result


def _shot(
    subject: Subject, place: Layer, numbers: tuple[int, ...], line: str, lambdas: np.ndarray, how: PictureSettings
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Pictures of one line: start -> (P, K, H, W, C) in 0..1, and start -> strength (P, K)."""
    import torch

    from merging.analysis.activations.responses import relative, respond
    from merging.analysis.pictures.render import Artist
    from merging.network.permutation import named_tensors

    a, b = (named_tensors(subject.nets[name]) for name in ("A", LINES[line]))
    shape, data, units = tuple(subject.graph.record.values[subject.graph.input][1:]), subject.images(500), list(numbers)
    frames: dict[str, list[np.ndarray]] = {start: [] for start in STARTS}
    strength: dict[str, list[np.ndarray]] = {start: [] for start in STARTS}
    spectrum = None
    for at, weight in enumerate(lambdas.tolist()):
        tensors = {n: t.lerp(b[n], weight) if t.is_floating_point() and not t.equal(b[n]) else t for n, t in a.items()}
        for number, start in enumerate(STARTS):
            share = (at * len(STARTS) + number) / (len(lambdas) * len(STARTS))
            subject.report("studying", share, f"{line} line, λ = {weight:.2f}, {start} start")
            net = _changed(tensors, subject.seed) if start == "control" else tensors
            artist = Artist.of(subject.graph, net, place.name, input_shape=shape, settings=how, seed=subject.seed)
            pictures, last = artist.draw(units, start=spectrum if start == "warm" else None)
            spectrum = last if start == "warm" else spectrum
            pixels = np.array([picture.pixels for picture in pictures], np.float32)
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(artist.paint.scale)
            reference, answer = (respond(subject.graph, net, place, x).seen[:, units] for x in (data, batch))
            strength[start].append(relative(answer, reference).diagonal().cpu().numpy())
            frames[start].append(pixels)
    return {s: np.array(one) for s, one in frames.items()}, {s: np.array(one) for s, one in strength.items()}


def _changed(tensors: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Tensors with every floating-point number changed by a relative 1e-7, up or down at random."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def perturb(tensor: Tensor) -> Tensor:
        """The tensor, of any shape, with its numbers changed."""
        signs = torch.randint(0, 2, tensor.shape, generator=generator).to(tensor) * 2 - 1
        return tensor * (1 + NOISE * signs)

    return {name: perturb(tensor) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _steps(frames: np.ndarray) -> np.ndarray:
    """Correlation (P, K) of every frame with the previous frame; NaN for the first."""
    rest = _alike(frames[1:], frames[:-1])
    return np.concatenate([np.full_like(rest[:1], np.nan), rest])


def _alike(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlation (P, K) of pictures (P, K, H, W, C), pixel by pixel."""
    from merging.analysis.pictures.settings import pixel_correlation

    flat = [one.reshape(-1, *one.shape[2:]) for one in (x, y)]
    return pixel_correlation(*flat).reshape(x.shape[:2])
