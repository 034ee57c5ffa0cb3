"""Mergescope's library: trace permutation symmetries; align, combine and correct networks; analyse the merge.

    from merging import load_checkpoint, merge
    result = merge([a, b], data=(images, labels), correct="repair")
    result.merged, result.notes["equivalence"]

Each name is imported on first use, so that reading the method tables does not load torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "trace": "merging.network.tracing.tracer",
    "verify": "merging.network.tracing.tracer",
    "permute": "merging.network.permutation",
    "invert": "merging.network.permutation",
    "Permutation": "merging.network.permutation",
    "PermutationSpec": "merging.network.permutation",
    "merge": "merging.pipeline.merge",
    "MergeResult": "merging.methods.problem",
    "interpolate": "merging.analysis.path.interpolation",
    "cka": "merging.analysis.similarity.cka",
    "linear_cka": "merging.analysis.similarity.cka",
    "feature_images": "merging.analysis.pictures.render",
    "load_checkpoint": "merging.zoo.checkpoints.checkpoint",
    "load_images": "merging.zoo.datasets.images",
    "load_dataset": "merging.zoo.datasets.images",
    "evaluate": "merging.analysis.path.evaluation",
    "RECIPES": "merging.methods.recipes",
    "MergescopeError": "merging.errors",
}
__all__ = [*_HOMES, "METHODS", "__version__"]


def __getattr__(name: str) -> Any:
    """Return a public name, imported from the module that defines it (PEP 562)."""
    if name == "METHODS":
        return importlib.import_module("merging.methods.registry").methods()
    if name not in _HOMES:
        raise AttributeError(f"module 'merging' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
