"""Words of other people (names, classes, notes, addresses, errors that quote them), shown as the text that they are."""

from __future__ import annotations

SIGNS = "\\`*_{}[]<>#$~:|&@"  # what Markdown, its links, formulas, colours and emojis are made of
LINK = "www."  # which becomes a link by itself


def plain(text: str) -> str:
    """The text for `st.markdown` and all else that reads Markdown, which then shows it as it is."""
    shown = "".join(f"\\{letter}" if letter in SIGNS else letter for letter in text)
    return shown.replace(LINK, f"{LINK[:-1]}\\.").replace(LINK.upper(), f"{LINK[:-1].upper()}\\.")
