"""Request for a sweep: merges of newly trained networks over one or two axes. torch-free."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import PLANNED, Request
from merging.jobs.requests.checks import (
    check_architecture,
    check_data,
    check_sha256,
    check_text,
    check_whole,
    plain_config,
    set_fields,
)
from merging.jobs.requests.estimates import Past
from merging.jobs.stages import Stage
from merging.jobs.sweeps.axes import LAMBDA, MOST_VALUES, PART, find_axis
from merging.jobs.sweeps.measures import with_numbers
from merging.methods.registry import ROLES, Role, find
from merging.settings import Scalar, changed_settings
from merging.zoo.architectures.names import describe
from merging.zoo.datasets.known import dataset_label, find_facts
from merging.zoo.training.options import TrainingOptions

MOST_ROWS, MOST_TRAININGS = 400, 400
MOST_AXES = 2
SWEEP = "sweep="  # begins the batch of a sweep's parts, which ends with the sweep's id
Values = tuple[Scalar, ...]


@dataclass(frozen=True)
class SweepRequest(Request):
    """Train groups of networks for every point of one or two axes, and merge each group by every method.

    The networks of group g have the training seeds seed + g * n, seed + g * n + 1, ..., where n is the largest number
    of networks per group; all points use the same seeds. A sweep of one value and of one group, `first_group` = g, asks
    for the same trainings and merges as that point of a larger sweep, so that its parts can be asked for one by one.

    Attributes:
        architecture, config: structure of the networks, which an axis may change.
        dataset: name of the data set.
        data_sha256: hash of all its images, for the trainings.
        merge_sha256: number of images per split -> their hash, for the merges.
        axes: (key of the axis, its values) of one or two axes.
        aligns, combines, corrects: keys of methods; every triple of them is run.
        settings: settings of the trainings that differ from their defaults, except the part of the split: network
            number i of a group learns part i modulo 2.
        epochs: epochs per training.
        common: epochs of a common start of the networks of a group; 0 for different random weights.
        networks: networks per group.
        groups: number of groups, over which intervals are computed.
        first_group: number of the first group.
        seeds: runs per merge, with method seeds seed, seed + 1, ...
        images: images per split of the merges.
        points: lambdas per curve.
        seed: the first seed.
        studies: keys of studies that are run on every merge, with their default settings, for their numbers.
    """

    architecture: str
    config: dict[str, Any]
    dataset: str
    data_sha256: str
    merge_sha256: dict[str, str]
    axes: tuple[tuple[str, Values], ...]
    aligns: tuple[str, ...] = ("weight-matching",)
    combines: tuple[str, ...] = ("average",)
    corrects: tuple[str, ...] = ("none",)
    settings: dict[str, Any] = field(default_factory=dict)
    epochs: int = 5
    common: int = 0
    networks: int = 2
    groups: int = 3
    seeds: int = 1
    images: int = 1000
    points: int = 11
    seed: int = 0
    name: str = ""
    first_group: int = 0
    studies: tuple[str, ...] = ()
    kind: ClassVar[str] = "sweep"
    plural: ClassVar[str] = "sweeps"
    stages: ClassVar[tuple[Stage, ...]] = (Stage("sweeping", 1.0, "Train and merge"),)
    deadline: ClassVar[float] = 30 * 86_400
    by_button: ClassVar[bool] = True
    page: ClassVar[str] = "sweeps"
    page_parameter: ClassVar[str] = "sweep"
    needs_images: ClassVar[bool] = True
    LATER: ClassVar[Mapping[str, Any]] = {"first_group": 0, "studies": []}
    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        set_fields(
            self,
            config=plain_config(self.config),
            axes=tuple((key, tuple(values)) for key, values in self.axes),
            settings=changed_settings(TrainingOptions, self.settings),
            **{name: tuple(getattr(self, name)) for name in ("aligns", "combines", "corrects", "studies")},
        )
        check_architecture(self.architecture, self.config)
        check_data(self.dataset, self.data_sha256, required=True)
        self._check_images()
        check_text(self.name or "-", "A sweep's name")
        check_whole(self, "epochs", "common", "networks", "groups", "first_group", "seeds", "images", "points", "seed")
        self._check_axes()
        self._check_methods()
        self._check_studies()
        self._check_lambdas()
        for count in self.image_counts():
            if str(count) not in self.merge_sha256:
                raise InvalidRequest(f"The hash of the first {count} images is missing. Submit the sweep again.")
        set_fields(self, merge_sha256={str(count): self.merge_sha256[str(count)] for count in self.image_counts()})
        for sha256 in self.merge_sha256.values():
            check_sha256(sha256, "The images' hash")

    def _check_images(self) -> None:
        images = find_facts(self.dataset)
        if images is None:
            return
        for name, value in (("classes", len(images.classes)), ("in_shape", list(images.shape))):
            if self.config.get(name, value) != value:
                raise InvalidRequest(
                    f"The networks of a sweep have {name} {value}, as {images.label} needs; got {self.config[name]!r}."
                )

    def _check_axes(self) -> None:
        if not 1 <= len(self.axes) <= MOST_AXES or len({key for key, _ in self.axes}) < len(self.axes):
            raise InvalidRequest("A sweep has one axis, or two different ones.")
        checked = []
        for key, values in self.axes:
            axis = find_axis(key)
            numbers = tuple(axis.checked(value) for value in values)
            if not 1 <= len(numbers) <= MOST_VALUES:
                raise InvalidRequest(f"{axis.label} takes 1 to {MOST_VALUES} values; got {len(numbers)}.")
            if twice := [value for value in numbers if numbers.count(value) > 1]:
                raise InvalidRequest(f"{axis.label}: the value {twice[0]} is given twice. Give it once.")
            checked.append((key, numbers if axis.kind is str else tuple(sorted(numbers))))  # type: ignore[type-var]
        set_fields(self, axes=tuple(checked))
        keys = [key for key, _ in self.axes]
        if {"epoch", "epochs"} <= set(keys):
            raise InvalidRequest("Choose either the epochs trained or the length of the training as an axis, not both.")
        if PART in self.settings:
            raise InvalidRequest("A sweep gives each network of a group its own part of the split. Leave it out.")

    def _check_methods(self) -> None:
        for role, keys in self._methods():
            if not keys:
                raise InvalidRequest(f"Choose at least one method under {role.capitalize()}.")
            for key in keys:
                find(role, key)
        cells = math.prod(len(values) for _, values in self.axes) * len(self.triples()) * self.groups * self.seeds
        if cells > MOST_ROWS:
            raise InvalidRequest(
                f"This sweep has {cells} results; the limit is {MOST_ROWS}. Choose fewer values, methods or seeds."
            )

    def _check_studies(self) -> None:
        unknown = [key for key in self.studies if key not in with_numbers()]
        if unknown or len(set(self.studies)) < len(self.studies):
            raise InvalidRequest(f"A sweep runs each of these studies at most once: {', '.join(with_numbers())}.")

    def _check_lambdas(self) -> None:
        lambdas = next((values for key, values in self.axes if key == LAMBDA), ())
        if lambdas and self.at("networks", self.networks) != (2,):
            raise InvalidRequest("Only two networks have a path between them. Remove λ from the axes, or merge two.")
        if lambdas and self.studies:
            raise InvalidRequest("Studies are about a whole merge, not one λ. Remove λ from the axes, or the studies.")
        steps = self.points - 1
        for value in map(float, lambdas):
            if abs(value * steps - round(value * steps)) > 1e-9:
                raise InvalidRequest(
                    f"A curve of {self.points} points has no λ = {value:g}. Choose multiples of {1 / steps:.3g}, or "
                    "more points."
                )

    def _methods(self) -> Iterator[tuple[Role, tuple[str, ...]]]:
        yield from zip(ROLES, (self.aligns, self.combines, self.corrects), strict=True)

    def triples(self) -> list[tuple[str, str, str]]:
        """Every triple of methods (align, combine, correct)."""
        return list(itertools.product(self.aligns, self.combines, self.corrects))

    def at(self, key: str, usual: int) -> tuple[int, ...]:
        """The values that a whole number takes in this sweep: those of its axis, or the one value `usual`."""
        return next((tuple(map(int, values)) for name, values in self.axes if name == key), (usual,))

    def group_numbers(self) -> range:
        """Numbers of the groups."""
        return range(self.first_group, self.first_group + self.groups)

    def image_counts(self) -> tuple[int, ...]:
        """Numbers of images per split with which merges run."""
        return self.at("images", self.images)

    def point(self, values: Values, group: int) -> SweepRequest:
        """The sweep of one point (a value per axis) and one group, whose parts are parts of this sweep.

        Raises InvalidRequest for axes along which points share trainings or seeds.
        """
        shared = {"epoch", "networks"} & {key for key, _ in self.axes}
        if shared:
            raise InvalidRequest(f"The points of {find_axis(shared.pop()).label} cannot be asked for one by one.")
        axes = tuple((key, (value,)) for (key, _), value in zip(self.axes, values, strict=True))
        return replace(self, axes=axes, groups=1, first_group=group)

    @property
    def batch(self) -> str:
        """Batch with which the parts of the sweep are submitted."""
        return f"{SWEEP}{self.id}"

    @property
    def lane(self) -> str:
        """Planned: the dispatcher submits its parts."""
        return PLANNED

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        over = " and ".join(f"{find_axis(key).label.lower()} ({len(values)} values)" for key, values in self.axes)
        built = f"{describe(self.architecture, self.config)} on {dataset_label(self.dataset)}"
        return f"Sweep over {over}: {self.name or built}"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """(data set, sha256 of its images, None for all images)."""
        return self.dataset, self.data_sha256, None

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """0: the duration of a sweep is forecast from its parts."""
        return 0

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Nothing, because no past sweep is similar."""
        return {}
