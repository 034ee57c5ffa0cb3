"""Pictures of sixteen units of a layer, their variation between seeds, and all networks' responses to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merging.errors import UnknownLayer
from merging.results.intervals import finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.layer import SLOTS, layer_of
from merging.studies.registry import Number, Subject, study

if TYPE_CHECKING:
    from torch import Tensor

    from merging.analysis.pictures.settings import PictureSettings
    from merging.network.graph.graph import Layer

BLOCK = 16  # units per study, equal to the number of pictures per pass
PARENTS = {"merge": ("A", "pi(B)"), "naive": ("A", "B")}  # the two networks whose units were averaged
FOLLOWS = 0.5  # a unit follows another if it responds to the other's picture and images with this share of its largest
WORDS = {
    "kept": "both parents agree, and the merge follows both",
    "blended": "the merge follows both parents, which differ",
    "one-sided": "the merge follows one parent only",
    "replaced": "the merge follows neither parent",
    "died": "the merge's unit responds to no image",
}


@saved
@dataclass(frozen=True)
class UnitsStudy:
    """Pictures of K units of a layer in M networks (`slots`), and responses to them.

    Attributes:
        layer: torch name.
        units: numbers of the units.
        slots: names of the networks.
        pictures: "first", "second" (other seed), "negative" -> (M, K, H, W, C) uint8.
        cross: (M, M, K) response of the row's unit to the column's picture, at its strongest position and after the
            nonlinearity, on a scale where 0 is the unit's mean response to test images and 1 its largest.
        own: (M, K) response of a unit to its own second picture, on the same scale.
        pixels: (M, M, K) Pearson correlation of the row's and the column's first pictures.
        noise: (M, K) Pearson correlation of a unit's first and second picture.
        how: settings of the pictures.
    """

    layer: str
    units: tuple[int, ...]
    slots: tuple[str, ...]
    pictures: dict[str, np.ndarray]
    cross: np.ndarray
    own: np.ndarray
    pixels: np.ndarray
    noise: np.ndarray
    how: dict[str, object]

    def response_of(self, made: str) -> float:
        """Mean response of the units of "merge" or "naive" to the pictures of their two parents, as `cross`."""
        row, *parents = (self.slots.index(slot) for slot in (made, *PARENTS[made]))
        return finite_mean(self.cross[row, parents])


@dataclass(frozen=True)
class UnitsSettings:
    """Units, and settings of their pictures."""

    layer: str = setting("", label="Layer", help="The layer's name in torch; if empty, the first layer with units.")
    first: int = setting(0, low=0, high=1_000_000, label="First unit", help="First of sixteen consecutive units.")
    steps: int = setting(256, low=16, high=4096, label="Steps", help="Number of optimisation steps per picture.")
    negative: bool = setting(True, label="Negative direction", help="Also minimise the units' responses.")


def follows(picture: float, exemplars: float) -> float:
    """Degree in 0..1 to which a unit follows another; NaN where both responses are NaN.

    The degree is the mean of the unit's responses to the other unit's picture and to the other's strongest images. Each
    response is on a scale where 0 is the unit's mean response to test images and 1 its largest, and is clipped to 0..1.
    A NaN is left out.
    """
    values = [min(max(value, 0.0), 1.0) for value in (picture, exemplars) if not np.isnan(value)]
    return float(np.mean(values)) if values else float("nan")


def fate(dead: bool, r_a: float, r_b: float, agree: float) -> str:
    """Fate of a unit of the merge, as a key of WORDS; the threshold is FOLLOWS.

    Args:
        dead: whether the merge's unit is dead.
        r_a, r_b: degrees to which the merge's unit follows A's and pi(B)'s.
        agree: degree to which A's and pi(B)'s units follow each other (mean of both directions).
    """
    if dead:
        return "died"
    to_a, to_b = (not np.isnan(r) and r >= FOLLOWS for r in (r_a, r_b))
    if to_a and to_b:
        return "kept" if agree >= FOLLOWS else "blended"
    return "one-sided" if to_a or to_b else "replaced"


def outcome(
    cross: np.ndarray, response: np.ndarray, dead: bool, made: str = "merge"
) -> tuple[str, tuple[float, float, float]]:
    """Fate of one unit of the merge or the naive average, and three degrees from `follows`.

    The degrees say how far the unit follows each of its two parents' units, and how far these two follow each other.

    Args:
        cross, response: (M, M) responses of the row's unit to the column's picture and to the column's strongest
            images, in order of SLOTS.
        dead: whether the unit is dead.
        made: "merge" or "naive".
    """
    one, a, b = (SLOTS.index(slot) for slot in (made, *PARENTS[made]))

    def follow(row: int, column: int) -> float:
        return follows(float(cross[row, column]), float(response[row, column]))

    to_a, to_b, agree = follow(one, a), follow(one, b), (follow(a, b) + follow(b, a)) / 2
    return fate(dead, to_a, to_b, agree), (to_a, to_b, agree)


@study(
    "units",
    label="Pictures of units, compared",
    summary="Pictures of 16 units in every network with two seeds, and how strongly each network responds to them.",
    source="Olah et al. 2017 (pictures); seed noise and cross-activation as in this program's documentation",
    settings=UnitsSettings,
    page="neurons",
    places=(
        "layer",
        "first",
    ),
    version=2,
    long=True,
    numbers={
        "response": Number(
            "Response of sixteen units to the networks' pictures (0: mean image, 1: largest)",
            lambda found: found.response_of("merge"),
            lambda found: found.response_of("naive"),
        ),
    },
)
def units(subject: Subject, settings: UnitsSettings) -> UnitsStudy:
    """Make pictures of the same units in five networks and compare them; a pi(B) that is a permuted B has B's pictures.

    Raises UnknownLayer where `first` lies beyond the last unit.
    """
    from merging.analysis.pictures.settings import PictureSettings, pixel_correlation
    from merging.settings import settings_dict

    place, partner = layer_of(subject, settings.layer)
    numbers = block(place, settings.first)
    ways = {"first": (0, False), "second": (1, False)} | ({"negative": (0, True)} if settings.negative else {})
    pictures, passes = {}, 5 * len(ways)
    for number, (name, (seed, negative)) in enumerate(ways.items()):
        piece = subject.reported(0.95 * 5 * number / passes, 0.95 * 5 * (number + 1) / passes)
        how = PictureSettings(steps=settings.steps, negative=negative)
        pictures[name] = pictures_of(piece, place, partner, numbers, how, subject.seed + seed)
    cross, own = answers_to(subject, place, numbers, pictures["first"], pictures["second"])
    pixels = np.array([[pixel_correlation(x, y) for y in pictures["first"]] for x in pictures["first"]])
    noise = np.array([pixel_correlation(x, y) for x, y in zip(pictures["first"], pictures["second"], strict=True)])
    record: dict[str, object] = {
        **settings_dict(PictureSettings(steps=settings.steps)),
        "seeds": (subject.seed, subject.seed + 1),
    }
    return UnitsStudy(
        place.name,
        numbers,
        SLOTS,
        {name: np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8) for name, pixels in pictures.items()},
        cross,
        own,
        pixels,
        noise,
        record,
    )


def block(place: Layer, first: int) -> tuple[int, ...]:
    """Numbers of at most sixteen units of a layer, starting at `first`. Raises UnknownLayer beyond the last unit."""
    numbers = tuple(range(first, min(first + BLOCK, place.units)))
    if not numbers:
        raise UnknownLayer(f"{place.name} has units 0 to {place.units - 1}; the first unit cannot be {first}.")
    return numbers


def pictures_of(
    subject: Subject,
    place: Layer,
    partner: Tensor,
    numbers: tuple[int, ...],
    how: PictureSettings,
    seed: int,
) -> np.ndarray:
    """Pictures (M, K, H, W, C) float32 in 0..1 of these units in every network of SLOTS, each picture made once."""
    from merging.analysis.pictures.render import render
    from merging.network.permutation import named_tensors

    shape = tuple(subject.graph.record.values[subject.graph.input][1:])
    partners = tuple(int(partner[unit]) for unit in numbers)
    whose = {
        "A": ("A", numbers),
        "pi(B)": ("B", partners) if subject.exact else ("pi(B)", numbers),
        "merge": ("merge", numbers),
        "naive": ("naive", numbers),
        "B": ("B", numbers),
    }
    requests: dict[str, list[int]] = {}
    for net, units in whose.values():
        requests[net] = list(dict.fromkeys([*requests.get(net, ()), *units]))
    pixels: dict[tuple[str, int], np.ndarray] = {}
    total = sum(map(len, requests.values()))
    for net, to_draw in requests.items():
        piece = subject.part(len(pixels) / total, (len(pixels) + len(to_draw)) / total, f"pictures of {net}")
        tensors = named_tensors(subject.nets[net])
        pictures = render(
            subject.graph, tensors, place.name, to_draw, input_shape=shape, settings=how, seed=seed, report=piece
        )
        pixels |= {(net, unit): picture.pixels for unit, picture in zip(to_draw, pictures, strict=True)}
    return np.array([[pixels[net, unit] for unit in units] for net, units in map(whose.__getitem__, SLOTS)], np.float32)


def answers_to(
    subject: Subject, place: Layer, numbers: tuple[int, ...], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`cross` (M, M, K) and `own` (M, K) of UnitsStudy, for pictures (M, K, H, W, C)."""
    import torch

    from merging.analysis.activations.responses import relative, respond
    from merging.network.permutation import named_tensors

    like = next(subject.nets["A"].parameters())
    batches = [torch.from_numpy(p.reshape(-1, *p.shape[2:])).permute(0, 3, 1, 2).to(like) for p in (first, second)]
    slots, count = len(SLOTS), len(numbers)
    diagonal = torch.arange(count)
    cross, own = np.empty((slots, slots, count)), np.empty((slots, count))
    data = subject.images(2000)
    for row, slot in enumerate(SLOTS):
        tensors = named_tensors(subject.nets[slot])
        reference = respond(subject.graph, tensors, place, data).seen[:, list(numbers)]
        both = [respond(subject.graph, tensors, place, images).seen[:, list(numbers)] for images in batches]
        first_of, second_of = (
            relative(one, reference).view(slots, count, count)[:, diagonal, diagonal] for one in both
        )
        cross[row], own[row] = first_of.cpu().numpy(), second_of[row].cpu().numpy()
        subject.report("studying", 0.95 + 0.05 * (row + 1) / slots, f"responses of {slot} to the pictures")
    return cross, own
