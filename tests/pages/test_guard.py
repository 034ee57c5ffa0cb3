"""Errors are shown where they happen: our own words, and what the system refused; mistakes of the program are not."""

import errno
import sqlite3

import pytest
from streamlit.testing.v1 import AppTest

from merging.errors import InvalidRequest
from merging.paths import ROOT, home, without_folders


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full: free some space"),
        (sqlite3.OperationalError("database or disk is full"), "The disk is full: free some space"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "no permission to read or write"),
        (PermissionError(errno.EACCES, "Permission denied", "/home/x"), "no permission"),
        (InvalidRequest("Choose *two* networks."), "Choose \\*two\\* networks."),
        (InvalidRequest(f"{home() / 'data' / 'birds.npy'} is damaged"), "birds.npy is damaged"),
    ],
)
def test_what_the_system_refuses_is_said_where_it_happens(error, said):
    def page(error):
        from ui.shell.guard import show_errors

        with show_errors():
            raise error

    app = AppTest.from_function(page, args=(error,)).run()
    shown = app.error[0].value
    assert said in shown and "/home" not in shown and str(home()) not in shown and not app.exception


def test_only_the_programs_own_folders_are_left_out_of_texts(monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", "/srv/my runs")
    assert without_folders("The file '/srv/my runs/data/own-1/a.npy' is cut.") == "The file 'a.npy' is cut."
    assert without_folders("see /var/srv/my runs/x.bin") == "see /var/srv/my runs/x.bin"
    assert without_folders("/srv/my runs has 1.0 GB free.") == "my runs has 1.0 GB free."
    assert without_folders("/srv/my runs2/a and/or /compare?x=1") == "/srv/my runs2/a and/or /compare?x=1"
    assert without_folders(f'File "{ROOT}/merging/paths.py", line 1') == 'File "paths.py", line 1'
    monkeypatch.setenv("MERGESCOPE_HOME", ".")
    assert without_folders("One sentence. And another.") == "One sentence. And another."


def test_a_mistake_of_the_program_is_not_explained_away():
    def page():
        from ui.shell.guard import show_errors

        with show_errors():
            raise OSError("no number")

    assert AppTest.from_function(page).run().exception


@pytest.mark.parametrize(
    ("page", "field", "value", "said"),
    [
        ("merge", "images", 50, "images must be a whole number from 100 to 60000; got 50"),
        ("compare", "seeds", 1_000_000_000, "seeds must be a whole number from 1 to 10"),
        ("zip", "images", -5, "images must be a whole number from 100 to 60000; got -5"),
        ("compare", "images", 50, "images must be a whole number from 100 to 60000; got 50"),
        ("sweeps", "groups", 0, "groups must be a whole number from 1"),
        ("models", "epochs", 51, "epochs must be a whole number from 1 to 50; got 51"),
        ("models", "lr", 11.0, "lr is 11.0; it must lie between 1e-06 and 10.0"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_and_no_other_one_used(open_page, page, field, value, said):
    """A field with bounds of its own would show this number and go on with its last one."""
    app = open_page(page)
    names = {"images": "Images", "seeds": "Seeds", "groups": "Groups", "epochs": "Epochs", "lr": "Learning rate"}
    (box,) = (one for one in app.number_input if one.label == names[field])
    box.set_value(value).run()
    assert any(said in error.value for error in app.error), [error.value for error in app.error]
    runs = [
        button for button in app.button if button.label in ("Run merge", "Run the sweep", "Run partial zip", "Train")
    ]
    assert all(button.disabled for button in runs)
