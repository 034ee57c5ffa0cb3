"""The panels of single studies, found in studies/, and drawn below a page's own panels."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import streamlit as st

from merging.studies.registry import find_study
from ui.panels import studies
from ui.shell.chosen import Chosen


@dataclass(frozen=True)
class StudyPanel:
    """A panel that shows one study; its file declares it as PANEL.

    Attributes:
        study: key of the study, which names the page.
        title: heading above the panel.
        order: place among the panels of the page, the smallest first.
        draw: draws the panel, or the button that requests the study.
        fits: whether the study applies to the networks of a run.
    """

    study: str
    title: str
    order: int
    draw: Callable[[Chosen], None]
    fits: Callable[[Chosen], bool] = lambda found: True


@cache
def study_panels(page: str) -> tuple[StudyPanel, ...]:
    """The panels of a page, in order."""
    files = pkgutil.iter_modules(studies.__path__)
    panels = [importlib.import_module(f"{studies.__name__}.{file.name}").PANEL for file in files]
    return tuple(sorted((one for one in panels if find_study(one.study).page == page), key=lambda one: one.order))


def draw_study_panels(page: str, found: Chosen) -> None:
    """Draw the panels of a page that fit the run."""
    for panel in study_panels(page):
        if panel.fits(found):
            st.markdown(f"#### {panel.title}", anchors=False)
            panel.draw(found)
