"""The built-in architectures: `ARCHITECTURES`, `Architecture`, `build`, `Normalise`, and the torch-free `names`.

They are loaded on first use (PEP 562), so that the web process can import `names` without importing torch.
"""

from importlib import import_module
from typing import Any

_WHERE = {"ARCHITECTURES": "table", "Architecture": "table", "build": "table", "Normalise": "normalise"}
__all__ = ["ARCHITECTURES", "Architecture", "Normalise", "build"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
