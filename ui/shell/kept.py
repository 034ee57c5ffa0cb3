"""What a page makes of finished results, made once: figures, and texts that take long.

Results never change, so what is made of the very same ones is the same. A value is forgotten with the result that it
was made of, or when it was not asked for while LARGEST others were.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST = 1024  # values
_VALUES: OrderedDict[Hashable, tuple[list[Callable[[], object]], Any]] = OrderedDict()
_LOCK = threading.Lock()
PLAIN = (str, int, float, bool, bytes, type(None))


def kept(make: Callable[..., T], *arguments: object) -> T:
    """make(*arguments), made once a process.

    make: a function of a module.  arguments: results, which are told apart by identity; or plain values and tuples of
    those, told apart by value.
    """
    key = (make, *(argument if _is_plain(argument) else id(argument) for argument in arguments))
    with _LOCK:
        known = _VALUES.get(key)
        if known is not None and all(
            ask() is one or _is_plain(one) for ask, one in zip(known[0], arguments, strict=True)
        ):
            _VALUES.move_to_end(key)
            value: T = known[1]
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
    """What gives the value as long as it lives, so that another one at its place in memory is not taken for it."""
    return (lambda: value) if _is_plain(value) else weakref.ref(value)
