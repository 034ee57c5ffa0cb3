"""Errors are shown where they happen: our own words, and what the system refused; mistakes of the program are not."""

import errno
import sqlite3

import pytest
from streamlit.testing.v1 import AppTest

from merging.errors import InvalidRequest


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full: free some space"),
        (sqlite3.OperationalError("database or disk is full"), "The disk is full: free some space"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "mounted read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/home/x"), "no permission"),
        (InvalidRequest("Choose *two* networks."), "Choose \\*two\\* networks."),
    ],
)
def test_what_the_system_refuses_is_said_where_it_happens(error, said):
    def page(error):
        from ui.shell.guard import show_errors

        with show_errors():
            raise error

    app = AppTest.from_function(page, args=(error,)).run()
    assert said in app.error[0].value and "/home" not in app.error[0].value and not app.exception


def test_a_mistake_of_the_program_is_not_explained_away():
    def page():
        from ui.shell.guard import show_errors

        with show_errors():
            raise OSError("no number")

    assert AppTest.from_function(page).run().exception
