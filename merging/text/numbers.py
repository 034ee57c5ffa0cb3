"""Formatting of numbers for users, with sensible rounding and units."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from merging.results.intervals import wilson

UNKNOWN = "–"
MINUS = "−"
LAST = 253e9  # seconds since 1970: the year 9987; a later time, and one before 1970, comes of a damaged file
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def accuracy(value: float | None) -> str:
    """Format a share in 0..1 as percent with one decimal: "88.4 %"."""
    return UNKNOWN if value is None or math.isnan(value) else _signed(100 * value, ".1f") + " %"


def points(value: float) -> str:
    """Format a difference of two shares in percentage points: "4.6 pp"."""
    return _signed(100 * value, ".1f") + " pp"


def interval(share: float, images: int) -> str:
    """Format the 95 % interval of an accuracy that was measured on this many images: "87.0 to 89.7 %"."""
    low, high = wilson(share, images)
    return f"{_signed(100 * low, '.1f')} to {_signed(100 * high, '.1f')} %"


def loss(value: float | None) -> str:
    """Format a loss in nats per image with three significant digits: ".312", "1.20", "12.4"."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if abs(value) < 0.9995:
        return _signed(value, ".3f").replace("0.", ".", 1)
    return _signed(value, ".2f" if abs(value) < 9.995 else ".1f")


def correlation(value: float | None) -> str:
    """Format a number in -1..1 with two decimals: ".83", "−.04", "1.00"."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = _signed(value, ".2f")
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def ratio(value: float | None) -> str:
    """Format a ratio with two decimals: ".94", "1.12"."""
    return correlation(value)


def tiny(value: float | None) -> str:
    """Format an error near 0 with its power of ten: "3e-7"; exactly 0 is "0"."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if value == 0:
        return "0"
    digits, power = f"{value:.0e}".split("e")
    return f"{digits}e{int(power)}".replace("-", MINUS) if abs(int(power)) > 2 else f"{value:.2g}"


def count(value: int | float) -> str:
    """Format a count with at most three digits ("932 k", "11.2 M"), or exactly below 10,000 ("2,000")."""
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    steps = [(step, letter) for step, letter in _STEPS if abs(value) >= 0.9995 * step]  # 999.5 k is 1 M
    step, letter = steps[0]
    return f"{value / step:,.0f} {letter}" if abs(value) >= 999.5 * step else f"{value / step:.3g} {letter}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 merge" or "2,000 merges"."""
    return f"{count(number)} {noun}{'s' * (number != 1)}"


def size(value: float | None) -> str:
    """Format a number of bytes: "3.7 MB", "12 GB"."""
    if value is None:
        return UNKNOWN
    for step, letter in _STEPS:
        if value >= step:
            return f"{value / step:.{1 if value < 10 * step else 0}f} {letter}B"
    return f"{value:.0f} B"


def duration(value: float | None) -> str:
    """Format a duration that is given in seconds: "6 s", "1 min 15 s", "2 h 5 min"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    whole = max(round(value), 0)
    if value < 1:
        return "under 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def about(value: float) -> str:
    """Format an estimated duration that is given in seconds: "about 6 s", "under 1 s"."""
    return f"about {duration(value)}" if value >= 1 else duration(value)


def date(moment: float | None, zone: str | None = None) -> str:
    """Format a time (seconds since 1970) in a time zone (IANA name, None: the machine's): "29 Nov 2026, 20:14"."""
    if moment is None or not 0 < moment < LAST:
        return UNKNOWN
    try:
        place = ZoneInfo(zone) if zone else None
    except (ValueError, OSError, ZoneInfoNotFoundError):
        place = None
    at = datetime.fromtimestamp(moment, tz=UTC).astimezone(place)
    return f"{at.day} {at:%b %Y, %H:%M}"


def ago(moment: float | None, now: float | None = None) -> str:
    """Format a time (seconds since 1970) relative to now: "just now", "5 min ago", "21 Nov 2026"."""
    if moment is None or not 0 < moment < LAST:
        return UNKNOWN
    age = (time.time() if now is None else now) - moment
    if age < 60:
        return "just now"
    if age < 86_400:
        return f"{duration(age // 60 * 60)} ago"
    return time.strftime("%d %b %Y", time.localtime(moment)).lstrip("0")


def ordinal(number: int) -> str:
    """Format an ordinal number: 1st, 2nd, 3rd, 4th ..."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def metric(name: str) -> Callable[[float | None], str]:
    """Return the function that formats a metric ("loss", "accuracy" or "ece")."""
    return loss if name == "loss" else accuracy


def signed_difference(name: str, value: float) -> str:
    """Format a difference of two values of a metric, such as a barrier."""
    return loss(value) if name == "loss" else points(value)


def _signed(value: float, form: str) -> str:
    text = f"{value:{form}}"
    return text.replace("-", MINUS) if float(text) != 0 else text.lstrip("-")
