"""What the built-in architectures are called, and which networks go together: read by the web process without torch."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Name:
    """A label for menus and a sentence for the help beside them."""

    label: str
    summary: str


NAMES: dict[str, Name] = {
    "mlp": Name("MLP", "Flattened image, linear layers with a nonlinearity between them."),
    "cnn": Name("Plain CNN", "3×3 convolutions, three max pools, global average, one linear layer."),
    "resnet": Name("Small residual net", "Basic residual blocks in stages; norm and kind of shortcut can be chosen."),
    "adaptive": Name(
        "Adaptive MLP", "An MLP whose hidden units each learn their nonlinearity: a gain and a saturation."
    ),
    "vgg11": Name("VGG-11", "Eight convolutions without normalisation, torchvision's key names."),
    "vgg11_bn": Name("VGG-11 + BN", "VGG-11 with BatchNorm after every convolution."),
    "vgg16": Name("VGG-16", "Thirteen convolutions without normalisation, torchvision's key names."),
    "vgg16_bn": Name("VGG-16 + BN", "VGG-16 with BatchNorm after every convolution."),
    "resnet20": Name("ResNet-20 (CIFAR)", "Three stages of three basic blocks, 16-32-64 channels."),
    "resnet32": Name("ResNet-32 (CIFAR)", "Three stages of five basic blocks, 16-32-64 channels."),
    "resnet44": Name("ResNet-44 (CIFAR)", "Three stages of seven basic blocks, 16-32-64 channels."),
    "resnet56": Name("ResNet-56 (CIFAR)", "Three stages of nine basic blocks, 16-32-64 channels."),
    "tv_resnet18": Name("ResNet-18 (torchvision)", "torchvision's own ResNet-18 for large images."),
    "tv_resnet50": Name("ResNet-50 (torchvision)", "torchvision's own ResNet-50 with bottleneck blocks."),
}


RELU = "relu"  # what a configuration that names no nonlinearity has
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

# Settings that leave no trace in a state dict, with what each choice is called; the first is what an architecture has
# where its configuration does not say.  Source of the trap: a chain and a residual net may have the same tensors.
_CIFAR_RESNET = {"nonlinearity": NONLINEARITIES, "global_pool": HEADS}
UNSEEN: dict[str, dict[str, dict[str, str]]] = {
    "mlp": {"nonlinearity": NONLINEARITIES},
    "cnn": {"nonlinearity": NONLINEARITIES, "pool": POOLS, "padding": PADDINGS, "global_pool": HEADS},
    "resnet": {"nonlinearity": NONLINEARITIES, "stem": STEMS, "global_pool": HEADS},
    **{f"resnet{depth}": _CIFAR_RESNET for depth in (20, 32, 44, 56)},
    **{key: {"nonlinearity": NONLINEARITIES} for key in ("vgg11", "vgg11_bn", "vgg16", "vgg16_bn")},
}

WIDTHS = ("widths", "width", "hidden")  # entries of a configuration that say how wide hidden layers are


_USUAL = {setting: next(iter(choices)) for declared in UNSEEN.values() for setting, choices in declared.items()}


def differ_in_width(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two configurations of one architecture differ in nothing but how wide their hidden layers are."""
    if a == b or a.keys() != b.keys():
        return False
    return all(a[key] == b[key] or (key in WIDTHS and _sizes(a[key]) == _sizes(b[key])) for key in a)


PROGRAM = "program"  # an exported program: its graph stands in the checkpoint itself
_LIBRARY = re.compile(r"(torchvision|timm)/([A-Za-z0-9_.]{1,80})")


def library_name(architecture: str) -> tuple[str, str]:
    """("torchvision", "resnet34") of "torchvision/resnet34"; ("", "") for what names no library's network."""
    match = _LIBRARY.fullmatch(architecture)
    return (match[1], match[2]) if match else ("", "")


@cache
def torchvision_keys() -> tuple[str, ...]:
    """torchvision's classification networks as keys, by the list that is kept beside this file."""
    listed: dict[str, list[str]] = json.loads(Path(__file__).with_name("torchvision_names.json").read_text("utf-8"))
    return tuple(sorted(f"torchvision/{name}" for names in listed.values() for name in names))


def is_known(architecture: str) -> bool:
    """Whether a checkpoint may name it: a key of `NAMES`, a library's network, or an exported program."""
    return architecture in NAMES or architecture == PROGRAM or bool(library_name(architecture)[0])


def is_torchvision(architecture: str) -> bool:
    """Whether it is a library's own network, which takes colour images, mostly of any size."""
    return architecture.startswith("tv_") or bool(library_name(architecture)[0])


def trunk_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without its number of outputs: what networks that are to share a trunk have in common."""
    return {key: value for key, value in config.items() if key != "classes"}


def with_known(config: Mapping[str, Any], more: Mapping[str, Any] | None) -> dict[str, Any]:
    """A configuration with what a person knows besides; usual choices go without saying, so that nets are alike."""
    joined = {**config, **(more or {})}
    return {key: value for key, value in joined.items() if (key, value) not in _USUAL.items()}


def unseen(architecture: str, config: Mapping[str, Any]) -> dict[str, str]:
    """What an architecture has for each setting that leaves no trace in its tensors: setting -> choice."""
    declared = UNSEEN.get(architecture, {})
    return {setting: str(config.get(setting, next(iter(choices)))) for setting, choices in declared.items()}


def nonlinearity(config: Mapping[str, Any]) -> str:
    """What stands between the layers, in words."""
    key = str(config.get("nonlinearity", RELU))
    return NONLINEARITIES.get(key, key)


def describe(architecture: str, config: Mapping[str, Any]) -> str:
    """The label with what the configuration adds, such as "MLP 3×512" or "Plain CNN 32-64-128-256 + BN".

    An unknown key is described by itself, so that a list of foreign checkpoints can still be shown.
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
    named = UNSEEN.get(architecture, {})
    extra = [choices.get(str(config[key]), str(config[key])) for key, choices in named.items() if key in config]
    return ", ".join([label, *extra])


def describe_wiring(architecture: str, config: Mapping[str, Any]) -> str:
    """`describe` with every choice that the tensors do not show, the usual ones too: "MLP 3×512 · ReLU"."""
    shown = {key: value for key, value in config.items() if key not in UNSEEN.get(architecture, {})}
    words = [UNSEEN[architecture][key].get(value, value) for key, value in unseen(architecture, config).items()]
    return describe(architecture, shown) + (f" · {', '.join(words)}" if words else "")


def _sizes(value: Any) -> int:
    """How many widths an entry lists; 0 for one number."""
    return len(value) if isinstance(value, list | tuple) else 0


def _widths(architecture: str, widths: list[int]) -> str:
    same = architecture in ("mlp", "adaptive") and len(set(widths)) == 1
    return f"{len(widths)}×{widths[0]}" if same else "-".join(map(str, widths))


def unlike(a: Any, b: Any) -> str:
    """Why two networks built alike cannot be averaged, in one sentence; "" where they can.

    a, b: what has `classes`, `mean` and `std`: catalogue entries, or references of models.
    """
    if a.classes and b.classes and a.classes != b.classes:
        return (
            "A and B name their classes differently or in another order, so their outputs cannot be averaged. "
            "Zip them instead, all but their heads."
        )
    if [round(value, 4) for value in a.mean + a.std] != [round(value, 4) for value in b.mean + b.std]:
        return "A and B expect their images normalised differently (mean and std): enter the same for both."
    return ""
