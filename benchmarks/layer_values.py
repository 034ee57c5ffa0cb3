"""CKA of a network's layers by the textbook: what forward hooks on the module see, and the definition of HSIC_1."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.activations.read import named_layers
from merging.analysis.similarity.cka import compare
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors

WIDE = (nn.Linear, nn.LayerNorm)  # units in the last dimension; elsewhere in dimension 1
VARIED = 1e-8  # of a layer's largest number: what varies less is near the rounding of the sums that it is made of
READ = (*WIDE, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)


def hooked_values(model: nn.Module, images: Tensor) -> dict[str, list[Tensor]]:
    """Module name -> what it gave for each image alone, (units, positions).

    Every image of `images` (n, ...) is passed by itself, so that no batch is to be taken apart. Only modules of READ
    that run once and whose values are not the same for all images, as those of positions are.
    """
    seen: dict[str, list[Tensor]] = {}
    calls: dict[str, int] = {}

    def note(name: str, module: nn.Module, output: Tensor) -> None:
        pictures = isinstance(module, nn.LayerNorm) and type(module) is not nn.LayerNorm  # channels before places
        value = output.movedim(-1 if isinstance(module, WIDE) and not pictures else 1, 0)
        seen.setdefault(name, []).append(value.flatten(1).clone())
        calls[name] = calls.get(name, 0) + 1

    handles = [
        module.register_forward_hook(lambda m, _, output, name=name: note(name, m, output))
        for name, module in model.named_modules()
        if isinstance(module, READ)
    ]
    try:
        with torch.no_grad():
            for image in images:
                model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    once = {name: values for name, values in seen.items() if calls[name] == len(images)}
    return {name: values for name, values in once.items() if not all(value.equal(values[0]) for value in values)}


def hooked_cka(a: nn.Module, b: nn.Module, images: Tensor, flat: bool) -> dict[str, float]:
    """Module name -> debiased linear CKA of it in two networks of one structure, on images (n, ...)."""
    first, second = hooked_values(a, images), hooked_values(b, images)
    return {name: textbook_cka(_features(first[name], flat), _features(second[name], flat)) for name in first}


def textbook_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA of features (n, p), (n, q), from the definition of HSIC_1 (Song et al. 2012, eq. 5)."""
    own = hsic_1(x, x) * hsic_1(y, y)
    return float(hsic_1(x, y) / own**0.5) if own > 0 else float("nan")


def hsic_1(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 of features (n, p), (n, q)."""
    x, y = (side - side.mean(0) for side in (x, y))  # changes nothing but the rounding
    n, one = len(x), np.ones(len(x))
    k, m = (products - np.diag(np.diag(products)) for products in (x @ x.T, y @ y.T))
    rest = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    return float((np.trace(k @ m) + rest) / (n * (n - 3)))


def _features(values: list[Tensor], flat: bool) -> np.ndarray:
    rows = [value.double().flatten() if flat else value.double().mean(1) for value in values]
    features: np.ndarray = torch.stack(rows).numpy()
    return features


@torch.no_grad()
def adjacent_difference(model: nn.Module, images: Tensor) -> float:
    """How far `compare` is from the textbook: the largest difference over all pairs of neighbouring modules of READ.

    model: becomes float64, in which rounding hides nothing but what hardly varies, as in the depth of random networks:
    that is left out.  images: (n, ...), n at least 4; compared in passes of 3.  Raises what reading the layers raises.
    """
    graph = export(model, images[:2])
    exact, images = model.double(), images.double()
    values = hooked_values(exact, images)
    layers = named_layers(graph, list(values))
    side = (graph, named_tensors(exact), layers)
    data = Batches(images, torch.zeros(len(images), dtype=torch.int64), size=3, dtype=torch.float64)
    found = np.diag(compare([side, side], data).values, 1)
    features = [_features(values[layer.name], flat=False) for layer in layers]
    expected = np.array([textbook_cka(x, y) for x, y in pairwise(features)])
    varied = np.array([float(np.ptp(x, 0).max()) > VARIED * float(np.abs(x).max()) for x in features])
    both = varied[1:] & varied[:-1]
    return float(np.abs(found - expected)[both].max())  # NaN where one of them is
