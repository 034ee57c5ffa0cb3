"""Whether two networks have the same code: then torch.export gives the same operations, and one export serves both."""

from __future__ import annotations

import functools
import types
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

KNOWN = ("torch.nn.", "torchvision.", "merging.")  # packages whose code does not change while the program runs
_PLAIN = {type(None), bool, int, str, bytes, torch.dtype, torch.device, torch.memory_format}
_FUNCTIONS = (type, types.FunctionType, types.BuiltinFunctionType)
_APART = ("_parameters", "_buffers", "_modules")  # their names are compared, and what stands under these


class _Incomparable(Exception):
    """An attribute of a module that may hold anything."""


def code_of(model: nn.Module, *, known: bool = False) -> Hashable | None:
    """What the operations of a network depend on, apart from the values of its tensors; None where that is unknown.

    Two networks of which this is equal run the same operations: the classes of their modules are the same objects, and
    all other attributes are equal numbers, words or functions, in Python's own lists and dictionaries. None for modules
    with other attributes, such as tensors that are neither parameters nor buffers, and for modules with hooks.

    known: None, too, for classes outside KNOWN. What is not None then stays equal while the program runs; the code of
        other classes may depend on a variable that is changed later.
    """
    try:
        modules = tuple(_module(name, module, known) for name, module in model.named_modules(remove_duplicate=False))
    except (_Incomparable, RecursionError):  # the latter of a list that holds itself
        return None
    numbers: dict[int, int] = {}  # a tensor or module that is used twice has one number; layers are named by the first
    places = (module for _, module in model.named_modules(remove_duplicate=False))
    shared = tuple(numbers.setdefault(id(module), len(numbers)) for module in places)
    tensors = tuple(
        (name, numbers.setdefault(id(tensor), len(numbers)), type(tensor), look_of(tensor), tensor.requires_grad)
        for name, tensor in (
            *model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False),
        )
    )  # fmt: skip
    return modules, shared, tensors, torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()


def look_of(tensor: Tensor) -> Hashable:
    """Shape, strides, type and device of a tensor."""
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _module(name: str, module: nn.Module, known: bool) -> Hashable:
    if known and not type(module).__module__.startswith(KNOWN):
        raise _Incomparable
    attributes = {key: value for key, value in vars(module).items() if key not in _APART}
    if any(value for key, value in attributes.items() if "hooks" in key and isinstance(value, Mapping)):
        raise _Incomparable
    names = tuple(tuple((key, value is None) for key, value in getattr(module, part).items()) for part in _APART)
    own = tuple((key, _plain(value, known)) for key, value in attributes.items())
    return name, type(module), type(module).forward, names, own  # forward may be replaced while the program runs


def _plain(value: Any, known: bool) -> Hashable:
    kind = type(value)  # exactly: an object of a subclass may hold more than what is compared here
    if kind in _PLAIN:
        return kind, value  # 1 and True are equal
    if kind in (float, complex):
        return kind, repr(value)  # 0.0 and -0.0 are equal, nan and nan are not
    if isinstance(value, _FUNCTIONS):
        if known and not str(value.__module__).startswith(("torch", *KNOWN)):
            raise _Incomparable
        return value
    if kind is functools.partial and not vars(value):
        return kind, *(_plain(one, known) for one in (value.func, value.args, value.keywords))
    if kind in (list, tuple):
        return kind, tuple(_plain(one, known) for one in value)
    if kind in (set, frozenset):
        return kind, frozenset(_plain(one, known) for one in value)
    if kind in (dict, OrderedDict):
        return kind, tuple((_plain(key, known), _plain(one, known)) for key, one in value.items())
    raise _Incomparable
