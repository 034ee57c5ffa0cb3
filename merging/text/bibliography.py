"""BibTeX entries of the methods that a merge used."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from merging.methods.registry import ROLES, find

# "Authors: Title (Venue Year), what else the method says of it"
_PAPER = re.compile(r"(?P<authors>[^:]+): (?P<title>.+?) \((?P<venue>[^()]*?)\s?(?P<year>\d{4})\)")


def bibtex(methods: Mapping[str, str]) -> str:
    """Return one entry per paper of a merge's methods (role -> key), in order; "" for baselines only.

    Authors and titles are as short as the methods name them; the address leads to the full record.
    """
    entries: dict[str, str] = {}
    for role in ROLES:
        method = find(role, methods[role])
        for number, part in enumerate(method.paper.split("; ")):
            paper = _PAPER.match(part)
            if paper is not None:
                key, text = _entry(paper, method.link if number == 0 else "")
                if len(text) > len(entries.get(key, "")):
                    entries[key] = text
    return "\n".join(entries.values())


def _entry(paper: re.Match[str], link: str) -> tuple[str, str]:
    """The key of a paper and its entry."""
    authors = paper["authors"].replace(" et al.", ", others").replace(" and ", ", ").split(", ")
    plain = unicodedata.normalize("NFKD", authors[0].split()[-1]).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", paper["title"].lower())
    key = f"{plain}{paper['year']}{words[0] if words else ''}"
    fields = {
        "author": " and ".join(f"{{{name}}}" if " " in name else name for name in authors),
        "title": f"{{{paper['title']}}}",
        "howpublished": paper["venue"],
        "year": paper["year"],
        "url": link,
    }
    lines = [f"  {name} = {{{text}}}" for name, text in fields.items() if text]
    return key, f"@misc{{{key},\n" + ",\n".join(lines) + "\n}\n"
