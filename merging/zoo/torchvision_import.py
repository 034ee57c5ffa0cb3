"""torchvision, importable beside a CPU-only torch: `from merging.zoo.torchvision_import import torchvision`.

The published wheel's C++ library is built for CUDA. Beside a CPU-only torch it does not load, and `import torchvision`
then stops with "operator torchvision::nms does not exist", because a Python file registers a shape rule for an operator
that only that library declares. Data sets, transforms and models never call it, so declaring the schema is enough.
The plain import is tried first: where the library does load, a second declaration would clash with its own.
"""

import importlib
import sys
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a Library withdraws its schemas when it is collected


def _load() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _declared.append(library)
    return importlib.import_module("torchvision")


torchvision = _load()
