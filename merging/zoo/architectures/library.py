"""Build networks of torchvision and timm by name, such as "torchvision/resnet34", with the library's own code.

The number of classes, input channels and image size are read from the shapes in the state dict. Nothing is downloaded,
because the weights come from the user's file.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from math import isqrt
from pathlib import Path
from typing import Any

from torch import nn

from merging.errors import InvalidSetting, UnknownArchitecture
from merging.zoo.architectures.names import library_name
from merging.zoo.architectures.normalise import normalised
from merging.zoo.architectures.weightless import made_weightless
from merging.zoo.torchvision_import import torchvision

Shapes = Mapping[str, tuple[int, ...]]
COUNTER = "num_batches_tracked"
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # prefixes of the auxiliary classifiers of GoogLeNet and Inception
DIGESTS = Path(__file__).with_name("torchvision_names.json")
_USUAL_CLASSES = 1000
_USUAL_SIZE = 224  # image size of vision transformers without a published one
_FAILURES = (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, LookupError)


def build_library_net(
    architecture: str,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    classes: int = _USUAL_CLASSES,
    channels: int = 3,
    image_size: int | None = None,
    auxiliary: str = "yes",
    in_shape: Sequence[int] = (),
) -> nn.Module:
    """Build a freshly initialised network of a library, with its own tensor names, for images in [0, 1].

    Args:
        architecture: "torchvision/NAME" or "timm/NAME".
        mean, std: one value per channel.
        classes: number of outputs.
        channels: number of input channels (timm only).
        image_size: height and width, for networks made for one size; else None.
        auxiliary: "no" leaves out auxiliary classifiers (GoogLeNet, Inception).
        in_shape: (channels, height, width) for tracing the network later; not used here.
    Raises:
        UnknownArchitecture: when the name is unknown, or timm is not installed.
        InvalidSetting: when the library refuses a setting.
    """
    library, name = library_name(architecture)
    settings: dict[str, Any] = {"num_classes": classes}
    if auxiliary == "no":
        settings["aux_logits"] = False
    try:
        net = _timm(name, settings, channels, image_size) if library == "timm" else _tv(name, settings, image_size)
    except _FAILURES as error:
        raise InvalidSetting(f"{architecture} cannot be built with {settings}: {error}") from error
    return normalised(net, mean, std)


def library_config(architecture: str, shapes: Shapes) -> dict[str, Any]:
    """Derive the settings of `build_library_net` from the shapes in a state dict. shapes: tensor name -> shape.

    Raises UnknownArchitecture for an unknown name.
    """
    net = made_weightless(lambda: build_library_net(architecture, (0.0,), (1.0,)))
    usual = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
    config: dict[str, Any] = {}
    timm_defaults = getattr(net, "default_cfg", None) or {}  # timm only
    if timm_defaults.get("fixed_input_size"):
        config["in_shape"] = list(timm_defaults["input_size"])
    if any(key.startswith(AUXILIARY) for key in usual.keys() - shapes.keys()):
        config["auxiliary"] = "no"
    heads = {shapes[key][0] for key, shape in usual.items() if shape[:1] == (_USUAL_CLASSES,) and shapes.get(key)}
    if len(heads) == 1 and heads != {_USUAL_CLASSES}:
        config["classes"] = heads.pop()
    stem = next((key for key, shape in usual.items() if len(shape) == 4), "")
    if library_name(architecture)[0] == "timm" and len(shapes.get(stem, ())) == 4 and usual[stem][1] != shapes[stem][1]:
        config["channels"] = shapes[stem][1]
    position = next((key for key in ("encoder.pos_embedding", "pos_embed") if key in usual), "")
    if position and stem and len(shapes.get(position, ())) == 3:
        size = timm_defaults.get("input_size", (3, _USUAL_SIZE))[-1]
        if shapes[position] != usual[position]:
            across = isqrt(usual[position][1])
            size = size // across * isqrt(max(0, shapes[position][1] - usual[position][1] + across**2))
            config["image_size"] = size
        config["in_shape"] = [config.get("channels", 3), size, size]
    return config


def torchvision_nets(names: frozenset[str]) -> tuple[str, ...]:
    """Keys of the torchvision networks whose state dicts have exactly these tensor names."""
    keys = _digests().get(names_digest(names), ())
    return tuple(f"torchvision/{name}" for name in keys)


def names_digest(names: frozenset[str]) -> str:
    """A short hash of tensor names. BatchNorm counters and auxiliary classifiers, which files may lack, are ignored."""
    stable_names = sorted(name for name in names if not name.endswith(COUNTER) and not name.startswith(AUXILIARY))
    return sha256("\n".join(stable_names).encode()).hexdigest()[:16]


def torchvision_names() -> tuple[str, ...]:
    """Names of torchvision's classification networks."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def timm_names() -> tuple[str, ...]:
    """Names of timm's models. Raises UnknownArchitecture when timm is not installed."""
    return tuple(_timm_module().list_models())


@cache
def _digests() -> dict[str, list[str]]:
    names: dict[str, list[str]] = json.loads(DIGESTS.read_text("utf-8"))
    return names


def _tv(name: str, settings: dict[str, Any], image_size: int | None) -> nn.Module:
    if name not in torchvision_names():
        raise UnknownArchitecture(f"torchvision has no network {name!r}. {_near(name, torchvision_names())}")
    if image_size is not None:
        settings["image_size"] = image_size
    if name in ("googlenet", "inception_v3"):  # skip their slow initialisation: the file's weights replace it
        settings["init_weights"] = False
    return torchvision.models.get_model(name, weights=None, **settings)


def _timm(name: str, settings: dict[str, Any], channels: int, image_size: int | None) -> nn.Module:
    timm = _timm_module()
    if not timm.is_model(name):
        raise UnknownArchitecture(f"timm has no network {name!r}. {_near(name, timm_names())}")
    if image_size is not None:
        settings["img_size"] = image_size
    return timm.create_model(name, pretrained=False, in_chans=channels, **settings)


def _timm_module() -> Any:
    from importlib import import_module

    try:
        torchvision.models  # noqa: B018 (timm imports torchvision, which must be loaded by torchvision_import first)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings are meant for people who call timm themselves
            return import_module("timm")
    except ImportError as error:
        message = "timm is not installed: run `pip install -r requirements-timm.txt`, then start again."
        raise UnknownArchitecture(message) from error


def _near(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, names, 3) or names[:3]
    return f"Did you mean {', '.join(near)}?"
