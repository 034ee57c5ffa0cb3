"""torchvision, importable beside a CPU-only torch: `from merging.zoo.torchvision_import import torchvision`.

The published wheel's C++ library is built for CUDA. Beside a CPU-only torch it does not load, and `import torchvision`
then stops with "operator torchvision::nms does not exist", because a Python file registers a shape rule for an operator
that only that library declares. Data sets, transforms and models never call it, so declaring the schema is enough.
The plain import is tried first: where the library does load, a second declaration would clash with its own.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a Library withdraws its schemas when it is collected


def imported(name: str) -> ModuleType:
    """The module of this name, which may import torchvision. Raises what importing it raises."""
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared:
            raise
    for known in [known for known in sys.modules if known.split(".")[0] == "torchvision"]:
        del sys.modules[known]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _declared.append(library)
    return importlib.import_module(name)


def __getattr__(name: str) -> Any:
    if name == "torchvision":  # seconds and 346 MB: only when asked for
        return imported("torchvision")
    raise AttributeError(name)
