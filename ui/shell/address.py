"""Parameters of a page's address, checked for length and range because a link may contain anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")

LONGEST = 4_000  # characters per parameter; the list of networks of a comparison is the longest
DIGITS = 9


def said(name: str) -> str:
    """Text of a parameter; "" where it is missing or longer than LONGEST."""
    text = st.query_params.get(name, "")
    return text if len(text) <= LONGEST else ""


def said_names(name: str) -> list[str]:
    """Comma-separated parts of a parameter, without duplicates."""
    return list(dict.fromkeys(filter(None, said(name).split(","))))


def said_number(name: str, low: int, high: int, usual: int) -> int:
    """Whole number of a parameter, clipped to `low`..`high`; `usual` where the parameter holds none."""
    text = said(name)
    return min(max(int(text), low), high) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else usual


def one_of(label: str, options: Sequence[T], *, default: T, key: str, bound: bool = True, **shown: Any) -> T:
    """Show a segmented control that is bound to the address under `key`; an empty parameter gives the default."""
    bind: Any = "query-params" if bound else None
    selected = st.segmented_control(label, options, default=default, key=key, required=True, bind=bind, **shown)
    return default if selected is None else selected
