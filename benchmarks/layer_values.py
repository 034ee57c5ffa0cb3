"""Textbook CKA of a network's layers: values from forward hooks on its modules, and the definition of HSIC_1."""

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

WIDE = (nn.Linear, nn.LayerNorm)  # modules with units in the last dimension; others have them in dimension 1
VARIED = 1e-8  # relative to a layer's largest value: smaller variation is near the rounding of its sums
READ = (*WIDE, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)


def hooked_values(model: nn.Module, images: Tensor) -> dict[str, list[Tensor]]:
    """Module name -> its output for each image alone, (units, positions).

    Every image of `images` (n, ...) is passed by itself, so that no batch has to be taken apart. Includes only modules
    of READ that run once per pass and whose outputs are not the same for all images, as those for positions are.
    """
    outputs: dict[str, list[Tensor]] = {}
    calls: dict[str, int] = {}

    def note(name: str, module: nn.Module, output: Tensor) -> None:
        # Subclasses such as LayerNorm2d have channels before positions.
        pictures = isinstance(module, nn.LayerNorm) and type(module) is not nn.LayerNorm
        value = output.movedim(-1 if isinstance(module, WIDE) and not pictures else 1, 0)
        outputs.setdefault(name, []).append(value.flatten(1).clone())
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
    once = {name: values for name, values in outputs.items() if calls[name] == len(images)}
    return {name: values for name, values in once.items() if not all(value.equal(values[0]) for value in values)}


def hooked_cka(a: nn.Module, b: nn.Module, images: Tensor, flat: bool) -> dict[str, float]:
    """Module name -> debiased linear CKA of the module in two networks of one structure, on images (n, ...).

    flat: whether positions are flattened, instead of averaged.
    """
    first, second = hooked_values(a, images), hooked_values(b, images)
    return {name: textbook_cka(_features(first[name], flat), _features(second[name], flat)) for name in first}


def textbook_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA of features (n, p), (n, q), from the definition of HSIC_1 (Song et al. 2012, eq. 5)."""
    own = hsic_1(x, x) * hsic_1(y, y)
    return float(hsic_1(x, y) / own**0.5) if own > 0 else float("nan")


def hsic_1(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 of features (n, p), (n, q)."""
    x, y = (side - side.mean(0) for side in (x, y))  # changes only the rounding
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
    """Largest difference of `compare` from the textbook, over all pairs of neighbouring modules of READ.

    Layers that hardly vary, as deep in random networks, are left out: rounding matters there even in float64.

    Args:
        model: converted to float64 in place.
        images: (n, ...), n at least 4; compared in passes of 3.
    Raises:
        What reading the layers raises.
    """
    graph = export(model, images[:2])
    exact, images = model.double(), images.double()
    values = hooked_values(exact, images)
    layers = named_layers(graph, list(values))
    side = (graph, named_tensors(exact), layers)
    data = Batches(images, torch.zeros(len(images), dtype=torch.int64), size=3, dtype=torch.float64)
    actual = np.diag(compare([side, side], data).values, 1)
    features = [_features(values[layer.name], flat=False) for layer in layers]
    expected = np.array([textbook_cka(x, y) for x, y in pairwise(features)])
    varies = np.array([float(np.ptp(x, 0).max()) > VARIED * float(np.abs(x).max()) for x in features])
    both = varies[1:] & varies[:-1]
    return float(np.abs(actual - expected)[both].max())  # NaN if one of the differences is
