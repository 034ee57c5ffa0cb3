"""Options of a training that people choose, declared once for forms, the command line and requests. torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from merging.settings import setting

AUGMENTS = ("none", "flip", "flip-crop")
SPLITS = ("none", "halves", "80-20", "dirichlet", "disjoint")


@dataclass(frozen=True)
class TrainingOptions:
    """Optimiser, schedule and training images of a training."""

    optimiser: str = setting(
        "adamw",
        label="Optimiser",
        help="AdamW (Loshchilov and Hutter 2019), Adam (Kingma and Ba 2015; the weight decay is added to the "
        "gradient), or stochastic gradient descent with momentum.",
        choices=("adamw", "adam", "sgd"),
    )
    lr: float = setting(
        3e-3, label="Learning rate", help="Its highest value. Usual: .003 for Adam, .1 for SGD.", low=1e-6, high=10.0
    )
    schedule: str = setting(
        "one-cycle",
        label="Schedule",
        help="Course of the learning rate: one cycle (Smith and Topin 2018) rises for 30 % of the steps and falls; "
        "cosine falls along half a cosine to 0; constant stays.",
        choices=("one-cycle", "cosine", "constant"),
    )
    warmup: float = setting(
        0.0,
        label="Warm-up",
        help="Share of the steps in which the learning rate rises linearly from 0. One cycle has its own.",
        low=0.0,
        high=0.5,
        step=0.05,
        only=("schedule", ("cosine", "constant")),
    )
    momentum: float = setting(
        0.9,
        label="Momentum",
        help="Of stochastic gradient descent.",
        low=0.0,
        high=0.999,
        step=0.1,
        only=("optimiser", ("sgd",)),
    )
    weight_decay: float = setting(0.0, label="Weight decay", help="Per step and learning rate.", low=0.0, high=1.0)
    lora: int = setting(
        0,
        label="LoRA rank",
        help="Above 0, only low-rank changes of the weights of linear layers and convolutions are learned (Hu et al. "
        "2022), from a network that is trained already; 0 learns all parameters.",
        low=0,
        high=256,
    )
    batch: int = setting(
        0,
        label="Batch size",
        help="Images per step; 0 chooses 256, or fewer where there are few images.",
        low=0,
        high=4096,
        unit="images",
    )
    augment: str = setting(
        "none",
        label="Augmentation",
        help="Random changes of the training images: mirrored, or mirrored and shifted by up to 4 pixels.",
        choices=AUGMENTS,
    )
    label_noise: float = setting(
        0.0,
        label="Label noise",
        help="Share of the training images that get a random other class as their label.",
        low=0.0,
        high=1.0,
        step=0.1,
    )
    share: float = setting(
        1.0,
        label="Share of the images",
        help="Random share of the training images; a smaller share is a part of a larger one.",
        low=0.001,
        high=1.0,
        step=0.1,
    )
    split: str = setting(
        "none",
        label="Split",
        help="Divides the training images in two parts, one for each of two networks: random halves; 80 % of the "
        "images of half of the classes and 20 % of the others; per class by a Dirichlet distribution; or different "
        "classes.",
        choices=SPLITS,
    )
    part: int = setting(
        0, label="Part of the split", help="0 or 1: the network's part.", low=0, high=1, only=("split", SPLITS[1:])
    )
    alpha: float = setting(
        1.0,
        label="Concentration",
        help="Of the Dirichlet distribution: the smaller, the more the two parts differ.",
        low=0.01,
        high=100.0,
        only=("split", ("dirichlet",)),
    )
    split_seed: int = setting(
        0, label="Seed of the split", help="Seed of the share and of the split.", low=0, high=2**31 - 1
    )
