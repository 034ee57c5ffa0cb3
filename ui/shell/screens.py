"""The pages, their names in the navigation, and links to them that carry a run."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st
from streamlit.navigation.page import Page

from merging.paths import ROOT

FOLDER = ROOT / "pages"
SCREENS = {
    "merge": ("Merge", ":material/merge:"),
    "similarity": ("Similarity", ":material/grid_on:"),
    "neurons": ("Neurons", ":material/blur_on:"),
    "why": ("Why", ":material/psychology_alt:"),
    "landscape": ("Landscape", ":material/landscape:"),
    "method": ("Method", ":material/receipt_long:"),
    "compare": ("Compare", ":material/leaderboard:"),
    "zip": ("Zip", ":material/call_split:"),
    "models": ("Models", ":material/deployed_code:"),
    "jobs": ("Jobs", ":material/list_alt:"),
    "words": ("Words", ":material/menu_book:"),
}


def screen(key: str) -> Page:
    """The page of this key, for links and the navigation."""
    title, icon = SCREENS[key]
    path = None if key == "merge" else key
    return st.Page(FOLDER / f"{key}.py", title=title, icon=icon, url_path=path, default=key == "merge")


def link(key: str, label: str, *, run: str = "", icon: str | None = None, **params: str) -> None:
    """A link to a page that shows this run there."""
    query = {**({"run": run} if run else {}), **params}
    st.page_link(screen(key), label=label, icon=icon, query_params=query)


def go(key: str, *, run: str = "", **params: str) -> None:
    """Leave this page for another one that shows this run."""
    st.switch_page(screen(key), query_params={**({"run": run} if run else {}), **params})


def address(key: str, run: str = "", **params: str) -> str:
    """The full address of a page that shows this run, to send to somebody else."""
    base = (st.context.url or "").split("?")[0].rstrip("/")
    for name in SCREENS:
        base = base.removesuffix(f"/{name}")
    return f"{base}/{'' if key == 'merge' else key}?{urlencode({**({'run': run} if run else {}), **params})}"
