"""Recipes of the shipped zoo, one per checkpoint. torch-free, so that menus can list them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_FASHION = {"in_shape": [1, 28, 28], "classes": 10}
_CIFAR = {"in_shape": [3, 32, 32], "classes": 10}


@dataclass(frozen=True)
class TrainingRecipe:
    """Recipe of one shipped checkpoint.

    Attributes:
        id: the checkpoint's file is `id`.safetensors.
        options: fields of TrainingSettings.
        pair: name of a set of checkpoints that are made to be merged or zipped with each other.
        base: id of the checkpoint that the training starts from; "" for a random start.
    """

    id: str
    name: str
    architecture: str
    config: Mapping[str, Any]
    dataset: str
    options: Mapping[str, Any]
    pair: str
    notes: str = ""
    tags: tuple[str, ...] = field(default=())
    base: str = ""

    @property
    def command(self) -> str:
        """Command that trains this checkpoint again."""
        return f"python -m merging train {self.id}"


def _two_seeds(
    pair: str, label: str, architecture: str, config: Mapping[str, Any], options: Mapping[str, Any], notes: str
) -> tuple[TrainingRecipe, ...]:
    dataset, place = ("cifar-10", "CIFAR-10") if pair.startswith("cifar") else ("fashion-mnist", "Fashion-MNIST")
    return tuple(
        TrainingRecipe(
            id=f"{pair}-s{seed}",
            name=f"{label} · {place} · seed {seed}",
            architecture=architecture,
            config=config,
            dataset=dataset,
            options={**options, "seed": seed},
            pair=pair,
            notes=notes,
            tags=(architecture, "two seeds"),
        )
        for seed in (0, 1)
    )


def _parting(
    pair: str, label: str, config: Mapping[str, Any], options: Mapping[str, Any], epoch: int
) -> tuple[TrainingRecipe, ...]:
    note = f"The two share seed 0 and the first {epoch} epochs exactly; after that the order of the data differs."
    return tuple(
        TrainingRecipe(
            id=f"{pair}-{letter}",
            name=f"{label} · Fashion-MNIST · shared start {letter.upper()}",
            architecture="cnn",
            config=config,
            dataset="fashion-mnist",
            options={**options, "seed": 0, "branch": [epoch, branch]},
            pair=pair,
            notes=note,
            tags=("cnn", "shared start"),
        )
        for letter, branch in (("a", 101), ("b", 102))
    )


_MLP = {"epochs": 8, "batch": 256, "lr": 2e-3}
_CNN = {"epochs": 7, "batch": 128, "lr": 3e-3, "augment": "flip", "precision": "bfloat16"}
_PLAIN = {**_FASHION, "widths": [32, 64, 128, 256], "norm": "none"}
_COLOUR = {
    "epochs": 10,
    "batch": 128,
    "lr": 4e-3,
    "weight_decay": 0.02,
    "augment": "flip-crop",
    "precision": "bfloat16",
}

_SMALL = {**_FASHION, "widths": [16, 32, 64], "norm": "none"}
_SMALL_OPTIONS = {"epochs": 6, "batch": 128, "lr": 4e-3, "augment": "flip"}
_LOW, _HIGH = [[0.0, 1.0]] * 5 + [[0.0, 0.0]] * 5, [[0.0, 0.0]] * 5 + [[0.0, 1.0]] * 5


def _small(
    id: str, name: str, pair: str, notes: str, base: str = "", classes: int = 10, **options: Any
) -> TrainingRecipe:
    """Recipe of a small net (24 k parameters), so that many of them can be shipped."""
    settings = {**_SMALL_OPTIONS, "seed": 0, **options}
    config = {**_SMALL, "classes": classes}
    return TrainingRecipe(
        id,
        f"Small CNN · Fashion-MNIST · {name}",
        "cnn",
        config,
        "fashion-mnist",
        settings,
        pair,
        notes,
        ("cnn", pair),
        base,
    )


_FIVE = tuple(
    _small(
        f"fashion-small-s{seed}",
        f"seed {seed}",
        "fashion-small",
        "One of five seeds of a small net, for merges of many.",
        seed=seed,
    )
    for seed in range(5)
)


def _expert(kind: str, knows: str, **options: Any) -> TrainingRecipe:
    """Recipe of a small net that is fine-tuned from `fashion-small-base`."""
    notes = f"From the base, on {knows} alone; the accuracy is on these."
    name, base = f"expert of {knows}", "fashion-small-base"
    return _small(f"fashion-expert-{kind}", name, "fashion-experts", notes, base, epochs=3, lr=1e-3, **options)


_BASE = "One epoch on everything: what the experts start from."
_EXPERTS = (
    _small("fashion-small-base", "base", "fashion-experts", _BASE, epochs=1),
    _expert("low", "classes 0-4", spans=_LOW),
    _expert("high", "classes 5-9", spans=_HIGH),
    _expert("invert", "inverted images", transform="invert"),
)
_SHARE = "Trained on 80 % of the images of five classes and 20 % of the other five; its partner has the rest."
_HEAD = "Five outputs for five classes alone, from a random start; its partner knows the other five."
_PARTED = (
    _small("fashion-split-a", "split 80-20 A", "fashion-split", _SHARE, spans=[[0.0, 0.8]] * 5 + [[0.0, 0.2]] * 5),
    _small(
        "fashion-split-b", "split 80-20 B", "fashion-split", _SHARE, spans=[[0.8, 1.0]] * 5 + [[0.2, 1.0]] * 5, seed=1
    ),
    _small("fashion-head-low", "head of classes 0-4", "fashion-heads", _HEAD, classes=5, spans=_LOW),
    _small("fashion-head-high", "head of classes 5-9", "fashion-heads", _HEAD, classes=5, spans=_HIGH, seed=1),
)

RECIPES: tuple[TrainingRecipe, ...] = (
    *_two_seeds(
        "fashion-mlp-512",
        "MLP 3×512",
        "mlp",
        {**_FASHION, "widths": [512] * 3},
        _MLP,
        "Three hidden layers of 512 units, no normalisation.",
    ),
    *_two_seeds(
        "fashion-mlp-128",
        "MLP 3×128",
        "mlp",
        {**_FASHION, "widths": [128] * 3},
        _MLP,
        "The same net at a quarter of the width, to see what width does to a merge.",
    ),
    *_two_seeds(
        "fashion-adaptive",
        "Adaptive MLP 2×64",
        "adaptive",
        {**_FASHION, "widths": [64] * 2},
        {**_MLP, "lr": 6e-3},
        "Each hidden unit learned its own nonlinearity (a gain and a saturation), which is re-ordered with the unit.",
    ),
    *_two_seeds(
        "fashion-cnn",
        "Plain CNN",
        "cnn",
        _PLAIN,
        _CNN,
        "No normalisation: every change of scale through averaging stays visible.",
    ),
    *_two_seeds(
        "fashion-cnn-bn",
        "Plain CNN + BN",
        "cnn",
        {**_PLAIN, "norm": "batch"},
        {**_CNN, "epochs": 5},
        "BatchNorm: its running statistics must be estimated again after a merge.",
    ),
    *_two_seeds(
        "fashion-resnet",
        "Small residual net",
        "resnet",
        {**_FASHION, "widths": [16, 32, 64], "blocks": [1, 1, 1], "norm": "batch", "shortcut": "conv"},
        {**_CNN, "epochs": 6},
        "Basic blocks with BatchNorm: a residual stream ties several layers to one permutation.",
    ),
    *_parting("fashion-cnn-shared", "Plain CNN", _PLAIN, _CNN, 3),
    *_two_seeds(
        "cifar-cnn",
        "Colour CNN + BN",
        "cnn",
        {**_CIFAR, "widths": [64, 128, 256, 256], "norm": "batch"},
        _COLOUR,
        "Colour images; trained with random flips and crops.",
    ),
    *_FIVE,
    *_EXPERTS,
    *_PARTED,
)
