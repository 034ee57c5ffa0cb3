"""What a page's address says, read within bounds: a link may hold anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")

LONGEST = 4_000  # characters of one parameter: the networks of a comparison are the longest
DIGITS = 9


def said(name: str) -> str:
    """A parameter's text, "" where there is none or one that is too long to be ours."""
    text = st.query_params.get(name, "")
    return text if len(text) <= LONGEST else ""


def said_names(name: str) -> list[str]:
    """A parameter's parts between commas, each once."""
    return list(dict.fromkeys(filter(None, said(name).split(","))))


def said_number(name: str, low: int, high: int, usual: int) -> int:
    """A whole number brought within its bounds; `usual` where there is none."""
    text = said(name)
    return min(max(int(text), low), high) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else usual


def one_of(label: str, options: Sequence[T], *, default: T, key: str, bound: bool = True, **shown: Any) -> T:
    """A choice of one that is part of the address, under its key. A parameter that says nothing is the default."""
    bind: Any = "query-params" if bound else None
    chosen = st.segmented_control(label, options, default=default, key=key, required=True, bind=bind, **shown)
    return default if chosen is None else chosen
