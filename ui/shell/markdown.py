"""Escaping of text from users (names, classes, notes, addresses, errors that quote them) for Markdown."""

from __future__ import annotations

SIGNS = "\\`*_{}[]<>#$~:|&@"  # signs of Markdown, its links, formulas, colours and emojis
LINK = "www."  # Markdown makes a link of it without any sign


def plain(text: str) -> str:
    """Escape a text for `st.markdown` and other elements that read Markdown, which then show it unchanged."""
    escaped = "".join(f"\\{letter}" if letter in SIGNS else letter for letter in text)
    return escaped.replace(LINK, f"{LINK[:-1]}\\.").replace(LINK.upper(), f"{LINK[:-1].upper()}\\.")
