"""Accuracy of a network whose output heads predict different classes: of each head alone, and of all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merging.errors import DataUnavailable, InvalidRequest
from merging.naming import letter
from merging.network.data import Batches
from merging.pipeline.partial_zip import PartialZips
from merging.results.zip_report import ZipReport

Labels = Sequence[Sequence[int]]


@dataclass(frozen=True)
class HeadScores:
    """Accuracies of several output heads.

    Attributes:
        heads: accuracy of each head in 0..1 on the images of its classes.
        joint: accuracy of choosing the class with the largest logit over all heads, on the images of all their classes;
            NaN if two heads share a class.
        counts: number of images of each head's classes.
    """

    heads: tuple[float, ...]
    joint: float
    counts: tuple[int, ...]


def side_by_side(models: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Function from images (n, ...) to the concatenated logits of all models, (n, total number of classes)."""
    return lambda images: torch.cat([model(images) for model in models], 1)


def head_scores(net: Callable[[Tensor], Tensor], known: Labels, data: Iterable[tuple[Tensor, Tensor]]) -> HeadScores:
    """Accuracy of every head alone and of all heads together.

    Args:
        net: function from images (n, ...) to the concatenated logits of all heads, (n, total number of classes).
        known: for each head, the data set's label that each of its outputs predicts.
        data: batches of images and labels (n,).
    """
    flat = torch.tensor([label for own in known for label in own])
    hits, counts = [0] * (len(known) + 1), [0] * (len(known) + 1)
    with torch.no_grad():
        for images, truth in data:
            logits, outputs = net(images), flat.to(truth.device)
            groups = [*zip(logits.split(list(map(len, known)), 1), outputs.split(list(map(len, known))), strict=True)]
            for number, (values, labels) in enumerate([*groups, (logits, outputs)]):
                best, guess = values.max(1)
                right = (labels[guess] == truth) & ~best.isnan()  # the largest of NaN is some class
                in_head = torch.isin(truth, labels)
                hits[number] += int(right[in_head].sum())
                counts[number] += int(in_head.sum())
    shares = [right / max(of, 1) for right, of in zip(hits, counts, strict=True)]
    apart = len(set(flat.tolist())) == len(flat)
    return HeadScores(tuple(shares[:-1]), shares[-1] if apart else float("nan"), tuple(counts[:-1]))


def measure_heads(zips: PartialZips, known: Labels, test: Batches) -> ZipReport:
    """Measure the accuracy of every head for each layer where the shared trunk may end, and of the models alone.

    known: as for `head_scores`. Raises InvalidRequest if a model does not have one output per class, and
    DataUnavailable if no image belongs to any class of one of the models.
    """
    refuse_unnamed(zips.models, known, test.example())
    alone = head_scores(side_by_side(zips.alone), known, test)
    if 0 in alone.counts:
        raise DataUnavailable(
            f"None of the {test.count} test images belongs to a class of network {letter(alone.counts.index(0))}. "
            "Measure on more images."
        )
    scores, shares = [], []
    for zipped in zips:
        scores.append(head_scores(zipped, known, test))
        shares.append(zipped.share(zips.models))
    return ZipReport(
        names=tuple(map(letter, range(len(known)))),
        layers=tuple(layer.name for layer, _ in zips.places),
        heads=np.array([score.heads for score in scores]).T,
        joint=np.array([score.joint for score in scores]),
        alone=np.array(alone.heads),
        beside=alone.joint,
        share=np.array(shares),
        images=test.count,
        counts=alone.counts,
        notes={**zips.notes, **({"reset": zips.data.count} if zips.data is not None else {})},
    )


def refuse_unnamed(models: Sequence[nn.Module], known: Labels, images: Tensor) -> None:
    """Raise InvalidRequest for a model that does not have one output per class. images: (n, ...), sample inputs."""
    for number, (model, labels) in enumerate(zip(models, known, strict=True)):
        with torch.no_grad():
            outputs = model(images).shape[1]
        if outputs != len(labels):
            raise InvalidRequest(
                f"Network {letter(number)} has {outputs} outputs, but {len(labels)} classes are named. Name one class "
                "per output."
            )
