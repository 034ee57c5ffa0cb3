"""The proof of a guess: the architecture is built without numbers and every tensor's name and shape compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.zoo.architectures import build
from merging.zoo.architectures.names import NAMES, describe, with_known
from merging.zoo.checkpoints.recognise.parts import Guess, Shapes
from merging.zoo.checkpoints.recognise.plain import mlp, plain_convolutions
from merging.zoo.checkpoints.recognise.residual import residual

RECOGNISERS = (mlp, residual, plain_convolutions)
COUNTER = "num_batches_tracked"
_EXAMPLES: dict[str, dict[str, Any]] = {"mlp": {"widths": [512]}, "cnn": {"widths": [32, 64]}, "resnet": {}}


@dataclass(frozen=True)
class Recognised:
    """state: under our names, in the network's order.  renamed: the file's name -> ours, where they differ."""

    architecture: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    renamed: dict[str, str]


def recognise(
    state: Mapping[str, Tensor], architecture: str = "", config: Mapping[str, Any] | None = None
) -> Recognised:
    """The known architecture (`architecture` alone, where given) with its configuration read from the shapes.

    config: entries that shapes cannot tell, such as the nonlinearity; they win.
    Raises UnknownArchitecture naming the nearest known one and the first three tensors that do not fit it.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    guesses = [guess for guess in (find(shapes) for find in RECOGNISERS) if guess is not None]
    chosen = [guess for guess in guesses if architecture in ("", guess.architecture)]
    if chosen:
        return _renamed(state, replace(chosen[0], config=with_known(chosen[0].config, config)))
    nearest = guesses[0].architecture if guesses and not architecture else architecture or _nearest(shapes)
    expected = expected_shapes(nearest, _EXAMPLES.get(nearest, {}))
    tensors = f"these {len(shapes)} tensors" if len(shapes) != 1 else "this one tensor"
    raise UnknownArchitecture(
        f"No known architecture fits {tensors}. The nearest is {NAMES[nearest].label}, "
        f"but {_differences(shapes, expected)}.{_left_out(shapes)} Known: "
        f"{', '.join(name.label for name in NAMES.values())}."
    )


def _left_out(shapes: Shapes) -> str:
    """A sentence where a module has a bias and nothing else, which looks as if its weight was not saved; or ""."""
    for name in shapes:
        module, _, last = name.rpartition(".")
        if module and last == "bias" and sum(other.startswith(f"{module}.") for other in shapes) == 1:
            return f" It holds {name}, but no {module}.weight: was all of the state dict saved?"
    return ""


def fit(state: Mapping[str, Tensor], architecture: str, config: Mapping[str, Any]) -> Recognised:
    """The state dict of a named architecture, each tensor's shape proved.

    Raises UnknownArchitecture naming the first three misfits.
    """
    return _renamed(state, Guess(architecture, dict(config), {name: name for name in state}))


def expected_shapes(architecture: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of the architecture in its own order; nothing is allocated.

    Raises UnknownArchitecture where the configuration is none of that architecture's.
    """
    try:
        with torch.device("meta"):
            state = build(architecture, config).state_dict()
    except InvalidSetting as error:
        raise UnknownArchitecture(f"The tensors were taken for {architecture}, but {error}.") from error
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _renamed(state: Mapping[str, Tensor], guess: Guess) -> Recognised:
    expected = expected_shapes(guess.architecture, guess.config)
    named = {ours: state[theirs] for ours, theirs in guess.names.items()}
    unnamed = set(state) - set(guess.names.values())
    for name in expected:  # files from before PyTorch 0.4.1 have no counters, and nothing is computed with them
        if name.endswith(COUNTER) and name not in named:
            named[name] = torch.zeros((), dtype=torch.int64)
    everything = named | {name: state[name] for name in unnamed}
    found = {name: tuple(tensor.shape) for name, tensor in everything.items()}
    if found != expected:
        label = describe(guess.architecture, guess.config)
        raise UnknownArchitecture(
            f"The tensors are nearest to {label}, but {_differences(found, expected, guess.names)}."
        )
    renamed = {theirs: ours for ours, theirs in guess.names.items() if ours != theirs}
    return Recognised(guess.architecture, guess.config, {name: named[name] for name in expected}, renamed)


def _differences(found: Shapes, expected: Shapes, names: Mapping[str, str] | None = None) -> str:
    """What is missing, extra or misshapen, three of each. names: our tensor names -> the file's, for the last."""
    missing = [_theirs(name, names or {}) for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    shapes = [
        f"{(names or {}).get(name, name)} is {_size(found[name])} instead of {_size(size)}"
        for name, size in expected.items()
        if name in found and found[name] != size
    ]
    facts = [_listed(words, those) for words, those in (("missing", missing), ("not expected", extra)) if those]
    return "; ".join([*facts, *([_listed("wrong shapes", shapes)] if shapes else [])])


def _theirs(name: str, names: Mapping[str, str]) -> str:
    """What the file would call a tensor of ours that it lacks, by what it calls others of that module."""
    module, _, last = name.rpartition(".")
    kin = next((theirs for ours, theirs in names.items() if ours.rpartition(".")[0] == module), name)
    return f"{kin.rpartition('.')[0]}.{last}"


def _listed(words: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{words}: {', '.join(names[:3])}{more}"


def _size(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _nearest(shapes: Shapes) -> str:
    """The architecture that shares the largest part of its tensor names with the file."""

    def shared(key: str) -> float:
        names = set(expected_shapes(key, _EXAMPLES.get(key, {})))
        return len(names & set(shapes)) / len(names | set(shapes))

    return max(NAMES, key=shared)
