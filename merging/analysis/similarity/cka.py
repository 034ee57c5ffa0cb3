"""Linear CKA of two networks' layers: similarity of their responses to the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.activations.features import read_layers
from merging.analysis.activations.read import flattened, named_layers
from merging.analysis.path.evaluation import batches_on_device
from merging.analysis.similarity.hsic import (
    Features,
    Grams,
    check_images,
    from_grams,
    gram,
    prefers_grams,
    represent,
    similarity,
)
from merging.analysis.similarity.minibatch import Side, by_minibatches
from merging.errors import DataUnavailable, InvalidRequest, InvalidSetting
from merging.network.data import Batches, as_batches
from merging.network.graph.graph import Graph, Layer, export
from merging.network.permutation import named_tensors
from merging.progress import Progress, no_progress
from merging.results.reports import SimilarityMap

Treatment = Literal["pooled", "flattened"]
ESTIMATORS = ("debiased", "biased")
FLATTENED_IMAGES = 2048


def linear_cka(x: Tensor | np.ndarray, y: Tensor | np.ndarray, debiased: bool = True) -> float:
    """Linear CKA of two sets of responses to the same images: 1 if equal up to rotation and scale, NaN if undefined.

    Source: Kornblith et al. 2019, sec. 3; Nguyen et al. 2021, eq. 3.

    Args:
        x, y: (n, ...) each, flattened to (n, p); p may differ. Constant columns do not contribute.
        debiased: use HSIC_1, which is about 0 for independent features and may be negative.

    Raises DataUnavailable.
    """
    left, right = (_responses(value) for value in (x, y))
    if len(left) != len(right):
        raise DataUnavailable(f"CKA needs responses to the same images; x has {len(left)} of them and y {len(right)}.")
    grams, precision = min(left.shape[1], right.shape[1]) > len(left), torch.promote_types(left.dtype, right.dtype)
    forms = [represent([side.to(precision)], debiased, grams=grams) for side in (left, right)]
    return float(similarity(*forms)[0, 0])


def cka(
    a: nn.Module,
    b: nn.Module,
    images: Any,
    *,
    layers: Sequence[str] | None = None,
    estimator: str = "debiased",
    treatment: Treatment = "pooled",
    minibatch: int | None = None,
    seed: int = 0,
    report: Progress | None = None,
) -> SimilarityMap:
    """CKA of every layer of `a` (rows) with every layer of `b` (columns); their architectures may differ.

    Memory, float64: n x features (pooled), n^2 x layers (flattened), 114 x minibatch x layers (minibatches).

    Args:
        images: (n, ...) tensor or anything `as_batches` takes; both networks see the same images in the same order.
        layers: torch names (default: all).
        treatment: "pooled" averages a convolution over positions and takes any number of images; "flattened" compares
            all positions and holds one layer's output on all images at once, so it takes at most 2048 images.
        minibatch: images per minibatch; HSICs are summed over minibatches (debiased only; 12, 24 and 48 are fastest).
            Minibatches cost little more than the forward passes and take any number of images in either treatment, but
            add noise. None: exact CKA of all images at once.
        seed: random seed of the minibatches.

    Raises UnknownLayer, InvalidSetting, InvalidRequest, DataUnavailable, UnsupportedOperation.
    """
    batches = batches_on_device(a, _images(images))
    check_images(batches.count, is_debiased(estimator))
    graphs = [export(net, batches.example()) for net in (a, b)]
    sides = [
        (graph, named_tensors(net), named_layers(graph, layers)) for net, graph in zip((a, b), graphs, strict=True)
    ]
    how: dict[str, Any] = {"estimator": estimator, "treatment": treatment, "minibatch": minibatch, "seed": seed}
    return compare(sides, batches, **how, report=report)


def compare(
    sides: Sequence[Side],
    batches: Batches,
    *,
    estimator: str = "debiased",
    treatment: Treatment = "pooled",
    minibatch: int | None = None,
    seed: int = 0,
    report: Progress | None = None,
) -> SimilarityMap:
    """CKA as in `cka`, of two already exported networks. sides: (graph, tensors, layers to compare) of A and of B."""
    debiased = is_debiased(estimator)
    if treatment not in ("pooled", "flattened"):
        raise InvalidSetting(f"treatment is {treatment!r}; it must be pooled or flattened.")
    rows, columns = (own for _, _, own in sides)
    if minibatch is not None:
        if not debiased:
            raise InvalidSetting(
                "Minibatches can only estimate the debiased CKA; the biased CKA would depend on their size."
            )
        values, used = by_minibatches(sides, batches, minibatch, treatment, seed=seed, report=report)
        return as_map(
            values, rows, columns, ("A", "B"), f"{estimator}, minibatches of {min(minibatch, used)}", used, treatment
        )
    features = []
    for number, (graph, tensors, own) in enumerate(sides):
        collect = read_layers if treatment == "pooled" else _flattened
        features.append(collect(graph, tensors, batches, own))
        (report or no_progress)("similarity", (number + 1) / 2, f"network {number + 1} of 2")
    forms = (
        represent_alike(features, debiased)
        if treatment == "pooled"
        else [from_grams(one, debiased) for one in features]
    )
    return as_map(similarity(*forms), rows, columns, ("A", "B"), estimator, batches.count, treatment)


def represent_alike(nets: Sequence[Sequence[Tensor]], debiased: bool) -> list[Features | Grams]:
    """Represent networks' features, one (n, p) per layer, all in the form that is cheapest for the widest network."""
    widest = max(nets, key=lambda layers: sum(layer.shape[1] for layer in layers))
    grams = prefers_grams(len(widest[0]), [layer.shape[1] for layer in widest])
    return [represent(layers, debiased, grams=grams) for layers in nets]


def as_map(
    values: np.ndarray,
    rows: Sequence[Layer],
    columns: Sequence[Layer],
    whose: tuple[str, str],
    estimator: str,
    images: int,
    treatment: str = "pooled",
) -> SimilarityMap:
    """Build the map of CKA values (rows, columns). whose: names of the networks of the rows and of the columns."""
    names = tuple(tuple(layer.name for layer in layers) for layers in (rows, columns))
    return SimilarityMap(values, names[0], names[1], whose[0], whose[1], estimator, images, treatment)


def is_debiased(estimator: str) -> bool:
    """Whether the estimator of that name is the debiased one. Raises InvalidSetting for an unknown name."""
    if estimator not in ESTIMATORS:
        raise InvalidSetting(f"estimator is {estimator!r}; it must be one of {', '.join(ESTIMATORS)}.")
    return estimator == "debiased"


@torch.no_grad()
def _flattened(graph: Graph, tensors: Mapping[str, Tensor], batches: Batches, layers: Sequence[Layer]) -> list[Tensor]:
    if batches.count > FLATTENED_IMAGES:
        raise InvalidRequest(
            f"Flattened CKA holds all images at once, and {batches.count} are too many. Use at most {FLATTENED_IMAGES} "
            "images, pooled layers, or minibatches of about 24 images."
        )
    by_node = {layer.node: layer for layer in layers}
    images, _ = next(iter(batches.sized(batches.count)))
    walk = graph.walk(tensors, graph.ordered(images), by_node)
    return [gram(flattened(value, by_node[node])) for node, value in walk]


def _images(images: Any) -> Batches:
    if isinstance(images, (Tensor, np.ndarray)):
        return as_batches((images, torch.zeros(len(images), dtype=torch.int64)))
    return as_batches(images)


def _responses(values: Tensor | np.ndarray) -> Tensor:
    tensor = torch.as_tensor(values).detach()
    return (tensor if tensor.is_floating_point() else tensor.double()).flatten(1)
