"""The user's own networks: build the module with a factory, and match a file's tensors to the module's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import UnknownArchitecture
from merging.zoo.architectures.names import library_name
from merging.zoo.architectures.normalise import load_strictly, normalised
from merging.zoo.checkpoints.reading.safetensors_io import same_numbers
from merging.zoo.checkpoints.recognise.fit import COUNTER, Recognised
from merging.zoo.checkpoints.recognise.variants import missing_or_extra, variant_with
from merging.zoo.torchvision_import import imported

BOOLEANS = "booleans"  # a kind of numbers


def is_factory(architecture: str | None) -> bool:
    """Whether the name is a factory's ("package.module:function"), not that of a known architecture."""
    return architecture is not None and ":" in architecture and not library_name(architecture)[0]


def own_module(architecture: str, config: Mapping[str, Any]) -> nn.Module:
    """Call the factory with this configuration. Raises UnknownArchitecture when it does not return a module."""
    try:
        module = _factory(architecture)(**config)
    except UnknownArchitecture:
        raise
    except (Exception, SystemExit) as error:
        failure = f"{architecture} ended with {type(error).__name__}: {error}"
        raise UnknownArchitecture(
            f"{failure}. Give a factory that returns a torch module for {dict(config)}."
        ) from error
    if not isinstance(module, nn.Module):
        raise UnknownArchitecture(
            f"{architecture} returns a {type(module).__name__}. Give a factory that returns a torch module."
        )
    return unwrapped(module)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DataParallel, DistributedDataParallel, AveragedModel or torch.compile's wrapper."""
    wrappers = ("DataParallel", "DistributedDataParallel", "AveragedModel")
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in wrappers:
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def fit_own(state: Mapping[str, Tensor], architecture: str, config: Mapping[str, Any]) -> Recognised:
    """Match a state dict to the names in the factory's module, as they are in the file or without common prefixes.

    A tied tensor that was saved under only one of its names gets the others, too.
    Raises UnknownArchitecture naming the tensors that are missing, not expected, misshapen or of another kind, and
    those that the factory ties although the file holds different numbers for them.
    """
    expected = own_module(architecture, config).state_dict(keep_vars=True)
    ties = _ties(expected)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    once = {name for name in expected if ties[name] == name}
    way = variant_with(shapes, expected.keys()) or variant_with(shapes, once) or _with_some_ties(shapes, expected, ties)
    if way is None:
        missing = missing_or_extra({name: name for name in shapes}, expected.keys())
        lacks, more = ([n for n in sorted(missing) if (n in expected) == want] for want in (True, False))
        faults = [
            f"{words} {', '.join(names[:3])}" for words, names in (("it lacks", lacks), ("it has", more)) if names
        ]
        raise UnknownArchitecture(f"The file does not fit {architecture}: {'; '.join(faults)}. {_remedy(more, lacks)}")
    named = {name: state[theirs] for name, theirs in way.names.items()}
    full = {name: _found(name, named, ties, tensor) for name, tensor in expected.items()}
    for name, tensor in full.items():
        if tensor.shape != expected[name].shape:
            sizes = f"{tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            raise UnknownArchitecture(f"{way.names.get(name, name)} is {sizes} in {architecture}. Check --config.")
    tied = {name: first for name, first in ties.items() if {name, first} <= named.keys()}
    _check_numbers(full, expected, tied, architecture)
    renamed = {theirs: name for name, theirs in way.names.items() if name != theirs}
    return Recognised(architecture, dict(config), full, renamed, way.aside)


def build_own(
    architecture: str, config: Mapping[str, Any], state: Mapping[str, Tensor], mean: Any = (0.0,), std: Any = (1.0,)
) -> nn.Module:
    """Build the factory's module with these tensors, in eval mode; its input is standardised by mean and std.

    state: name -> tensor, of the shapes that the module has.
    """
    module = own_module(architecture, config)
    try:
        load_strictly(module, state)
    except RuntimeError as error:
        raise UnknownArchitecture(f"{architecture} does not fit the tensors: {error}") from error
    return normalised(module, mean, std).eval()


def _with_some_ties(
    shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor], ties: Mapping[str, str]
) -> Any:
    """The variant of the names in which every tensor, tied or not, has at least one of its names; None otherwise."""
    firsts = set(ties.values())
    present = {ties[name] for name in wanted if any(key == name or key.endswith(f".{name}") for key in shapes)}
    names = {name for name in wanted if any(key == name or key.endswith(f".{name}") for key in shapes)}
    return variant_with(shapes, names) if firsts <= present else None


def _ties(wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """Each name -> the first name of the same tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in wanted.items()}


def _check_numbers(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tied: Mapping[str, str], architecture: str
) -> None:
    """Raise UnknownArchitecture if tensors have numbers of another kind, or tied ones different numbers.

    tied: name -> first name of the same tensor, both in the file.
    """
    for name, tensor in found.items():
        ours = _kind(expected[name])
        if _kind(tensor) != ours and not name.endswith(COUNTER) and not (ours == BOOLEANS and _is_mask(tensor)):
            raise UnknownArchitecture(
                f"{name} holds {_kind(tensor)}, but {architecture} has {ours} there. Save the network with the numbers "
                "that it computes with."
            )
    for name, first in tied.items():
        if not same_numbers(found[name], found[first]):
            raise UnknownArchitecture(
                f"{architecture} ties {name} to {first}, but the file holds different numbers for them. Give the "
                "factory that the network was trained with."
            )


def _kind(tensor: Tensor) -> str:
    """The kind of a tensor's numbers, in words."""
    if tensor.is_floating_point():
        return "floating-point numbers"
    if tensor.is_complex():
        return "complex numbers"
    return BOOLEANS if tensor.dtype == torch.bool else "integers"


def _is_mask(tensor: Tensor) -> bool:
    """Whether integers are all 0 or 1, as masks were stored before there were booleans."""
    return _kind(tensor) == "integers" and bool(((tensor == 0) | (tensor == 1)).all())


def _found(name: str, named: Mapping[str, Tensor], ties: Mapping[str, str], like: Tensor) -> Tensor:
    kin = [name, *(other for other, first in ties.items() if first == ties[name])]
    tensor = next((named[other] for other in kin if other in named), None)
    # Only BatchNorm's counter may be missing; it is not used in eval mode.
    return torch.zeros_like(like) if tensor is None else tensor


def _remedy(more: list[str], lacks: list[str]) -> str:
    for ending, words in (
        ("weight_orig", "The file is of a pruned network: call torch.nn.utils.prune.remove before saving it"),
        ("original0", "The file holds weight norm: call torch.nn.utils.parametrize.remove_parametrizations first"),
        ("weight_g", "The file holds weight norm: call torch.nn.utils.remove_weight_norm before saving it"),
        ("weight_u", "The file holds spectral norm: call torch.nn.utils.remove_spectral_norm before saving it"),
        ("original", "The file holds a parametrised weight: call torch.nn.utils.parametrize.remove_parametrizations"),
    ):
        if any(name.endswith(ending) for name in more) and not any(name.endswith(ending) for name in lacks):
            return f"{words}, or give a factory whose module is prepared in the same way."
    return "Give the factory, and the --config, that the network was trained with."


def _factory(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    try:
        factory: Callable[..., Any] = getattr(imported(module), function)
    except (ImportError, AttributeError) as error:
        raise UnknownArchitecture(f"{name} cannot be imported: {error}. Give package.module:factory.") from error
    return factory
