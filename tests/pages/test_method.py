"""The page that tells how a run was made."""

from merging.jobs.examples import merges
from tests.pages.ledgers import done
from tests.pages.test_merge_page import texts


def test_the_example_tells_what_matching_found_and_which_tensors_move(open_page):
    app = open_page("method", run=merges()["batch-norm"].id[:12])
    words = texts(app, "markdown")
    assert "repeated 5 times with other orders" in words
    assert "4 layers were corrected" in words
    assert "480 of 480 units of hidden layers belong to 4 groups" in words
    row = next(line for line in words.splitlines() if line.startswith("| features.0 |"))
    assert row.startswith("| features.0 | 32 | 32 | features.0.weight :gray[(0)]")
    assert "features.1.running\\_var :gray[(0)]" in row and "| features.4.weight :gray[(1)] |" in row
    assert "Match B's units to A's" in words and "Peak memory" in words


def test_a_run_that_noted_nothing_is_shown_all_the_same(ledger, open_page):
    app = open_page("method", run=done(ledger)[:12])
    assert "Visits one layer after another" in texts(app, "markdown")


def test_a_run_of_an_earlier_version_is_shown_without_its_tensors(ledger, open_page):
    app = open_page("method", run=done(ledger, notes={"trace": {"groups": 3, "units": 72, "error": 1e-16}})[:12])
    assert "| layers.0 | 24 |" in texts(app, "markdown")
