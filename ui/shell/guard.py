"""Our own errors, in words, where they happen; no other text of an error is ever shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from merging.errors import MergescopeError
from ui.shell.markdown import plain


@contextmanager
def in_words() -> Iterator[None]:
    """Show an error of ours as its sentence and go on after the block. A fragment needs one of its own."""
    try:
        yield
    except MergescopeError as error:
        st.error(plain(str(error)), icon=":material/error:")
