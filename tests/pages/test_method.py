"""The page that tells how a run was made."""

from merging.work.examples import merges
from tests.pages.ledgers import done
from tests.pages.test_merge_page import texts


def test_the_example_tells_what_matching_found_and_which_tensors_move(open_page):
    app = open_page("method", run=merges()["batch-norm"].id[:12])
    words = texts(app, "markdown")
    assert "5 restarts ended between" in words
    assert "4 layers were corrected" in words
    assert "480 of 480 units of hidden layers are in one of 4 groups" in words
    groups = app.dataframe[0].value
    assert list(groups["group"]) == ["features.0", "features.4", "features.8", "features.12"]
    assert "makes features.1.running_var, dimension 0" in groups["where its units lie"][0]
    assert "uses features.4.weight, dimension 1" in groups["where its units lie"][0]
    assert "Match B's units to A's" in words and "Most memory" in words


def test_a_run_that_noted_nothing_is_shown_all_the_same(ledger, open_page):
    app = open_page("method", run=done(ledger)[:12])
    assert "Visits one layer after another" in texts(app, "markdown")
