"""The table of built-in architectures, and `build`, which builds a network from a key and a JSON-able configuration."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.zoo import architectures
from merging.zoo.architectures.declared import Declared
from merging.zoo.architectures.names import NAMES, UNSEEN, library_name

LIBRARY_CHOICES = {"auxiliary": ("yes", "no")}
SLOW = ("library", "torchvision_nets")  # modules that import torchvision, which takes a second


@dataclass(frozen=True)
class Architecture:
    """A built-in architecture. build: the function that builds a network from keyword arguments."""

    key: str
    label: str
    summary: str
    build: Callable[..., nn.Module]


def _tv_resnet18(*, mean: Sequence[float], std: Sequence[float], classes: int = 1000) -> nn.Module:
    from merging.zoo.architectures import torchvision_nets  # here, because importing torchvision takes a second

    return torchvision_nets.resnet18(mean, std, classes)


def _tv_resnet50(*, mean: Sequence[float], std: Sequence[float], classes: int = 1000) -> nn.Module:
    from merging.zoo.architectures import torchvision_nets

    return torchvision_nets.resnet50(mean, std, classes)


def _declared() -> dict[str, Declared]:
    """Key -> entry declared by the modules of this folder; torchvision itself is imported only when a net is built."""
    found: dict[str, Declared] = {}
    for file in sorted(pkgutil.iter_modules(architectures.__path__), key=lambda file: file.name):
        if file.name not in (*SLOW, "table"):
            found |= getattr(import_module(f"{architectures.__name__}.{file.name}"), "BUILT", {})
    return found | {"tv_resnet18": Declared(_tv_resnet18), "tv_resnet50": Declared(_tv_resnet50)}


_DECLARED = _declared()
ARCHITECTURES: dict[str, Architecture] = {
    key: Architecture(key, name.label, name.summary, _DECLARED[key].build) for key, name in NAMES.items()
}


def build(
    architecture: str,
    config: Mapping[str, Any],
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    *,
    seed: int = 0,
) -> nn.Module:
    """Build a freshly initialised network in eval mode, on the CPU. The caller's random state does not change.

    The network takes images (n, channels, height, width) in [0, 1].
    config: settings of the architecture.  mean, std: one value per channel, or a single value for all channels.
    Raises UnknownArchitecture, or InvalidSetting naming the wrong key of config.
    """
    if library_name(architecture)[0]:
        return _library_net(architecture, config, mean, std, seed)
    if architecture not in ARCHITECTURES:
        raise UnknownArchitecture(f"no architecture is called {architecture!r}; known: {', '.join(ARCHITECTURES)}")
    builder = ARCHITECTURES[architecture].build
    _check(architecture, config, builder)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return builder(mean=mean, std=std, **config).eval()


def _library_net(
    architecture: str, config: Mapping[str, Any], mean: Sequence[float], std: Sequence[float], seed: int
) -> nn.Module:
    from merging.zoo.architectures.library import build_library_net  # here: importing torchvision takes a second

    _check(architecture, config, partial(build_library_net, architecture))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_library_net(architecture, mean, std, **config).eval()


def _check(architecture: str, config: Mapping[str, Any], builder: Callable[..., nn.Module]) -> None:
    parameters = inspect.signature(builder).parameters
    allowed = [name for name, use in parameters.items() if use.kind == use.KEYWORD_ONLY and name not in ("mean", "std")]
    for name in allowed:
        if parameters[name].default is inspect.Parameter.empty and name not in config:
            raise InvalidSetting(f"{architecture} needs {name} in its configuration")
    for name, value in config.items():
        if name not in allowed:
            raise InvalidSetting(f"{architecture} has no setting {name!r}; it has {', '.join(allowed)}")
        _check_value(architecture, name, value)


def _check_value(architecture: str, name: str, value: Any) -> None:
    seen = LIBRARY_CHOICES if library_name(architecture)[0] else _DECLARED[architecture].choices
    choices = tuple(UNSEEN.get(architecture, {}).get(name, ())) or seen.get(name, ())
    if choices:
        if value not in choices:
            raise InvalidSetting(f"{name} of {architecture} is one of {', '.join(choices)}; got {value!r}")
        return
    numbers = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers):
        raise InvalidSetting(f"{name} of {architecture} takes whole numbers above 0; got {value!r}")
    if (name in ("widths", "blocks", "in_shape")) != isinstance(value, list | tuple):
        raise InvalidSetting(f"{name} of {architecture} has the wrong form: {value!r}")
    if name == "in_shape" and len(numbers) != 3:
        raise InvalidSetting(f"in_shape is channels, height, width; got {value!r}")
    if name != "in_shape" and isinstance(value, list | tuple) and not numbers:
        raise InvalidSetting(f"{name} of {architecture} is empty")
