"""A ledger, and a class in it."""

import pytest

from merging.jobs.ledger.ledger import Ledger
from merging.teaching.classes import find_class, lead, open_class
from merging.teaching.students import join_class
from tests.teaching.making import ADA, NAIVE, TEACHER


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


@pytest.fixture
def lab(ledger):
    """A class at the last step of its one lesson, so that every question can be answered."""
    made, _ = open_class(ledger, TEACHER, "Deep learning", ["naive"])
    lead(ledger, made.code, TEACHER, place=("naive", NAIVE.steps[-1].key))
    join_class(ledger, made.code, ADA, "Ada")
    return find_class(ledger, made.code)
