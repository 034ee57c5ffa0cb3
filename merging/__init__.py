"""Mergescope's library: trace a network's permutations, align, combine, correct, and look at what happened.

    from merging import load_checkpoint, merge
    result = merge([a, b], data=(images, labels), correct="repair")
    result.merged, result.notes["equivalence"]

Names are imported when first used, so that reading the method tables does not load torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "trace": "merging.tracing",
    "verify": "merging.tracing",
    "permute": "merging.permutation",
    "invert": "merging.permutation",
    "Permutation": "merging.permutation",
    "PermutationSpec": "merging.permutation",
    "merge": "merging.merge",
    "MergeResult": "merging.problem",
    "interpolate": "merging.analysis.interpolation",
    "cka": "merging.analysis.cka",
    "linear_cka": "merging.analysis.cka",
    "feature_images": "merging.analysis.feature_images",
    "load_checkpoint": "merging.zoo.checkpoints.checkpoint",
    "load_images": "merging.zoo.datasets.images",
    "RECIPES": "merging.recipes",
    "MergescopeError": "merging.errors",
}
__all__ = [*_HOMES, "METHODS", "__version__"]


def __getattr__(name: str) -> Any:
    """The public name, imported from its home (PEP 562)."""
    if name == "METHODS":
        return importlib.import_module("merging.methods").methods()
    if name not in _HOMES:
        raise AttributeError(f"module 'merging' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `merging.merge` the function: importing the file of that name would bind the module over it."""

    def __setattr__(self, name: str, value: Any) -> None:
        is_file = isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__
        super().__setattr__(name, getattr(value, name) if is_file else value)


sys.modules[__name__].__class__ = _Package
