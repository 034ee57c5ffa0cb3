"""Import torchvision with a CPU-only torch: `from merging.zoo.torchvision_import import torchvision`.

The C++ library in torchvision's published wheel is built for CUDA and does not load with a CPU-only torch. In that
case, `import torchvision` fails with "operator torchvision::nms does not exist", because a Python file registers a
shape rule for an operator that only this library declares. Data sets, transforms and models never call the operator, so
declaring its schema is enough. The plain import is tried first: if the library loads, a second
declaration would be an error.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a reference is needed: a deleted Library removes its schemas


def imported(name: str) -> ModuleType:
    """Import a module that may import torchvision. Raises the errors of the import."""
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
    for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        del sys.modules[module]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _declared.append(library)
    return importlib.import_module(name)


def __getattr__(name: str) -> Any:
    if name == "torchvision":  # the import takes seconds and 346 MB, so it is done on first use
        return imported("torchvision")
    raise AttributeError(name)
