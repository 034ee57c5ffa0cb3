"""Owners: known by a hash, bounded one by one, by address and all together."""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import asdict

import pytest

from merging.errors import TooManyJobs
from merging.jobs.ledger.connection import close_spares, connect
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import network_of, owner_of
from merging.jobs.limits import Limits
from merging.zoo import catalogue
from merging.zoo.datasets.claims import ImageClaim
from tests.jobs.making import merge_request, take


def test_an_owner_is_no_cookie_and_always_the_same():
    cookie = secrets.token_hex(16)
    assert owner_of(cookie) == owner_of(cookie) != owner_of(secrets.token_hex(16))
    assert cookie not in owner_of(cookie)


def test_what_an_earlier_version_stored_by_cookies_stays_its_owner_s(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path))
    cookie, ledger = secrets.token_hex(16), Ledger(tmp_path)
    first, second = (ledger.submit(merge_request(seed=seed), cookie).id for seed in (1, 2))
    take(Desk(ledger))
    net = catalogue.find_entry("fashion-head-low")
    data = catalogue.shipped_file(net.sha256).read_bytes()
    model = ledger.add_model(net, data, cookie)
    claims = tmp_path / "data" / "own-1" / "owners"
    claims.mkdir(parents=True)
    (claims / "1.json").write_text(json.dumps(asdict(ImageClaim(cookie, "birds", False, 1.0))))
    close_spares()
    ledger, owner = Ledger(tmp_path), owner_of(cookie)
    assert {job.id for job in ledger.jobs(owner=owner)} == {first, second}
    assert [entry.owner for entry in ledger.models(owner)] == [owner]
    ledger.cancel(second, owner)
    ledger.delete_model(model.id, owner)
    (claim,) = (json.loads(file.read_text()) for file in claims.glob("*.json"))
    assert (claim["owner"], claim["label"]) == (owner, "birds")
    with sqlite3.connect(ledger.file) as db:
        held = "".join(db.iterdump())
    assert cookie not in held


def test_a_person_stored_by_cookie_and_by_hash_is_one_person(tmp_path):
    """So it is after an earlier version was used for a while."""
    cookie, ledger = secrets.token_hex(16), Ledger(tmp_path)
    job = ledger.submit(merge_request(), owner_of(cookie))
    with connect(ledger.file) as db:
        db.execute("INSERT INTO owners (job, owner, asked) VALUES (?, ?, 1)", (job.id, cookie))
        db.executemany(
            "INSERT OR REPLACE INTO served VALUES (?, 1)", [(f"long {cookie}",), (f"long {owner_of(cookie)}",)]
        )
    close_spares()
    assert Ledger(tmp_path).job(job.id).owners == (owner_of(cookie),)


def test_made_up_owners_of_one_address_are_bounded_together(tmp_path):
    ledger = Ledger(tmp_path, Limits(open_jobs=3, address_jobs=5, all_jobs=8))
    asked = iter(range(100))

    def ask(owner, address):
        return ledger.submit(merge_request(seed=next(asked)), owner, address=address)

    for number in range(5):
        ask(f"made up {number}", "192.0.2.7")
    with pytest.raises(TooManyJobs, match="Your network address"):
        ask("made up 6", "192.0.2.7")
    for _ in range(3):
        ask("ann", "192.0.2.8")
    with pytest.raises(TooManyJobs, match="You have 3 open jobs"):
        ask("ann", "192.0.2.8")
    with pytest.raises(TooManyJobs, match="8 jobs are open here"):
        ask("bob", "192.0.2.9")
    known = ledger.submit(merge_request(seed=0), "bob", address="192.0.2.9")  # which is open already: no other work
    assert known.owners == ("made up 0", "bob")


def test_this_machine_s_own_jobs_have_no_address(tmp_path):
    ledger = Ledger(tmp_path, Limits(address_jobs=1))
    for seed in range(3):
        ledger.submit(merge_request(seed=seed), f"owner {seed}")


def test_a_teacher_may_have_more(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_TEACHERS", " ann , bob")
    ledger = Ledger(tmp_path, Limits(open_jobs=1, teacher_times=3))
    for seed in range(3):
        ledger.submit(merge_request(seed=seed), "ann")
    with pytest.raises(TooManyJobs):
        ledger.submit(merge_request(seed=3), "ann")
    ledger.submit(merge_request(seed=4), "eve")
    with pytest.raises(TooManyJobs):
        ledger.submit(merge_request(seed=5), "eve")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("", ""),
        ("198.51.100.7", "198.51.100.7"),
        ("::1", "::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:1:2:3", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_the_addresses_of_one_ipv6_network_count_as_one(address, network):
    assert network_of(address) == network
