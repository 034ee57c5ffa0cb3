"""The game "Which is it?": every round has one right answer, each unit is guessed about once, scores are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merging.errors import InvalidRequest
from merging.jobs.guesses import OPTIONS, GameScore, guess, guessed_units, rounds, score
from merging.jobs.ledger.ledger import Ledger

RUN = "ab" * 32


@given(st.integers(OPTIONS, 40), st.integers(0, 2**32 - 1))
def test_every_unit_is_asked_about_once_with_its_partner_among_four_different_units(count, seed):
    partner = np.random.default_rng(seed).permutation(50)
    asked = rounds(range(count), partner, RUN)
    assert sorted(one.unit for one in asked) == list(range(count))
    for one in asked:
        assert len(set(one.options)) == OPTIONS
        assert int(partner[one.unit]) in one.options
        assert set(one.options) <= {int(partner[unit]) for unit in range(count)}
    assert asked == rounds(range(count), partner, RUN)


def test_the_partner_stands_at_every_place_alike():
    partner = np.arange(4_000)
    places = [one.options.index(one.unit) for one in rounds(range(4_000), partner, RUN)]
    shares = np.bincount(places, minlength=OPTIONS) / len(places)
    assert np.abs(shares - 1 / OPTIONS).max() < 0.03  # 4 standard deviations


def test_units_that_share_a_partner_are_no_choice():
    with pytest.raises(
        InvalidRequest, match="needs 4 pairs of units that are alive in both networks; this layer has 2"
    ):
        rounds(range(8), np.array([0, 0, 0, 0, 1, 1, 1, 1]), RUN)


def test_the_first_guess_about_a_unit_counts(tmp_path):
    ledger = Ledger(tmp_path)
    assert score(ledger, "me") == GameScore(0, 0)
    guess(ledger, "me", RUN, "conv", 3, 7, right=7)
    guess(ledger, "me", RUN, "conv", 3, 8, right=7)
    guess(ledger, "me", RUN, "conv", 4, 1, right=2)
    guess(ledger, "me", RUN, "head", 4, 2, right=2)
    guess(ledger, "you", RUN, "conv", 3, 8, right=7)
    assert guessed_units(ledger, "me", RUN, "conv") == {3: 7, 4: 1}
    assert (score(ledger, "me", RUN, "conv"), score(ledger, "me"), score(ledger, "you")) == (
        GameScore(1, 2),
        GameScore(2, 3),
        GameScore(0, 1),
    )
    assert score(Ledger(tmp_path), "me") == GameScore(2, 3)  # after a restart


def test_a_person_keeps_a_bounded_number_of_guesses(tmp_path, monkeypatch):
    monkeypatch.setattr("merging.jobs.guesses.MOST", 5)
    ledger = Ledger(tmp_path)
    for unit in range(9):
        guess(ledger, "me", RUN, "conv", unit, 0, right=0)
    guess(ledger, "you", RUN, "conv", 0, 0, right=0)
    assert sorted(guessed_units(ledger, "me", RUN, "conv")) == [4, 5, 6, 7, 8]
    assert score(ledger, "you") == GameScore(1, 1)
