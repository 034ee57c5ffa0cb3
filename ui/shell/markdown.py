"""Escaping of text from users (names, classes, notes, addresses, errors that quote them) for Markdown."""

from __future__ import annotations

import re

SIGNS = "\\`*_{}[]<>#$~:|&@"  # characters with a meaning in Markdown: links, formulas, colours, emojis
# After escapes are resolved, addresses become links, and names of icons and arrows become signs. An invisible word
# joiner at these places prevents that.
ADDRESS = r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)"
ICON = r"(?<=:)(?=material[/_]|streamlit:)"
ARROW = r"(?<![^\s\ufeff])(?=(?:<->|->|<-|--|>=|<=|~=)(?![^\s\ufeff]))"
LATE = re.compile(f"{ADDRESS}|{ICON}|{ARROW}", re.IGNORECASE)
JOINER = "\u2060"
# Signs that begin a list, a heading or a rule at the beginning of a line.
BLOCK = re.compile(r"^(?:(?=[-+=])|(\d{1,9})(?=[.)](?:\s|$)))")


def plain(text: str) -> str:
    """Escape a text so that `st.markdown` and other elements that interpret Markdown show it unchanged.

    It is one paragraph: lines stay, empty ones and indents go.
    """
    escaped = "".join(f"\\{letter}" if letter in SIGNS else letter for letter in LATE.sub(JOINER, text))
    lines = [line.strip() for line in escaped.splitlines() if line.strip()]
    return "  \n".join(BLOCK.sub(r"\1\\", line) for line in lines)
