"""Who may use networks, and see and download what was made of them. torch-free.

A network may be used by everybody if it is shipped, shared, or a result of a run that everybody sees. A run is marked
as private if, when it was submitted, it read a network or images that not everybody could use, or if these were private
when they were deleted. Owners see their runs; others see a private run once everybody may use all that it reads.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from merging.jobs.ledger.owners import as_table
from merging.jobs.requests.registry import hashes_and_names
from merging.zoo.catalogue import shipped_file
from merging.zoo.datasets.known import may_use
from merging.zoo.datasets.own import find_own, is_own

if TYPE_CHECKING:
    from merging.jobs.ledger.shipped_runs import ShippedRuns
    from merging.jobs.requests.base import Request

ANYONE = ""  # the person who may use only what everybody may use


class Access:
    """What one person may use and see. Answers are cached, so it must not outlive its transaction.

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
        self._seen = dict[str, bool]()

    def may_use(self, sha256: str) -> bool:
        """Whether the person may use the network with this hash; False if it is unknown."""
        if sha256 not in self._usable:
            self._usable[sha256] = False  # while its producers are looked at: a run does not make its own input usable
            self._usable[sha256] = self._is_free(sha256) or any(map(self.may_see, self._producers(sha256)))
        return self._usable[sha256]

    def may_use_images(self, dataset: str) -> bool:
        """Whether the person may use the images of a data set; False for images that were deleted."""
        return may_use(dataset, self._person)

    def may_use_all(self, request: Request) -> bool:
        """Whether the person may use all networks and images that the request reads."""
        images = images_read(json.loads(request.to_json()))
        return all(self.may_use(model.sha256) for model in request.checkpoints) and all(
            map(self.may_use_images, images)
        )

    def may_see(self, job: str) -> bool:
        """Whether the person may list the job with this id and download its results; False if it is unknown."""
        if job not in self._seen:
            self._seen[job] = False
            self._seen[job] = self._is_visible(job)
        return self._seen[job]

    def _is_free(self, sha256: str) -> bool:
        if shipped_file(sha256) is not None or sha256 in self._shipped.hashes:
            return True
        rows = self._db.execute("SELECT owner, entry FROM models WHERE sha256 = ?", (sha256,)).fetchall()
        return any(self._is_me(row["owner"]) or _is_shared(row["entry"]) for row in rows)

    def _is_me(self, owner: str) -> bool:
        return bool(self._person) and owner == self._person

    def _producers(self, sha256: str) -> list[str]:
        """Ids of the jobs that have this content as an artifact."""
        return [row["job"] for row in self._db.execute("SELECT job FROM artifacts WHERE sha256 = ?", (sha256,))]

    def _is_visible(self, job: str) -> bool:
        row = self._db.execute("SELECT private, request FROM jobs WHERE id = ?", (job,)).fetchone()
        if row is None:
            return False
        owners = self._db.execute("SELECT owner FROM owners WHERE job = ?", (job,)).fetchall()
        if any(self._is_me(owner["owner"]) for owner in owners):
            return True
        request = as_table(row["request"])
        networks, images = _networks(request), set(images_read(request))
        if row["private"] and self._person:
            return self._everybody.may_see(job)
        if row["private"]:
            return bool(request) and all(map(self.may_use, networks)) and all(map(self.may_use_images, images))
        return all(self.may_use(sha256) for sha256 in networks if self._is_listed(sha256)) and all(
            self.may_use_images(name) for name in images if find_own(name) is not None
        )

    @cached_property
    def _everybody(self) -> Access:
        return Access(self._db, self._shipped, ANYONE)

    def _is_listed(self, sha256: str) -> bool:
        """Whether someone's list of networks has this content. Deleted networks of a public run hide nothing."""
        return self._db.execute("SELECT 1 FROM models WHERE sha256 = ?", (sha256,)).fetchone() is not None


def _networks(request: Any) -> set[str]:
    """SHA-256 hashes of the networks in a request, which is given as JSON values."""
    return {sha256 for sha256, _ in hashes_and_names(request)}


def _is_shared(entry: str) -> bool:
    """Whether a network's entry says that everybody may use it. An entry that cannot be read shares nothing."""
    values = as_table(entry)
    return bool(values) and values.get("private", False) is False


def images_read(request: Any) -> Iterator[str]:
    """Ids of the users' own images on which a request (as JSON values) measures or trains."""
    if isinstance(request, dict):
        dataset = request.get("dataset")
        measured = request.get("data_sha256") or request.get("kind") == "train"
        yield from [dataset] if isinstance(dataset, str) and measured and is_own(dataset) else []
        yield from images_read(request.get("merge"))


def mark_readers(db: sqlite3.Connection, part: str) -> None:
    """Mark all jobs whose request contains `part`, the hash of a network or the id of images, as private."""
    db.execute("UPDATE jobs SET private = 1 WHERE instr(request, ?)", (part,))


def mark_private(db: sqlite3.Connection) -> None:
    """Mark all jobs that read a private network, or a result of such a job, in a ledger that has no marks yet."""
    rows = db.execute("SELECT sha256, entry FROM models").fetchall()
    shared = {row["sha256"] for row in rows if _is_shared(row["entry"])}
    fresh = {row["sha256"] for row in rows} - shared
    reads = {row["id"]: _networks(as_table(row["request"])) for row in db.execute("SELECT id, request FROM jobs")}
    known = set[str]()
    while fresh:
        known |= fresh
        marked = [job for job, networks in reads.items() if networks & fresh]
        made = "SELECT sha256 FROM artifacts WHERE job = ? AND name LIKE '%.safetensors'"
        fresh = {row["sha256"] for job in marked for row in db.execute(made, (job,))} - known
        db.executemany("UPDATE jobs SET private = 1 WHERE id = ?", [(job,) for job in marked])
