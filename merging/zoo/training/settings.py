"""Settings of one training: what people choose (TrainingOptions), and what recipes and seeds decide."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from merging.errors import InvalidSetting
from merging.settings import read_settings
from merging.zoo.training.options import TrainingOptions
from merging.zoo.training.subsets import TRANSFORMS


@dataclass(frozen=True)
class TrainingSettings(TrainingOptions):
    """Settings of a training run; convertible to JSON. Most of them are declared by TrainingOptions.

    Attributes:
        precision: "float32", or "bfloat16" to multiply in bfloat16; weights, gradients and optimiser stay float32.
        branch: (epoch, seed): from this epoch on, the order of the data is drawn with this other seed. Two nets that
            differ only in the seed of their branch are identical up to this epoch.
        spans: (low, high) in 0..1 per class: train on its images from fraction low to fraction high; (0, 0) leaves a
            class out.
        transform: a key of TRANSFORMS, applied to all images.
    """

    epochs: int = 5
    seed: int = 0
    precision: str = "float32"
    branch: tuple[int, int] | None = None
    spans: tuple[tuple[float, float], ...] | None = None
    transform: str = "none"

    def __post_init__(self) -> None:
        read_settings(TrainingOptions, {one.name: getattr(self, one.name) for one in fields(TrainingOptions)})
        if self.epochs < 1 or self.batch == 1:
            raise InvalidSetting("epochs >= 1 and batch >= 2 are needed")
        if self.precision not in ("float32", "bfloat16"):
            raise InvalidSetting(f"precision is float32 or bfloat16; got {self.precision!r}")
        if self.transform not in TRANSFORMS:
            raise InvalidSetting(f"transform is one of {', '.join(TRANSFORMS)}; got {self.transform!r}")
        if self.spans is not None and not all(0 <= low <= high <= 1 for low, high in self.spans):
            raise InvalidSetting(f"spans need a pair low <= high in 0..1 per class; got {self.spans}")

    def order_seed(self, epoch: int) -> int:
        """Seed of one epoch's data order and augmentation, mixed from the seed (or the branch's seed) and the epoch."""
        seed = self.branch[1] if self.branch and epoch >= self.branch[0] else self.seed
        return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
