"""Display of Mergescope's own errors, and of what the system refused, where they occur; never of other errors."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from merging.errors import MergescopeError, reason_of_system
from merging.paths import without_folders
from ui.shell.markdown import plain


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a MergescopeError as its text and continue after the block. Every fragment needs its own block.

    So it shows why the system refuses to read or write, for example because the disk is full.
    """
    try:
        yield
    except MergescopeError as error:
        st.error(plain(without_folders(str(error))), icon=":material/error:")
    except (OSError, sqlite3.OperationalError) as error:
        reason = reason_of_system(error)
        if reason is None:
            raise
        logging.getLogger(__name__).warning("%s: %s", reason, error)
        st.error(f"{reason}.", icon=":material/error:")
