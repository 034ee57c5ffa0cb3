"""Find the known networks that a state dict may belong to, and prove each: build it without values and compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.zoo.architectures import build
from merging.zoo.architectures.names import NAMES, UNSEEN, describe, library_name, with_known
from merging.zoo.architectures.weightless import made_weightless
from merging.zoo.checkpoints.programs import KnownProgram
from merging.zoo.checkpoints.recognise.chain import convolutional, recognise_adaptive, recognise_mlp
from merging.zoo.checkpoints.recognise.parts import Guess, Shapes
from merging.zoo.checkpoints.recognise.residual import residual
from merging.zoo.checkpoints.recognise.variants import Variant, variants

RECOGNISERS = (recognise_mlp, recognise_adaptive, residual, convolutional)
COUNTER = "num_batches_tracked"
_EXAMPLES: dict[str, dict[str, Any]] = {
    **{"mlp": {"widths": [512]}, "adaptive": {"widths": [512]}, "cnn": {"widths": [32, 64]}, "resnet": {}}
}


@dataclass(frozen=True, eq=False)
class Recognised:
    """A known network that the tensors fit.

    Attributes:
        state: Mergescope's tensor names -> tensors, in the network's order.
        renamed: the file's names -> Mergescope's, where they differ.
        aside: names of the file's tensors that the network does not have.
        program: the exported program, for an exported network.
    """

    architecture: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    renamed: dict[str, str]
    aside: tuple[str, ...] = ()
    program: KnownProgram | None = None

    @property
    def label(self) -> str:
        """Readable name of the architecture."""
        return describe(self.architecture, self.config)

    @property
    def open(self) -> dict[str, tuple[str, ...]]:
        """Settings that neither the tensors nor the configuration determine: setting -> its choices."""
        named = UNSEEN.get(self.architecture, {})
        return {key: tuple(choices) for key, choices in named.items() if key not in self.config}


def structures(
    state: Mapping[str, Tensor], architecture: str = "", config: Mapping[str, Any] | None = None
) -> tuple[Recognised, ...]:
    """Find the known networks that these tensors may belong to, each with its configuration read from the shapes.

    Args:
        architecture: the only network to consider; "" for all.
        config: settings that shapes do not determine, such as the nonlinearity; they take precedence over shapes.
    Raises:
        UnknownArchitecture: when none fits; the message names the nearest known network and the first three misfits.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if library_name(architecture)[0]:
        return (_library(state, shapes, architecture, config),)
    refusals: list[UnknownArchitecture] = []
    unique: dict[str, Recognised] = {}
    for way in variants(shapes):
        for guess in _guesses(way, shapes, architecture, refusals):
            try:
                fitting = _renamed(state, replace(guess, config=with_known(guess.config, config)), way)
            except UnknownArchitecture as refusal:
                refusals.append(refusal)
                continue
            unique.setdefault(f"{fitting.architecture} {sorted(fitting.config.items())}", fitting)
        if unique:
            return tuple(unique.values())
    unknown = _unknown(shapes, architecture)
    raise refusals[0] if refusals and not _left_out(shapes) else unknown


def wirings(recognised: Recognised, said: Mapping[str, Any]) -> tuple[Recognised, ...]:
    """Return the network with every combination of choices for its open settings.

    said: settings that the user stated; they are left unchanged. All results have the same tensors. The usual choices
    come first.
    """
    settings = {key: listed for key, listed in recognised.open.items() if key not in said}
    choices = [[(setting, choice) for choice in listed] for setting, listed in settings.items()]
    every = []
    for picked in product(*choices):
        config = with_known(recognised.config, dict(picked))
        every.append(replace(recognised, config=config))
    return tuple(every)


def fit(state: Mapping[str, Tensor], architecture: str, config: Mapping[str, Any]) -> Recognised:
    """Check every name and shape of a state dict against an architecture; counters of BatchNorm may be missing.

    Raises UnknownArchitecture naming the first three misfits.
    """
    return _renamed(state, Guess(architecture, dict(config), {name: name for name in state}))


def expected_shapes(architecture: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, in the architecture's own order; nothing is allocated.

    Raises UnknownArchitecture when the configuration is not valid for the architecture.
    """
    return {name: tuple(tensor.shape) for name, tensor in _expected(architecture, config).items()}


def _expected(architecture: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensor name -> a tensor of its shape and type, without values; raises the errors of `expected_shapes`."""
    try:
        return made_weightless(lambda: build(architecture, config)).state_dict()
    except InvalidSetting as error:
        raise UnknownArchitecture(f"The tensors look like those of {architecture}, but {error}.") from error


def _guesses(way: Variant, shapes: Shapes, architecture: str, refusals: list[UnknownArchitecture]) -> Iterable[Guess]:
    """The candidates under one variant of the names. torchvision's published names leave only one candidate."""
    own = way.shapes(shapes)
    if not architecture and (published := _published(own)) is not None:
        return [published]
    guesses: list[Guess] = []
    for recogniser in RECOGNISERS:
        try:
            guesses += [guess for guess in recogniser(own) if architecture in ("", guess.architecture)]
        except UnknownArchitecture as refusal:
            refusals.append(refusal)
    if not guesses and not refusals and architecture in NAMES:  # no shapes tell its sizes; the caller states them
        return [Guess(architecture, {}, {name: name for name in own})]
    return guesses


def _published(shapes: Shapes) -> Guess | None:
    """The torchvision network that has exactly these tensor names and shapes."""
    from merging.zoo.architectures.library import library_config, torchvision_nets

    for key in torchvision_nets(frozenset(shapes)):
        config = library_config(key, shapes)
        expected = expected_shapes(key, config)
        if all(expected.get(name) == shape for name, shape in shapes.items()):
            return Guess(key, config, {name: name for name in shapes})
    return None


def _library(
    state: Mapping[str, Tensor], shapes: Shapes, architecture: str, config: Mapping[str, Any] | None
) -> Recognised:
    from merging.zoo.architectures.library import library_config

    refusals = []
    for way in variants(shapes):
        own = way.shapes(shapes)
        settings = {**library_config(architecture, own), **(config or {})}
        try:
            return _renamed(state, Guess(architecture, settings, {name: name for name in own}), way)
        except UnknownArchitecture as refusal:
            refusals.append(refusal)
    raise refusals[-1]


def _renamed(state: Mapping[str, Tensor], guess: Guess, way: Variant | None = None) -> Recognised:
    """Prove a guess. way: the variant of the names that the guess was made from; None for the file's own names.

    Raises UnknownArchitecture when a name, shape or type does not fit.
    """
    theirs = dict(way.names) if way is not None else {name: name for name in state}
    own = _expected(guess.architecture, guess.config)
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    named = {ours: state[theirs[read]] for ours, read in guess.names.items()}
    unnamed = set(theirs) - set(guess.names.values())
    for name in expected:  # PyTorch before 0.4.1 had no counters; the network does not compute with them
        if name.endswith(COUNTER) and name not in named:
            named[name] = torch.zeros((), dtype=torch.int64)
    everything = named | {name: state[theirs[name]] for name in unnamed}
    sizes = {name: tuple(tensor.shape) for name, tensor in everything.items()}
    file_names = {ours: theirs[read] for ours, read in guess.names.items()}
    label = describe(guess.architecture, guess.config)
    if sizes != expected:
        raise UnknownArchitecture(
            f"The tensors are nearest to {label}, but {_differences(sizes, expected, file_names)}."
        )
    for name, tensor in named.items():
        if own[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UnknownArchitecture(
                f"{file_names.get(name, name)} holds {kind}; the weights of {label} must be floating-point numbers."
            )
    renamed = {file: ours for ours, file in file_names.items() if ours != file}
    ordered = {name: named[name] for name in expected}
    return Recognised(guess.architecture, dict(guess.config), ordered, renamed, way.aside if way is not None else ())


def _unknown(shapes: Shapes, architecture: str) -> UnknownArchitecture:
    nearest = architecture if architecture in NAMES else _nearest(shapes)
    expected = expected_shapes(nearest, _EXAMPLES.get(nearest, {}))
    tensors = f"these {len(shapes)} tensors" if len(shapes) != 1 else "this one tensor"
    return UnknownArchitecture(
        f"No known architecture fits {tensors}. The nearest is {NAMES[nearest].label}, "
        f"but {_differences(shapes, expected)}.{_left_out(shapes)} Known: "
        f"{', '.join(name.label for name in NAMES.values())}; torchvision/NAME and timm/NAME by name; any other as an "
        "exported program (.pt2), or with --architecture package.module:factory on the command line."
    )


def _left_out(shapes: Shapes) -> str:
    """A sentence about a module with a bias only, whose weight was probably not saved; "" if there is none."""
    for name in shapes:
        module, _, last = name.rpartition(".")
        if module and last == "bias" and sum(other.startswith(f"{module}.") for other in shapes) == 1:
            return f" It holds {name}, but no {module}.weight: was all of the state dict saved?"
    return ""


def _differences(sizes: Shapes, expected: Shapes, names: Mapping[str, str] | None = None) -> str:
    """A phrase that lists missing, extra and misshapen tensors, three of each. names: Mergescope's -> the file's."""
    missing = [_theirs(name, names or {}) for name in expected if name not in sizes]
    extra = [name for name in sizes if name not in expected]
    shapes = [
        f"{(names or {}).get(name, name)} is {_size(sizes[name])} instead of {_size(size)}"
        for name, size in expected.items()
        if name in sizes and sizes[name] != size
    ]
    facts = [_listed(words, those) for words, those in (("missing", missing), ("not expected", extra)) if those]
    return "; ".join([*facts, *([_listed("wrong shapes", shapes)] if shapes else [])])


def _theirs(name: str, names: Mapping[str, str]) -> str:
    """The file's presumable name for a tensor that it lacks, by its name for another tensor of the same module."""
    module, _, last = name.rpartition(".")
    kin = next((theirs for ours, theirs in names.items() if ours.rpartition(".")[0] == module), name)
    return f"{kin.rpartition('.')[0]}.{last}"


def _listed(words: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{words}: {', '.join(names[:3])}{more}"


def _size(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _nearest(shapes: Shapes) -> str:
    """The architecture whose tensor names overlap most with the file's (intersection over union)."""

    def shared(key: str) -> float:
        names = _example_names(key)
        return len(names & set(shapes)) / len(names | set(shapes))

    return max(NAMES, key=shared)


@cache
def _example_names(key: str) -> frozenset[str]:
    """The names of the tensors of an architecture's example."""
    return frozenset(expected_shapes(key, _EXAMPLES.get(key, {})))
