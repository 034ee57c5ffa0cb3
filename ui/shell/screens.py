"""The pages, their titles, the menu, and links to pages that carry a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlencode

import streamlit as st
from streamlit.navigation.page import Page

from merging.paths import ROOT

FOLDER = ROOT / "pages"
SCREENS = {  # key, which is the page's file and address -> title, icon
    "merge": ("Merge", ":material/merge:"),
    "compare": ("Compare", ":material/leaderboard:"),
    "models": ("Models", ":material/deployed_code:"),
    "jobs": ("Runs", ":material/list_alt:"),
    "words": ("Glossary", ":material/menu_book:"),
    "similarity": ("Similarity", ":material/grid_on:"),
    "neurons": ("Neurons", ":material/blur_on:"),
    "why": ("Why", ":material/psychology_alt:"),
    "landscape": ("Landscape", ":material/landscape:"),
    "method": ("Method", ":material/receipt_long:"),
    "zip": ("Partial zip", ":material/call_split:"),
}
MENU = ("merge", "compare", "models", "jobs", "words")
# The tabs of a run, with their labels there. Partial zip, a kind of merge, is reached from Merge.
TABS = {
    "merge": "Curve",
    "similarity": "Similarity",
    "neurons": "Neurons",
    "why": "Why",
    "landscape": "Landscape",
    "method": "Method",
}


def screen(key: str) -> Page:
    """The page of this key, for links and the menu."""
    title, icon = SCREENS[key]
    path = None if key == "merge" else key
    visibility: Literal["visible", "hidden"] = "visible" if key in MENU else "hidden"
    file = FOLDER / f"{key}.py"
    return st.Page(file, title=title, icon=icon, url_path=path, default=key == "merge", visibility=visibility)


def link(key: str, label: str, *, run: str = "", icon: str | None = None, **params: str) -> None:
    """A link to a page that shows this run there."""
    query = {**({"run": run} if run else {}), **params}
    st.page_link(screen(key), label=label, icon=icon, query_params=query)


def tabs(run: str, here: str, keys: Iterable[str] = TABS) -> None:
    """The tabs of a run; the one that is open is marked and leads nowhere."""
    for key in keys:
        label = f"**{TABS[key]}**" if key == here else TABS[key]
        st.page_link(screen(key), label=label, query_params={"run": run}, disabled=key == here)


def go(key: str, *, run: str = "", **params: str) -> None:
    """Leave this page for another one that shows this run."""
    st.switch_page(screen(key), query_params={**({"run": run} if run else {}), **params})


def address(key: str, run: str = "", **params: str) -> str:
    """The full address of a page that shows this run, to send to somebody else."""
    base = (st.context.url or "").split("?")[0].rstrip("/")
    for name in SCREENS:
        base = base.removesuffix(f"/{name}")
    return f"{base}/{'' if key == 'merge' else key}?{urlencode({**({'run': run} if run else {}), **params})}"
