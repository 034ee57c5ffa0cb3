"""Looks at sweeps that all visitors share, because a look at a large sweep takes a fifth of a second."""

from __future__ import annotations

import streamlit as st

from merging.jobs.privacy import ANYONE
from merging.jobs.requests.registry import from_json
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.look import SweepLook, look_at_sweep
from merging.paths import home
from merging.zoo.datasets.own import is_own
from ui.shell.state import ledger, owner

KEPT = 1.5  # seconds for which a look is kept, less than a page waits between two


def shared_look(sweep: SweepRequest) -> SweepLook:
    """Return a look at the sweep, at most KEPT seconds old."""
    visitor = owner() if is_own(sweep.dataset) else ANYONE  # parts on images that everybody has are seen by everybody
    return _look(str(home()), sweep.to_json(), visitor)


@st.cache_resource(ttl=KEPT, max_entries=16, show_spinner=False)
def _look(folder: str, text: str, visitor: str) -> SweepLook:
    sweep = from_json(text)
    assert isinstance(sweep, SweepRequest)
    return look_at_sweep(ledger(), sweep, visitor)
