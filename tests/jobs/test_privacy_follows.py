"""Privacy follows what is made of private networks, whatever happens to them, and tells nothing of what others have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.base import ModelRef
from tests.jobs.making import merge_request
from tests.jobs.test_privacy import bring, merged, pictures_of, sees


def test_what_was_made_of_results_is_hidden_and_shown_with_them(ledger):
    """Also where the networks or the first run were deleted before the rest is shared again."""
    pair = [bring(ledger, content, "ann", private=False) for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    pictures = ledger.submit(pictures_of(b"a merge"), "ann").id
    again = replace(merge_request(1), models=(pictures_of(b"a merge").model, ModelRef.of(pair[0])))
    further = ledger.submit(again, "ann").id
    assert all(sees(ledger, one, "bob") for one in (run, pictures, further))
    bring(ledger, b"y", "ann", private=True)
    assert not any(sees(ledger, one, "bob") for one in (run, pictures, further))
    bring(ledger, b"y", "ann", private=False)
    assert all(sees(ledger, one, "bob") for one in (run, pictures, further))
    bring(ledger, b"x", "ann", private=True)
    ledger.cancel(further, "ann")
    ledger.delete(run, "ann")
    for entry in ledger.models("ann"):
        ledger.cancel(pictures, "ann")
        ledger.delete_model(entry.id, "ann")
    assert not sees(ledger, pictures, "bob") and not sees(ledger, further, "bob") and sees(ledger, pictures, "ann")


def test_a_run_tells_nobody_who_else_has_its_networks(ledger):
    """Ann's private copies of Bob's networks change nothing in what Cat sees of Bob's run, whatever Bob does."""
    for name in ("alone", "with Ann"):
        here = Ledger(ledger.folder / name)
        if name == "with Ann":
            for content in (b"x", b"y"):
                bring(here, content, "ann")
        pair = [bring(here, content, "bob", private=False) for content in (b"x", b"y")]
        run = merged(here, pair, "bob")
        for entry in pair:
            here.delete_model(entry.id, "bob")
        assert sees(here, run, "cat")


@pytest.mark.parametrize("seed", range(8))
def test_a_person_sees_a_run_if_it_is_theirs_or_everybody_could_use_what_it_reads(ledger, seed):
    """Made-up histories: the rule of the module, followed by hand for every run, is what the ledger shows."""
    rng, runs, public = np.random.default_rng(seed), dict[str, tuple[str, set[bytes]]](), dict[str, bool]()
    shared = dict.fromkeys((b"a", b"b", b"c", b"d"), False)
    for content in shared:
        bring(ledger, content, "ann")
    for number in range(25):
        content = list(shared)[rng.integers(4)]
        if rng.random() < 0.5:
            shared[content] = not shared[content]
            bring(ledger, content, "ann", private=not shared[content])
            for run, (_, reads) in runs.items():
                public[run] = all(shared[one] for one in reads)
        else:
            reads = {content, list(shared)[rng.integers(4)]}
            if len(reads) == 2:
                entries = [bring(ledger, one, "ann", private=not shared[one]) for one in sorted(reads)]
                run = merged(ledger, entries, "ann", seed=number, result=f"result {number}".encode())
                pictures = ledger.submit(pictures_of(f"result {number}".encode()), "ann").id
                ledger.cancel(pictures, "ann")
                runs |= {run: ("ann", reads), pictures: ("ann", reads)}
                public |= dict.fromkeys((run, pictures), all(shared[one] for one in reads))
        assert {run: sees(ledger, run, "bob") for run in runs} == public
        assert all(sees(ledger, run, "ann") for run in runs)


@pytest.mark.parametrize("deleted", [False, True])
def test_equal_bytes_that_somebody_else_shares_publish_no_private_run(ledger, deleted):
    pair = [bring(ledger, content, "ann") for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    for entry in pair if deleted else ():
        ledger.delete_model(entry.id, "ann")
    for content in (b"x", b"y"):
        bring(ledger, content, "bob", private=False)
    assert not sees(ledger, run, "bob") and not sees(ledger, run, "cat") and sees(ledger, run, "ann")
    for content in (b"x", b"y"):
        bring(ledger, content, "ann", private=False)
    assert sees(ledger, run, "cat")


def test_a_deleted_run_between_hides_nothing_less(ledger):
    pair = [bring(ledger, content, "ann", private=False) for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    pictures = ledger.submit(pictures_of(b"a merge"), "ann").id
    assert sees(ledger, pictures, "bob")
    ledger.cancel(pictures, "ann")
    ledger.delete(run, "ann")
    bring(ledger, b"x", "ann")
    assert not sees(ledger, pictures, "bob") and sees(ledger, pictures, "ann")


def test_what_one_brings_again_as_private_hides_one_s_own_runs(ledger):
    pair = [bring(ledger, content, "ann", private=False) for content in (b"x", b"y")]
    run = merged(ledger, pair, "ann")
    for entry in pair:
        ledger.delete_model(entry.id, "ann")
    assert sees(ledger, run, "bob")
    bring(ledger, b"x", "ann")
    assert not sees(ledger, run, "bob") and sees(ledger, run, "ann")
