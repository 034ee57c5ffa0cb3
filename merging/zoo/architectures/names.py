"""Names and labels of architectures, and checks whether networks can be merged. torch-free, for the web process."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from merging.literals import literals
from merging.zoo import architectures


@dataclass(frozen=True)
class Name:
    """Label of an architecture in menus, a sentence of help, and its settings that a state dict does not show."""

    label: str
    summary: str
    unseen: tuple[str, ...] = ()


FIRST = ("mlp", "cnn", "resnet")  # architectures that stand first in lists: the simple ones


def architecture_names() -> dict[str, Name]:
    """Read the tables `LABELS` of this folder's files: key -> (label, summary, settings that tensors do not show)."""
    tables = literals(architectures.__path__, "LABELS").values()
    names = {key: Name(*entry) for table in tables for key, entry in table.items()}
    return {key: names[key] for key in (*FIRST, *(key for key in names if key not in FIRST))}


NAMES = architecture_names()
RELU = "relu"  # the nonlinearity of a configuration that names none
NONLINEARITIES: dict[str, str] = {
    RELU: "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "leaky_relu": "leaky ReLU",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}

POOLS: dict[str, str] = {"max": "max pools", "avg": "average pools", "stride": "strides in place of pools"}
PADDINGS: dict[str, str] = {"same": "padded convolutions", "valid": "convolutions without padding"}
HEADS: dict[str, str] = {"avg": "global average", "max": "global maximum"}
STEMS: dict[str, str] = {"plain": "plain stem", "pool": "max pool after the stem", "stride": "stem of stride 2"}

# Settings that a state dict does not show, with the label of each choice. The first choice is the default. The settings
# must be recorded, because networks that compute different functions can have the same tensors.
CHOICES = {"nonlinearity": NONLINEARITIES, "pool": POOLS, "padding": PADDINGS, "global_pool": HEADS, "stem": STEMS}
UNSEEN = {key: {setting: CHOICES[setting] for setting in name.unseen} for key, name in NAMES.items() if name.unseen}

WIDTHS = ("widths", "width", "hidden")  # entries of a configuration that set the widths of hidden layers
DEEP = ("mlp", "cnn", "adaptive")  # architectures with one hidden layer per entry of widths, which they need


_USUAL = {setting: next(iter(choices)) for setting, choices in CHOICES.items()}


def differ_in_width(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two configurations of one architecture differ only in the widths of their hidden layers."""
    if a == b or a.keys() != b.keys():
        return False
    return all(a[key] == b[key] or (key in WIDTHS and _sizes(a[key]) == _sizes(b[key])) for key in a)


PROGRAM = "program"  # an exported program, whose graph is in the checkpoint itself
_LIBRARY = re.compile(r"(torchvision|timm)/([A-Za-z0-9_.]{1,80})")


def library_name(architecture: str) -> tuple[str, str]:
    """Split "torchvision/resnet34" into ("torchvision", "resnet34"); ("", "") for any other kind of architecture."""
    match = _LIBRARY.fullmatch(architecture)
    return (match[1], match[2]) if match else ("", "")


@cache
def torchvision_keys() -> tuple[str, ...]:
    """Keys of torchvision's classification networks, from torchvision_names.json beside this file."""
    names_by_digest: dict[str, list[str]] = json.loads(
        Path(__file__).with_name("torchvision_names.json").read_text("utf-8")
    )
    return tuple(sorted(f"torchvision/{name}" for names in names_by_digest.values() for name in names))


def is_known(architecture: str) -> bool:
    """Whether a checkpoint may have this architecture: a key of `NAMES`, a library's network or an exported program."""
    return architecture in NAMES or architecture == PROGRAM or bool(library_name(architecture)[0])


def is_torchvision(architecture: str) -> bool:
    """Whether the architecture is torchvision's or timm's. Such networks take colour images, mostly of any size."""
    return architecture.startswith("tv_") or bool(library_name(architecture)[0])


def trunk_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the number of classes: the part that must agree when networks share a trunk."""
    return {key: value for key, value in config.items() if key != "classes"}


def with_known(config: Mapping[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    """Add the user's settings `more` to a configuration. Defaults are removed, so that equal networks compare equal."""
    joined = {**config, **(more or {})}
    return {key: value for key, value in joined.items() if (key, value) not in _USUAL.items()}


def unseen(architecture: str, config: Mapping[str, Any]) -> dict[str, str]:
    """The choice for each setting that the tensors do not show: setting -> choice."""
    settings = UNSEEN.get(architecture, {})
    return {setting: str(config.get(setting, next(iter(choices)))) for setting, choices in settings.items()}


def nonlinearity(config: Mapping[str, Any]) -> str:
    """The label of the configuration's nonlinearity, such as "ReLU"."""
    key = str(config.get("nonlinearity", RELU))
    return NONLINEARITIES.get(key, key)


def describe(architecture: str, config: Mapping[str, Any]) -> str:
    """Label of an architecture with its configuration, such as "MLP 3×512" or "Plain CNN 32-64-128-256 + BN".

    For an unknown architecture, its name is the label, so that lists with checkpoints from other programs can be shown.
    """
    library, name = library_name(architecture)
    label = f"{name} ({library})" if library else architecture
    if architecture in NAMES:
        label = NAMES[architecture].label
    if architecture == PROGRAM:
        return str(config.get("label", "Exported program"))
    widths = [int(width) for width in config.get("widths", ())]
    if widths:
        label += f" {_widths(architecture, widths)}"
    norm = {"batch": " + BN", "layer": " + LN"}.get(str(config.get("norm", "none")), "")
    label += norm if architecture in ("cnn", "resnet") else ""
    settings = UNSEEN.get(architecture, {})
    extra = [choices.get(str(config[key]), str(config[key])) for key, choices in settings.items() if key in config]
    return ", ".join([label, *extra])


def describe_wiring(architecture: str, config: Mapping[str, Any]) -> str:
    """`describe`, with every setting that the tensors do not show, including defaults: "MLP 3×512 · ReLU"."""
    visible = {key: value for key, value in config.items() if key not in UNSEEN.get(architecture, {})}
    words = [UNSEEN[architecture][key].get(value, value) for key, value in unseen(architecture, config).items()]
    return describe(architecture, visible) + (f" · {', '.join(words)}" if words else "")


def _sizes(value: Any) -> int:
    """The number of widths in an entry of a configuration; 0 for a single number."""
    return len(value) if isinstance(value, list | tuple) else 0


def _widths(architecture: str, widths: list[int]) -> str:
    same = architecture in ("mlp", "adaptive") and len(set(widths)) == 1
    return f"{len(widths)}×{widths[0]}" if same else "-".join(map(str, widths))


def unlike(a: Any, b: Any) -> str:
    """One sentence on why two networks of one architecture cannot be averaged; "" if they can.

    a, b: objects with `classes`, `mean` and `std`, such as catalogue entries or model references.
    """
    if a.classes and b.classes and a.classes != b.classes:
        return (
            "A and B name their classes differently or in another order, so their outputs cannot be averaged. "
            "Zip them instead, with separate heads."
        )
    if [round(value, 4) for value in a.mean + a.std] != [round(value, 4) for value in b.mean + b.std]:
        return "A and B expect different normalisation of their images (mean and std): enter the same values for both."
    return ""
