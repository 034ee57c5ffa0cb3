"""Plan of a sweep: its cells, and the trainings and merges that each of them needs. torch-free."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from merging.errors import InvalidRequest
from merging.jobs.requests.base import ModelRef, Request
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.study import StudyRequest
from merging.jobs.requests.sweep import MOST_TRAININGS, SweepRequest, Values
from merging.jobs.requests.train import TrainRequest
from merging.jobs.sweeps.axes import LAMBDA, PART, with_depth, with_width
from merging.methods.registry import ROLES, find
from merging.settings import Scalar
from merging.zoo.architectures.names import is_torchvision
from merging.zoo.datasets.known import facts
from merging.zoo.training.options import TrainingOptions

R = TypeVar("R")
BASE_SEED = 1_000_000  # added to the seed of a group's common start, so that it is no seed of a network
TRAINED = frozenset(TrainingOptions.__dataclass_fields__)


@dataclass(frozen=True)
class Network:
    """A network of a cell.

    Attributes:
        training: its training; without its start, if the networks of the group have a common one.
        epoch: epoch after which it is read; None for the last one.
        base: the training of the common start, or None.
    """

    training: TrainRequest
    epoch: int | None = None
    base: TrainRequest | None = None


# (training, epoch or None for the last) -> reference to the network, None while it is not trained
Lookup = Callable[[TrainRequest, int | None], ModelRef | None]


@dataclass(frozen=True)
class SweepCell:
    """One merge of a sweep.

    Attributes:
        values: the value of each axis.
        triple: keys of align, combine and correct.
        group: number of the group of networks, from 0.
        seed: seed of the methods.
        networks: the networks.
        images: images per split of the merge.
        settings: role -> settings of the methods, for axes that are settings of methods.
        merge: equal for cells that read the same merge, at different lambdas.
        at: the lambda at which the path of the merge is read; None for the merge itself.
    """

    values: Values
    triple: tuple[str, str, str]
    group: int
    seed: int
    networks: tuple[Network, ...]
    images: int
    settings: dict[str, dict[str, Scalar]]
    merge: tuple[Any, ...]
    at: float | None = None


MOST_KNOWN = 20_000  # requests that are kept, so that a look at a sweep does not make them anew
_known: dict[tuple[Any, ...], Any] = {}


def _kept(key: tuple[Any, ...], make: Callable[[], R]) -> R:
    """The value under this key, made at the first call. All values are dropped once there are MOST_KNOWN."""
    value: R | None = _known.get(key)  # one look only: another thread may drop all values at any time
    if value is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        value = _known[key] = make()
    return value


@lru_cache(maxsize=200)  # as many as may be open, or each would be made anew in each round; .5 MB for 400 trainings
def _cells(text: str) -> tuple[SweepCell, ...]:
    request = from_json(text)
    assert isinstance(request, SweepRequest)
    return tuple(_made(request))


def cells_of(sweep: SweepRequest) -> tuple[SweepCell, ...]:
    """The cells of a sweep, in the order of its axes, methods, groups and seeds.

    Raises InvalidRequest or InvalidSetting if a value does not fit the network, or a method does not fit the sweep.
    """
    return _cells(sweep.to_json())


def checked_sweep(sweep: SweepRequest) -> SweepRequest:
    """Return the sweep. Raises InvalidRequest or InvalidSetting if one of its trainings or merges is impossible."""
    one_each = {(cell.values, cell.triple): cell for cell in cells_of(sweep)}  # groups and seeds do not matter
    for cell in one_each.values():
        studies_of(sweep, planned_merge(sweep, cell, no_network))
    trainings = len({one.training.id for cell in cells_of(sweep) for one in cell.networks})
    if trainings > MOST_TRAININGS:
        raise InvalidRequest(
            f"This sweep has {trainings} trainings; the limit is {MOST_TRAININGS}. Choose fewer values or groups."
        )
    return sweep


def next_requests(sweep: SweepRequest, cell: SweepCell, find_network: Lookup) -> tuple[Request, ...]:
    """The requests that can be submitted next for a cell: its common start, else its trainings, else its merge."""
    bases = [one.base for one in cell.networks if one.base is not None and find_network(one.base, None) is None]
    if bases:
        return tuple(bases)
    trainings = [_started(one, find_network) for one in cell.networks]
    waiting = [
        training
        for training, one in zip(trainings, cell.networks, strict=True)
        if find_network(training, one.epoch) is None
    ]
    return tuple(waiting) or (planned_merge(sweep, cell, find_network),)


def planned_merge(sweep: SweepRequest, cell: SweepCell, find_network: Lookup) -> MergeRequest:
    """The merge of a cell whose networks are trained."""
    models = tuple(find_network(_started(one, find_network), one.epoch) for one in cell.networks)
    first = cell.networks[0].base
    needs_base = any(find(role, key).needs_base for role, key in zip(ROLES, cell.triple, strict=True))  # type: ignore[arg-type]
    base = find_network(first, None) if needs_base and first is not None else None
    place = (sweep.id, *cell.merge)

    def make() -> MergeRequest:
        return MergeRequest(
            models,  # type: ignore[arg-type]
            *cell.triple,
            settings=cell.settings,
            dataset=sweep.dataset,
            data_sha256=sweep.merge_sha256[str(cell.images)],
            images=cell.images,
            points=sweep.points,
            seed=cell.seed,
            base=base,
        )

    return _kept((*place, *(model.sha256 if model else "" for model in (*models, base))), make)


def studies_of(sweep: SweepRequest, merge: MergeRequest) -> tuple[StudyRequest, ...]:
    """The studies of a finished merge, with the seed of its methods."""
    return tuple(
        _kept((merge.id, key), lambda key=key: StudyRequest(merge, key, seed=merge.seed))  # type: ignore[misc]
        for key in sweep.studies
    )


def trainings(sweep: SweepRequest, find_network: Lookup) -> Iterator[TrainRequest]:
    """Every training of the sweep once, those of common starts included."""
    ids = set[str]()
    for cell in cells_of(sweep):
        for one in cell.networks:
            for request in (one.base, _started(one, find_network)):
                if request is not None and request.id not in ids:
                    ids.add(request.id)
                    yield request


def _started(network: Network, find_network: Lookup) -> TrainRequest:
    """The training of a network, from its common start if that exists."""
    start = find_network(network.base, None) if network.base is not None else None
    if start is None:
        return network.training
    return _kept((network.training.id, start.sha256), lambda: replace(network.training, start=start))


def _made(sweep: SweepRequest) -> Iterator[SweepCell]:
    keys = [key for key, _ in sweep.axes]
    for values in itertools.product(*(values for _, values in sweep.axes)):
        point = dict(zip(keys, values, strict=True))
        groups = {group: _networks(sweep, point, group) for group in sweep.group_numbers()}
        images, seeds = int(point.get("images", sweep.images)), range(sweep.seed, sweep.seed + sweep.seeds)
        for triple in sweep.triples():
            settings = _method_settings(point, triple)
            at = point.get(LAMBDA)
            read = None if at is None else float(at)
            own = tuple(value for key, value in point.items() if key != LAMBDA)
            for (group, networks), seed in itertools.product(groups.items(), seeds):
                merge = (own, triple, group, seed)
                yield SweepCell(values, triple, group, seed, networks, images, settings, merge, read)


def _networks(sweep: SweepRequest, point: Mapping[str, Scalar], group: int) -> tuple[Network, ...]:
    most = max(sweep.at("networks", sweep.networks))
    first = sweep.seed + group * most
    config, settings = _config(sweep, point), {**sweep.settings, **_only(point, TRAINED)}
    epochs, marks = int(point.get("epochs", sweep.epochs)), _marks(sweep)
    if marks:
        epochs = max(marks[-1], 1)
    common: Any = {"architecture": sweep.architecture, "config": config, "dataset": sweep.dataset}
    common["data_sha256"] = sweep.data_sha256
    length = int(point.get("common", sweep.common))
    base = None
    if settings.get("lora") and not length:
        raise InvalidRequest("LoRA changes a network that is trained already. Set Common start to at least 1 epoch.")
    if length:
        whole = {name: value for name, value in settings.items() if name not in ("split", "lora")}
        base = TrainRequest(**common, epochs=length, seed=BASE_SEED + sweep.seed + group, settings=whole)
    networks = []
    for number in range(int(point.get("networks", sweep.networks))):
        own = {**settings, PART: number % 2} if settings.get("split", "none") != "none" else settings
        keep = tuple(mark for mark in marks if mark < epochs)
        training = TrainRequest(**common, epochs=epochs, seed=first + number, settings=own, keep=keep)
        mark = point.get("epoch")
        networks.append(Network(training, None if mark in (None, epochs) else int(mark or 0), base))
    return tuple(networks)


def _marks(sweep: SweepRequest) -> tuple[int, ...]:
    """Epochs after which networks are read; () without an axis of them."""
    return next((tuple(map(int, values)) for key, values in sweep.axes if key == "epoch"), ())


def _config(sweep: SweepRequest, point: Mapping[str, Scalar]) -> dict[str, Any]:
    images = facts(sweep.dataset)
    shape = {} if is_torchvision(sweep.architecture) else {"in_shape": list(images.shape)}
    config = {**sweep.config, **shape, "classes": len(images.classes)}
    if "depth" in point:
        config = with_depth(sweep.architecture, config, int(point["depth"]))
    return with_width(sweep.architecture, config, int(point["width"])) if "width" in point else config


def _method_settings(point: Mapping[str, Scalar], triple: tuple[str, str, str]) -> dict[str, dict[str, Scalar]]:
    """Settings of the methods at a point; methods without such a setting ignore it."""
    settings: dict[str, dict[str, Scalar]] = {}
    for key, value in point.items():
        role, _, name = key.partition(".")
        if name:
            method = find(role, triple[ROLES.index(role)])  # type: ignore[arg-type]
            if name in method.settings.__dataclass_fields__:  # type: ignore[attr-defined]
                settings.setdefault(role, {})[name] = value
    return settings


def _only(point: Mapping[str, Scalar], names: Iterable[str]) -> dict[str, Scalar]:
    return {key: value for key, value in point.items() if key in names}


def no_network(training: TrainRequest, epoch: int | None) -> ModelRef:
    """A reference that stands for a network that is not trained yet, to check whether its merge is possible."""
    images = facts(training.dataset)
    sha256 = hashlib.sha256(f"{training.id} {epoch}".encode()).hexdigest()
    known = (training.architecture, training.config, training.dataset, images.classes, images.mean, images.std)
    return ModelRef(sha256, "a network of the sweep", *known)
