"""Escaping of text from users (names, classes, notes, addresses, errors that quote them) for Markdown."""

from __future__ import annotations

import re

SIGNS = "\\`*_{}[]<>#$~:|&@"  # characters with a meaning in Markdown: links, formulas, colours, emojis
# Addresses become links after escapes are resolved. An invisible word joiner in front of their signs prevents that.
ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
JOINER = "\u2060"


def plain(text: str) -> str:
    """Escape a text so that `st.markdown` and other elements that interpret Markdown show it unchanged."""
    return "".join(f"\\{letter}" if letter in SIGNS else letter for letter in ADDRESS.sub(JOINER, text))
