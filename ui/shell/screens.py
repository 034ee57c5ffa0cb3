"""The pages, their titles, the menu, and links that open a page with a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode, urlsplit

import streamlit as st
from streamlit.navigation.page import Page

from merging.literals import literals
from merging.paths import ROOT
from ui.shell.markdown import plain

FOLDER = ROOT / "pages"
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Screen:
    """Declaration of a page: its constant `SCREEN`, a literal that is read without running the page.

    Attributes:
        title: title in the menu and in the browser's tab.
        icon: one of Streamlit's material icons.
        order: position among all pages, the smallest first.
        menu: whether the menu lists the page.
        tab: label among the tabs of a run, "" for pages that show no run.
    """

    title: str
    icon: str
    order: int
    menu: bool = False
    tab: str = ""


def declared_screens(folder: Path = FOLDER) -> dict[str, Screen]:
    """Key -> declaration of every page, in order. The key is the page's file name and its address."""
    screens = {key: Screen(**values) for key, values in literals([folder], "SCREEN").items()}
    return dict(sorted(screens.items(), key=lambda item: item[1].order))


SCREENS = declared_screens()
MENU = tuple(key for key, screen in SCREENS.items() if screen.menu)
TABS = {key: screen.tab for key, screen in SCREENS.items() if screen.tab}


def screen(key: str) -> Page:
    """The page with this key, for links and the menu; it is created once per visit."""
    pages: dict[str, Page] = st.session_state.setdefault("screens", {})
    if key not in pages:
        pages[key] = _page(key)
    return pages[key]


def _page(key: str) -> Page:
    one, first = SCREENS[key], key == "merge"
    path, file = None if first else key, FOLDER / f"{key}.py"
    visibility: Literal["visible", "hidden"] = "visible" if one.menu else "hidden"
    return st.Page(file, title=one.title, icon=one.icon, url_path=path, default=first, visibility=visibility)


def link(key: str, label: str, *, run: str = "", icon: str | None = None, **params: str) -> None:
    """Show a link to a page. Its label is no Markdown; its address names the run and the further parameters."""
    query = {**({"run": run} if run else {}), **params}
    st.page_link(screen(key), label=plain(label), icon=icon, query_params=query)


def tabs(run: str, here: str, keys: Iterable[str] = TABS) -> None:
    """Show the tabs of a run; the tab of the current page, `here`, is bold and disabled."""
    for key in keys:
        label = f"**{TABS[key]}**" if key == here else TABS[key]
        st.page_link(screen(key), label=label, query_params={"run": run}, disabled=key == here)


def go(key: str, *, run: str = "", **params: str) -> None:
    """Switch to another page, which shows this run."""
    st.switch_page(screen(key), query_params={**({"run": run} if run else {}), **params})


def address(key: str, run: str = "", **params: str) -> str:
    """The full address of a page that shows this run, for a link to share.

    A visitor on this machine sees it as localhost, which others cannot open: MERGESCOPE_ADDRESS says how they reach it.
    """
    base = (st.context.url or "").split("?")[0].rstrip("/")
    for name in SCREENS:
        base = base.removesuffix(f"/{name}")
    if urlsplit(base).hostname in LOCAL:
        base = os.environ.get("MERGESCOPE_ADDRESS", "").rstrip("/") or base
    return f"{base}/{'' if key == 'merge' else key}?{urlencode({**({'run': run} if run else {}), **params})}"
