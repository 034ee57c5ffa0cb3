"""The table of built-in architectures, and `build`, which builds a network from a key and a JSON-able configuration."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.zoo.architectures import adaptive, cnn, mlp, resnet, vgg
from merging.zoo.architectures.names import NAMES, UNSEEN, library_name

CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("cnn", "norm"): ("none", "batch"),
    ("resnet", "norm"): ("batch", "layer", "none"),
    ("resnet", "shortcut"): ("conv", "pad", "identity"),
    ("cifar", "shortcut"): ("pad", "conv"),
    ("resnet", "head"): ("fc", "linear"),
    ("resnet", "projection"): ("shortcut", "downsample"),
    ("vgg", "head"): ("linear", "three"),
    ("library", "auxiliary"): ("yes", "no"),
}


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


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp.mlp,
    "cnn": cnn.cnn,
    "resnet": resnet.resnet,
    "adaptive": adaptive.adaptive,
    **{key: getattr(vgg, key) for key in ("vgg11", "vgg11_bn", "vgg16", "vgg16_bn")},
    **{key: getattr(resnet, key) for key in ("resnet20", "resnet32", "resnet44", "resnet56")},
    "tv_resnet18": _tv_resnet18,
    "tv_resnet50": _tv_resnet50,
}

ARCHITECTURES: dict[str, Architecture] = {
    key: Architecture(key, NAMES[key].label, NAMES[key].summary, builder) for key, builder in _BUILDERS.items()
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
    Raises UnknownArchitecture, or InvalidSetting with the key of config that is wrong.
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
    depth = architecture.removeprefix("resnet")
    families = (
        ("library",)
        if library_name(architecture)[0]
        else (
            ("cifar", "resnet") if depth.isdigit() else (architecture[:3] if "vgg" in architecture else architecture,)
        )
    )
    choices_of_families = (CHOICES[family, name] for family in families if (family, name) in CHOICES)
    choices = tuple(UNSEEN.get(architecture, {}).get(name, ())) or next(choices_of_families, ())
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
