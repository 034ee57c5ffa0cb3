"""Display of Mergescope's own errors at the place where they occur. Texts of other errors are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from merging.errors import MergescopeError
from ui.shell.markdown import plain


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a MergescopeError as its text and continue after the block. Every fragment needs its own block."""
    try:
        yield
    except MergescopeError as error:
        st.error(plain(str(error)), icon=":material/error:")
