"""Who may use networks, and see and download what was made of them. torch-free.

A network may be used by everybody if it is shipped, shared, or a result of a run that everybody sees. A run is private
if, when it was submitted, it read a network or images that not everybody could use; its owners alone see it. If an
owner makes networks or images private, all runs that read them, or anything made of them, become private (`hide`). A
private run is shown to everybody once its owners have shared all that made it private (`show`). Deletions change
nothing, and neither do other people's copies, because a run's visibility must not tell what others have.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from merging.jobs.ledger.owners import as_table
from merging.jobs.requests.registry import hashes_and_names
from merging.zoo.catalogue import shipped_file
from merging.zoo.datasets.known import may_use
from merging.zoo.datasets.own import find_intact, is_own

if TYPE_CHECKING:
    from merging.jobs.ledger.shipped_runs import ShippedRuns

MARKS = ("private", "hidden")  # columns of `jobs`
ANYONE = ""  # the person who may use only what everybody may use
# SQL condition on a row of `jobs`: whether :visitor may list the job and download its results.
VISIBLE = "(NOT jobs.private OR EXISTS (SELECT 1 FROM owners WHERE owners.job = jobs.id AND owners.owner = :visitor))"


class Access:
    """What one person may use. Answers are cached, so it must not outlive its transaction.

    Args:
        db: a connection to the ledger.
        shipped: the runs that come with the program.
        person: the person, or ANYONE.
    """

    def __init__(self, db: sqlite3.Connection, shipped: ShippedRuns, person: str) -> None:
        self._db = db
        self._shipped = shipped
        self._person = person
        self._usable = dict[str, bool]()

    def may_use(self, sha256: str) -> bool:
        """Whether the person may use the network with this hash; False if it is unknown."""
        if sha256 not in self._usable:
            self._usable[sha256] = self.is_given(sha256) or self._is_listed(sha256)
        return self._usable[sha256]

    def hidden_parts(self, request: Any) -> list[str]:
        """Hashes of the networks and ids of the images of a request (JSON values) that the person may not use."""
        networks = [sha256 for sha256 in sorted(_networks(request)) if not self.may_use(sha256)]
        images = dict.fromkeys(images_read(request))
        return networks + [dataset for dataset in images if not may_use(dataset, self._person)]

    def is_given(self, sha256: str) -> bool:
        """Whether the content is shipped, or a result of a job that the person may see."""
        return shipped_file(sha256) is not None or sha256 in self._shipped.hashes or self._is_result(sha256)

    def _is_listed(self, sha256: str) -> bool:
        """Whether the network is the person's own, or shared."""
        rows = self._db.execute("SELECT owner, entry FROM models WHERE sha256 = ?", (sha256,)).fetchall()
        return any(row["owner"] == self._person or _is_shared(row["entry"]) for row in rows)

    def _is_result(self, sha256: str) -> bool:
        """Whether the content is an artifact of a job that the person may see."""
        query = f"SELECT 1 FROM artifacts JOIN jobs ON jobs.id = job WHERE sha256 = :sha256 AND {VISIBLE} LIMIT 1"
        return self._db.execute(query, {"sha256": sha256, "visitor": self._person}).fetchone() is not None


def visible(db: sqlite3.Connection, jobs: Iterable[str], person: str) -> set[str]:
    """Ids of those of the jobs that this person may list and whose results they may download."""
    query = f"SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(:ids)) AND {VISIBLE}"
    return {row["id"] for row in db.execute(query, {"ids": json.dumps(list(jobs)), "visitor": person})}


def note_results(db: sqlite3.Connection, request: Any, results: Iterable[str]) -> None:
    """Record of what networks and images these contents were made. request: JSON values; results: hashes."""
    rows = [(made, part) for made in results for part in _parts(request)]
    db.executemany("INSERT OR IGNORE INTO made_of VALUES (?, ?)", rows)


def hide(db: sqlite3.Connection, shipped: ShippedRuns, part: str, person: str = "") -> None:
    """Make all runs private that read `part` or anything made of it, unless everybody may use that by another way.

    Args:
        db: a connection to the ledger, in a transaction.
        shipped: the runs that come with the program.
        part: the hash of a network, or the id of images, that its owner has just made private. Networks that were
            trained on such images become private too.
        person: if given, only runs of this person.
    """
    # A private run without parts was marked by an earlier version and needs all that it reads.
    rows = db.execute("SELECT id, hidden, request FROM jobs WHERE NOT private OR hidden != ''").fetchall()
    mine = {row["job"] for row in db.execute("SELECT job FROM owners WHERE owner = ?", (person,))} if person else None
    readers: dict[str, list[str]] = {}
    for row in rows:
        for name in _parts(as_table(row["request"])) if mine is None or row["id"] in mine else ():
            if name not in row["hidden"].split():
                readers.setdefault(name, []).append(row["id"])
    waiting, seen = [part], {part}
    while waiting:
        one = waiting.pop()
        if may_use(one, ANYONE) if is_own(one) else Access(db, shipped, ANYONE).may_use(one):
            continue
        found = _hide_trained(db, one) if is_own(one) else []
        marked = [(f" {one}", job) for job in readers.get(one, ())]
        db.executemany("UPDATE jobs SET private = 1, hidden = hidden || ? WHERE id = ?", marked)
        found += [row["made"] for row in db.execute("SELECT made FROM made_of WHERE part = ?", (one,))]
        waiting += [made for made in dict.fromkeys(found) if made not in seen]
        seen.update(found)


def show(db: sqlite3.Connection, shipped: ShippedRuns) -> None:
    """Show those private runs to everybody whose owners have shared all that made them private."""
    rows = db.execute("SELECT id, hidden, request FROM jobs WHERE private").fetchall()
    left = {row["id"]: row["hidden"].split() or _parts(as_table(row["request"])) for row in rows}
    while shown := [job for job, parts in left.items() if parts and _all_shared(db, shipped, job, parts)]:
        for job in shown:  # its results may be all that other runs need
            db.execute("UPDATE jobs SET private = 0, hidden = '' WHERE id = ?", (job,))
            del left[job]


def _all_shared(db: sqlite3.Connection, shipped: ShippedRuns, job: str, parts: Iterable[str]) -> bool:
    """Whether each of these parts of a job is shared by one of its owners, shipped, or a result that everybody sees."""
    owners = {row["owner"] for row in db.execute("SELECT owner FROM owners WHERE job = ?", (job,))}
    return all(_is_shared_by(db, shipped, part, owners) for part in parts)


def _is_shared_by(db: sqlite3.Connection, shipped: ShippedRuns, part: str, owners: set[str]) -> bool:
    if is_own(part):
        dataset = find_intact(part)  # None if they are damaged: it is unknown who shares them
        return dataset is not None and any(claim.shared and claim.owner in owners for claim in dataset.claims)
    rows = db.execute("SELECT owner, entry FROM models WHERE sha256 = ?", (part,)).fetchall()
    shared = any(row["owner"] in owners and _is_shared(row["entry"]) for row in rows)
    return shared or Access(db, shipped, ANYONE).is_given(part)


def mark_private(db: sqlite3.Connection) -> None:
    """Make all runs private that read private networks or images, or anything made of them, in a ledger without marks.

    Also records what its results were made of.
    """
    rows = db.execute("SELECT sha256, entry FROM models").fetchall()
    shared = {row["sha256"] for row in rows if _is_shared(row["entry"])}
    requests = {row["id"]: as_table(row["request"]) for row in db.execute("SELECT id, request FROM jobs")}
    for job, request in requests.items():
        made = "SELECT sha256 FROM artifacts WHERE job = ? AND name LIKE '%.safetensors'"
        note_results(db, request, [row["sha256"] for row in db.execute(made, (job,))])
    images = {one for request in requests.values() for one in images_read(request) if not may_use(one, ANYONE)}
    fresh, known = {row["sha256"] for row in rows} - shared | images, set[str]()
    while fresh:
        known |= fresh
        made = "SELECT made FROM made_of WHERE part IN (SELECT value FROM json_each(?))"
        fresh = {row["made"] for row in db.execute(made, (json.dumps([*fresh]),))} - known - shared
    for job, request in requests.items():
        hidden = sorted(known.intersection(_parts(request)))
        if hidden:
            db.execute("UPDATE jobs SET private = 1, hidden = ? WHERE id = ?", (" ".join(hidden), job))


def images_read(request: Any) -> Iterator[str]:
    """Ids of the users' own images on which a request (as JSON values) measures or trains."""
    if isinstance(request, dict):
        dataset = request.get("dataset")
        measured = request.get("data_sha256") or request.get("kind") == "train"
        yield from [dataset] if isinstance(dataset, str) and measured and is_own(dataset) else []
        yield from images_read(request.get("merge"))


def _parts(request: Any) -> list[str]:
    """Networks and images of a request, which is given as JSON values."""
    return sorted({*_networks(request), *images_read(request)})


def _networks(request: Any) -> set[str]:
    """SHA-256 hashes of the networks in a request, which is given as JSON values."""
    return {sha256 for sha256, _ in hashes_and_names(request)}


def _is_shared(entry: str) -> bool:
    """Whether a network's entry says that everybody may use it. An entry that cannot be read shares nothing."""
    values = as_table(entry)
    return bool(values) and values.get("private", False) is False


def _hide_trained(db: sqlite3.Connection, images: str) -> list[str]:
    """Make shared networks that were trained here on these images private; return their hashes."""
    hidden = list[str]()
    for row in db.execute("SELECT id, sha256, entry FROM models WHERE instr(entry, ?)", (images,)).fetchall():
        values = as_table(row["entry"])
        if values.get("dataset") == images and values.get("source") == "trained" and _is_shared(row["entry"]):
            entry = json.dumps({**values, "private": True}, ensure_ascii=False)
            db.execute("UPDATE models SET entry = ? WHERE id = ?", (entry, row["id"]))
            hidden.append(row["sha256"])
    return hidden
