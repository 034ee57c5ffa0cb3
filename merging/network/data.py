"""Images and labels that can be read several times in the same order, for matching, correction and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merging.errors import DataUnavailable, InvalidRequest


@dataclass(frozen=True)
class Batches:
    """Labelled images, cut into batches in a fixed order; every iteration gives the same batches.

    Attributes:
        images: (n, C, H, W), or (n, ...) for other inputs, on the CPU. Floats are stored as the network expects them
            (zoo networks: 0..1); uint8 stays uint8 in memory and becomes float / 255 batch by batch; int64 inputs are
            tokens.
        labels: (n,) int64, or (n, ...) for networks that give one prediction per position.
        size: images per batch.
        device: the device on which batches are delivered.
        dtype: floating-point type of the delivered images.
        order: (n',) int64 indices of the images to read, or None for all images in order.

    Raises:
        InvalidRequest: when `size` is below 1.
        DataUnavailable: when there are no images, the lengths differ, labels are not int64, or an image holds NaN or
            infinity.
    """

    images: Tensor
    labels: Tensor
    size: int = 500
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    order: Tensor | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidRequest(f"A batch of {self.size} images is not possible; choose 1 or more.")
        if len(self.images) == 0:
            raise DataUnavailable("The data hold no images. Give at least one batch of (images, labels).")
        if self.labels.shape[:1] != (len(self.images),):
            raise DataUnavailable(
                f"There are {len(self.images)} images but labels of shape {tuple(self.labels.shape)}. "
                "Give one class number for every image, or one for every position of every image."
            )
        if self.labels.dtype != torch.int64:
            raise DataUnavailable(f"Labels are {self.labels.dtype}; give class numbers as int64.")
        if self.order is None and self.images.is_floating_point() and not bool(torch.isfinite(self.images).all()):
            raise DataUnavailable("An image holds NaN or infinity. Clean the data first.")

    @property
    def count(self) -> int:
        """Number of images that one pass reads."""
        return len(self.images) if self.order is None else len(self.order)

    def __len__(self) -> int:
        """Number of batches in one pass."""
        return -(-self.count // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.count, self.size):
            yield self._read(start, min(start + self.size, self.count))

    def example(self, count: int = 2) -> Tensor:
        """Return the first images (count, C, H, W), as an input for tracing or for comparing outputs."""
        return self._read(0, min(count, self.count))[0]

    def on_model(self, model: nn.Module) -> Batches:
        """Return the same batches, delivered on the model's device and in its precision."""
        device, dtype = place_of(model)
        return replace(self, device=device, dtype=dtype)

    def sized(self, size: int) -> Batches:
        """Return the same images in batches of `size`."""
        return replace(self, size=size)

    def sample(self, count: int, seed: int = 0) -> Batches:
        """Return at most `count` images, drawn without replacement in random order; `seed` alone decides which images.

        Data are often sorted by class, so the first images, or any single batch, would cover only a few classes.
        """
        indices = torch.from_numpy(np.random.default_rng(seed).permutation(self.count)[:count])
        return replace(self, order=indices if self.order is None else self.order[indices])

    def halves(self) -> tuple[Batches, Batches]:
        """Return two halves (images 0, 2, 4, ... and 1, 3, 5, ...), to compare an estimate on both."""
        order = torch.arange(self.count) if self.order is None else self.order
        return replace(self, order=order[::2]), replace(self, order=order[1::2])

    def even(self) -> Batches:
        """Return the batches without an incomplete last one, so that averages over batches weigh all images equally."""
        whole = self.count - self.count % self.size if self.count > self.size else self.count
        order = torch.arange(self.count) if self.order is None else self.order
        return replace(self, order=order[:whole])

    def _read(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        index: Any = slice(start, stop) if self.order is None else self.order[start:stop]
        images = self.images[index].to(self.device)
        if images.dtype == torch.uint8:
            images = images.float() / 255
        images = images.to(self.dtype) if images.is_floating_point() else images
        return images, self.labels[index].to(self.device)


def place_of(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return a network's device and floating-point precision (float32 if it has no floating-point parameter)."""
    parameters = [*model.parameters()]
    precise = (parameter.dtype for parameter in parameters if parameter.is_floating_point())
    return parameters[0].device, next(precise, torch.float32)


def as_batches(data: Any, size: int = 500) -> Batches:
    """Return `data` as Batches.

    Integers are tokens and become int64, except for uint8 tensors, which are images. An iterable (a DataLoader, a
    generator) is read once, here, and its batches are kept in memory in that order, so that every later pass sees the
    same images even if the loader shuffles.

    Args:
        data: Batches (returned unchanged), a pair (images, labels) of tensors or arrays, or an iterable of such pairs.
        size: images per batch.
    Raises:
        DataUnavailable: when `data` is empty or has no labels.
        InvalidRequest: when `data` is of another kind.
    """
    if isinstance(data, Batches):
        return data
    if _is_pair(data):
        return Batches(_images(data[0]), _labels(data[1]), size)
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict, torch.Tensor, np.ndarray)):
        raise InvalidRequest(f"Data must be batches of (images, labels) or a pair of tensors, not {_kind(data)}.")
    parts = [_part(batch) for batch in data]
    if not parts:
        raise DataUnavailable("The data hold no batches. A generator that was read before is empty; create a new one.")
    images, labels = zip(*parts, strict=True)
    if len({(part.shape[1:], part.dtype) for part in images}) > 1:
        raise DataUnavailable("The batches hold images of different shapes or types; give them all the same.")
    return Batches(torch.cat(images), torch.cat(labels), size)


def training_sample(data: Batches | None, count: int, seed: int) -> Batches:
    """Return at most `count` random images for a method that reads activations. Raises DataUnavailable without data."""
    if data is None:
        raise DataUnavailable("This method runs the networks on training images. Give data, or choose another method.")
    return data.sample(count, seed)


def _is_pair(data: Any) -> bool:
    arrays = (torch.Tensor, np.ndarray)
    return isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(item, arrays) for item in data)


def _part(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise DataUnavailable(f"A batch is {_kind(batch)} without labels; give pairs (images, labels).")
    images, labels = _images(batch[0]), _labels(batch[1])
    if len(images) != len(labels):
        raise DataUnavailable(f"A batch has {len(images)} images and {len(labels)} labels; the numbers must match.")
    return images, labels


def _images(value: Any) -> Tensor:
    images = _tensor(value)
    if images.is_floating_point() or images.dtype == torch.uint8:
        return images
    return images.float() if images.dtype == torch.bool else images.to(torch.int64)


def _labels(value: Any) -> Tensor:
    labels = _tensor(value)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise DataUnavailable(f"Labels are {labels.dtype}; give class numbers (0, 1, 2 ...) as integers.")
    return labels.to(torch.int64)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        value = value.copy()  # torch has no read-only tensors and would print a warning
    return torch.as_tensor(value).detach().cpu()


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
