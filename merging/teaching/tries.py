"""Slows down those who try many codes or keys, or open many classes, per person and per network address."""

from __future__ import annotations

import threading
import time
from collections import deque

from merging.errors import InvalidRequest

SECONDS = 60.0
MOST_OWN, MOST_ADDRESS = 6, 600  # wrong ones per minute; a class may share an address, and must not be shut out of it
DAY, MOST_OPENED = 86_400.0, 40  # classes that are opened from one address per day
_wrong: dict[str, deque[float]] = {}
_opened: dict[str, deque[float]] = {}
_lock = threading.Lock()
MOST_KNOWN = 10_000  # people and addresses that are remembered


def check_tries(person: str, address: str) -> None:
    """Raise InvalidRequest if this person, or this network address, gave too many wrong codes or keys."""
    now = time.monotonic()
    with _lock:
        for key, most in ((person, MOST_OWN), (f"@{address}", MOST_ADDRESS)):
            if len([at for at in _wrong.get(key, ()) if now - at < SECONDS]) >= most:
                raise InvalidRequest("Too many wrong codes or keys. Wait a minute, then try again.")


def check_opening(address: str) -> None:
    """Raise InvalidRequest if too many classes were opened from this address; "", this machine, may open any number."""
    with _lock:
        times = _opened.get(address, deque())
        if address and len(times) == MOST_OPENED and time.monotonic() - times[0] < DAY:
            raise InvalidRequest(f"{MOST_OPENED} classes were opened from your network address today, the limit.")


def note_opening(address: str) -> None:
    """Count a class that was opened from this address."""
    with _lock:
        if len(_opened) > MOST_KNOWN:
            _opened.clear()
        _opened.setdefault(address, deque(maxlen=MOST_OPENED)).append(time.monotonic())


def note_wrong(person: str, address: str) -> None:
    """Count a wrong code or key."""
    with _lock:
        if len(_wrong) > MOST_KNOWN:
            _wrong.clear()
        for key in (person, f"@{address}"):
            _wrong.setdefault(key, deque(maxlen=MOST_ADDRESS)).append(time.monotonic())
