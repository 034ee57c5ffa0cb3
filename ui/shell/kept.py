"""Cache of values that pages derive from finished results, such as figures and long texts.

Results never change, so the same results always give the same value. A value is reused only while the result that it
was derived from exists. If the cache holds more than LARGEST values, it drops the least recently used one.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST = 1024  # values in the cache
_VALUES: OrderedDict[Hashable, tuple[list[Callable[[], object]], Any]] = OrderedDict()
_LOCK = threading.Lock()
PLAIN = (str, int, float, bool, bytes, type(None))


def kept(make: Callable[..., T], *arguments: object) -> T:
    """Return make(*arguments), computed once per process.

    Args:
        make: a function defined at the top level of a file, because it is part of the key.
        arguments: results, distinguished by identity; plain values and tuples of them, distinguished by value.
    """
    key = (make, *(argument if _is_plain(argument) else id(argument) for argument in arguments))
    with _LOCK:
        entry = _VALUES.get(key)
        if entry is not None and all(
            ask() is one or _is_plain(one) for ask, one in zip(entry[0], arguments, strict=True)
        ):
            _VALUES.move_to_end(key)
            value: T = entry[1]
            return value
    value = make(*arguments)
    with _LOCK:
        _VALUES[key] = ([_reference(argument) for argument in arguments], value)
        _VALUES.move_to_end(key)
        while len(_VALUES) > LARGEST:
            _VALUES.popitem(last=False)
    return value


def _is_plain(value: object) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _reference(value: object) -> Callable[[], object]:
    """Return a function that returns the value as long as the value exists.

    So a later object with the same `id` is not mistaken for the value.
    """
    return (lambda: value) if _is_plain(value) else weakref.ref(value)
