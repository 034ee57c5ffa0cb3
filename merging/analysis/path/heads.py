"""Accuracy of networks whose heads predict different classes: each head alone, and all heads side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merging.errors import DataUnavailable, InvalidRequest
from merging.network.data import Batches
from merging.pipeline.partial_zip import PartialZips
from merging.results.reports import letter
from merging.results.zip_report import ZipReport

Labels = Sequence[Sequence[int]]


@dataclass(frozen=True)
class HeadScores:
    """Accuracies of several heads.

    Attributes:
        heads: accuracy of each head in 0..1 on the images of its classes.
        joint: accuracy of the class with the largest logit over all heads, on the images of any of their classes; NaN
            where two heads share a class.
        counts: images of each head's classes.
    """

    heads: tuple[float, ...]
    joint: float
    counts: tuple[int, ...]


def side_by_side(models: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Function from images (n, ...) to the logits of all models, (n, sum of classes)."""
    return lambda images: torch.cat([model(images) for model in models], 1)


def head_scores(net: Callable[[Tensor], Tensor], known: Labels, data: Iterable[tuple[Tensor, Tensor]]) -> HeadScores:
    """Accuracy of every head alone and of all heads together.

    Args:
        net: images (n, ...) to the logits of all heads side by side, (n, sum of classes).
        known: for each head, the data set's label of each output.
        data: batches of images and labels (n,).
    """
    flat = torch.tensor([label for own in known for label in own])
    hits, counts = [0] * (len(known) + 1), [0] * (len(known) + 1)
    with torch.no_grad():
        for images, truth in data:
            logits, outputs = net(images), flat.to(truth.device)
            groups = [*zip(logits.split(list(map(len, known)), 1), outputs.split(list(map(len, known))), strict=True)]
            for number, (values, labels) in enumerate([*groups, (logits, outputs)]):
                right = labels[values.argmax(1)] == truth
                in_head = torch.isin(truth, labels)
                hits[number] += int(right[in_head].sum())
                counts[number] += int(in_head.sum())
    shares = [right / max(of, 1) for right, of in zip(hits, counts, strict=True)]
    apart = len(set(flat.tolist())) == len(flat)
    return HeadScores(tuple(shares[:-1]), shares[-1] if apart else float("nan"), tuple(counts[:-1]))


def measure_heads(zips: PartialZips, known: Labels, test: Batches) -> ZipReport:
    """Accuracy of every head at every place where the shared trunk may end, and of the models alone.

    known: as for `head_scores`. Raises InvalidRequest where a model does not have one output per class, and
    DataUnavailable where none of the images is of a class that a model predicts.
    """
    refuse_unnamed(zips.models, known, test.example())
    alone = head_scores(side_by_side(zips.alone), known, test)
    if 0 in alone.counts:
        raise DataUnavailable(
            f"None of the {test.count} test images is of a class that network {letter(alone.counts.index(0))} knows. "
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
    """Raise InvalidRequest for a model that does not have one output per class. images: (n, ...), a sample."""
    for number, (model, labels) in enumerate(zip(models, known, strict=True)):
        with torch.no_grad():
            outputs = model(images).shape[1]
        if outputs != len(labels):
            raise InvalidRequest(
                f"Network {letter(number)} has {outputs} outputs, and {len(labels)} classes are named for them. Name "
                "the class of each output."
            )
