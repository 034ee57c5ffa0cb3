"""What a page's address says, read within bounds: whoever sends a link may have written anything into it."""

from __future__ import annotations

import streamlit as st

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
