"""How well networks do whose heads know different classes: each on its own, and all of them side by side."""

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
    """heads: accuracy in 0..1 of every head on the images of its classes.  joint: of the largest of all heads' logits
    on the images of any of them, NaN where two heads know one class.  counts: images of every head's classes."""

    heads: tuple[float, ...]
    joint: float
    counts: tuple[int, ...]


def side_by_side(models: Sequence[nn.Module]) -> Callable[[Tensor], Tensor]:
    """Images (n, ...) to all models' logits, (n, sum of classes)."""
    return lambda images: torch.cat([model(images) for model in models], 1)


def head_scores(net: Callable[[Tensor], Tensor], known: Labels, data: Iterable[tuple[Tensor, Tensor]]) -> HeadScores:
    """How well the heads do, each alone and all together.

    net: images (n, ...) to all heads' logits side by side, (n, sum of classes).  known: of every head, the data set's
    label of each output.  data: batches of images and labels (n,).
    """
    flat = torch.tensor([label for own in known for label in own])
    hits, asked = [0] * (len(known) + 1), [0] * (len(known) + 1)
    with torch.no_grad():
        for images, truth in data:
            logits, found = net(images), flat.to(truth.device)
            groups = [*zip(logits.split(list(map(len, known)), 1), found.split(list(map(len, known))), strict=True)]
            for number, (values, labels) in enumerate([*groups, (logits, found)]):
                right = labels[values.argmax(1)] == truth
                mine = torch.isin(truth, labels)
                hits[number] += int(right[mine].sum())
                asked[number] += int(mine.sum())
    shares = [right / max(of, 1) for right, of in zip(hits, asked, strict=True)]
    apart = len(set(flat.tolist())) == len(flat)
    return HeadScores(tuple(shares[:-1]), shares[-1] if apart else float("nan"), tuple(asked[:-1]))


def measure(zips: PartialZips, known: Labels, test: Batches) -> ZipReport:
    """Every head at every place where the trunk may end, and the models alone.

    known: as for `head_scores`.  Raises InvalidRequest where a model has not as many outputs as classes, and
    DataUnavailable where a model knows none of the images.
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
    """Raises InvalidRequest for a model whose outputs on images (n, ...) are not as many as its classes."""
    for number, (model, labels) in enumerate(zip(models, known, strict=True)):
        with torch.no_grad():
            outputs = model(images).shape[1]
        if outputs != len(labels):
            raise InvalidRequest(
                f"Network {letter(number)} has {outputs} outputs, and {len(labels)} classes are named for them. Name "
                "the class of each output."
            )
