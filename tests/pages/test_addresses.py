"""Addresses that nobody's page has made: every parameter of every page is read within bounds."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pages.conftest import MAIN
from tests.pages.ledgers import done
from ui.shell.screens import address

ROOT = MAIN.parents[1]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
NAMES = (
    *("run", "layer", "unit", "pair", "row", "column", "zip", "nets", "align", "combine", "correct", "seeds", "images"),
    *("points", "mode", "base", "third", "beside", "metric", "split", "above", "view", "sort", "show", "pictures"),
    *("inside", "drawn", "plane", "class", "lesson", "step", "sweep", "point", "measure"),
)
STRANGE = ("", "9" * 5000, "-1", "²", "../../etc/passwd", "\0%00", "x" * 200_000, ",,,", "🦊")


@pytest.mark.parametrize("page", PAGES)
def test_no_parameter_breaks_a_page(page, ledger, open_page):
    run = done(ledger)[:12]
    for turn in range(3):  # benchmarks.faults tries many more
        app = open_page(
            page, run=run, **{name: STRANGE[(at + turn) % len(STRANGE)] for at, name in enumerate(NAMES[1:])}
        )
        assert not app.exception
    assert not open_page(page, run=STRANGE[1]).exception


@given(page=st.sampled_from(PAGES), said=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40), max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nor_do_drawn_ones(page, said, open_page):
    assert not open_page(page, **said).exception


def test_every_parameter_is_read_by_the_one_reader():
    readers = [path for path in (ROOT / "ui").rglob("*.py") if path.name != "address.py"]
    reads = re.compile(r"query_params(\.get\(|\.items|\[[^\]]*\](?! *(=[^=]|,)))")
    found = [
        f"{path.name}: {line.strip()}"
        for path in readers
        for line in path.read_text().splitlines()
        if reads.search(line)
    ]
    assert [line for line in found if "run_bar" not in line] == []  # which copies the address as it is


@pytest.mark.parametrize("url", ["http://localhost:8501/lab", "http://127.0.0.1:8501/", "https://lab.example.org/lab"])
def test_a_link_for_others_names_an_address_that_they_can_open(url, monkeypatch):
    monkeypatch.setattr("ui.shell.screens.st", SimpleNamespace(context=SimpleNamespace(url=url)))
    own = url.removesuffix("/lab").rstrip("/")
    monkeypatch.delenv("MERGESCOPE_ADDRESS", raising=False)
    assert address("lab", **{"class": "ABC234"}) == f"{own}/lab?class=ABC234"
    monkeypatch.setenv("MERGESCOPE_ADDRESS", "http://192.0.2.7:8501")
    theirs = own if "example" in own else "http://192.0.2.7:8501"
    assert address("lab", **{"class": "ABC234"}) == f"{theirs}/lab?class=ABC234"
