"""How well networks do whose heads know different classes: each on its own, and all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from merging.errors import InvalidRequest

Labels = Sequence[Sequence[int]]


@dataclass(frozen=True)
class HeadScores:
    """heads: accuracy in 0..1 of every head on the images of its classes.  joint: of the largest of all heads' logits
    on the images of any of them, NaN where two heads know one class."""

    heads: tuple[float, ...]
    joint: float


def labels_of(classes: Sequence[str], names: Sequence[str], who: str) -> list[int]:
    """The data set's label of each output. names: the data set's classes.

    Raises InvalidRequest for a network that does not name its classes, or names one that the data set does not have.
    """
    if not classes or not set(classes) <= set(names):
        told = ", ".join(classes) or "none that it names"
        raise InvalidRequest(f"The classes of {who} are {told}; the data set has {', '.join(names)}.")
    return [names.index(name) for name in classes]


def side_by_side(models: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Images (n, ...) to all models' logits, (n, sum of classes)."""
    return lambda images: torch.cat([model(images) for model in models], 1)


def head_scores(net: Callable[[Tensor], Tensor], known: Labels, data: Iterable[tuple[Tensor, Tensor]]) -> HeadScores:
    """How well the heads do, each alone and all together.

    net: images (n, ...) to all heads' logits side by side, (n, sum of classes).  known: of every head, the data set's
    label of each output.  data: batches of images and labels (n,).
    """
    flat = torch.tensor([label for own in known for label in own])
    hits, asked = torch.zeros(len(known) + 1), torch.zeros(len(known) + 1)
    with torch.no_grad():
        for images, truth in data:
            logits, found = net(images), flat.to(truth.device)
            groups = [*zip(logits.split(list(map(len, known)), 1), found.split(list(map(len, known))), strict=True)]
            for number, (values, labels) in enumerate([*groups, (logits, found)]):
                right = labels[values.argmax(1)] == truth
                mine = torch.isin(truth, labels)
                hits[number] += int(right[mine].sum())
                asked[number] += int(mine.sum())
    shares = (hits / asked.clamp(min=1)).tolist()
    apart = len(set(flat.tolist())) == len(flat)
    return HeadScores(tuple(shares[:-1]), shares[-1] if apart else float("nan"))
