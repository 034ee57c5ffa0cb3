"""Who may use networks, and see and download what was made of them. torch-free.

A network may be used by everybody if it is shipped, shared, or a result of a run that everybody sees. A run is private
if, when it was submitted, it read a network or images that not everybody could use; its owners alone see it. If an
owner makes networks or images private, all runs that read them, or results of such runs, become private (`hide`). Once
everybody may use all that a run reads, everybody sees it (`show`). Deletions change nothing, and neither do other
people's copies, because a run's visibility must not tell what others have.
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
from merging.zoo.datasets.own import is_own

if TYPE_CHECKING:
    from merging.jobs.ledger.shipped_runs import ShippedRuns
    from merging.jobs.requests.base import Request

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
            self._usable[sha256] = self._is_free(sha256) or self._is_result(sha256)
        return self._usable[sha256]

    def may_use_all(self, request: Request) -> bool:
        """Whether the person may use all networks and images that the request reads."""
        return self.may_use_parts(json.loads(request.to_json()))

    def may_use_parts(self, request: Any) -> bool:
        """As `may_use_all`, for a request as JSON values; False for one that cannot be read."""
        images = (may_use(dataset, self._person) for dataset in images_read(request))
        return bool(request) and all(map(self.may_use, _networks(request))) and all(images)

    def _is_free(self, sha256: str) -> bool:
        if shipped_file(sha256) is not None or sha256 in self._shipped.hashes:
            return True
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


def hide(db: sqlite3.Connection, shipped: ShippedRuns, part: str) -> None:
    """Make all runs private that read `part`, or a result of such a run, unless everybody may use it by another way.

    part: the hash of a network, or the id of images, that its owner has just made private. Networks that were trained
    on such images become private too.
    """
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if may_use(part, ANYONE) if is_own(part) else Access(db, shipped, ANYONE).may_use(part):
            continue
        waiting += _hide_trained(db, part) if is_own(part) else ()
        found = db.execute("SELECT id, request FROM jobs WHERE NOT private AND instr(request, ?)", (part,)).fetchall()
        for row in found:
            request = as_table(row["request"])
            if part in _networks(request) or part in images_read(request):
                db.execute("UPDATE jobs SET private = 1 WHERE id = ?", (row["id"],))
                made = "SELECT DISTINCT sha256 FROM artifacts WHERE job = ? AND name LIKE '%.safetensors'"
                waiting += [artifact["sha256"] for artifact in db.execute(made, (row["id"],))]


def show(db: sqlite3.Connection, shipped: ShippedRuns) -> None:
    """Show the private runs to everybody all of whose networks and images everybody may use now."""
    hidden = {row["id"]: as_table(row["request"]) for row in db.execute("SELECT id, request FROM jobs WHERE private")}
    while shown := [job for job, values in hidden.items() if Access(db, shipped, ANYONE).may_use_parts(values)]:
        for job in shown:  # its results may be all that other runs need
            db.execute("UPDATE jobs SET private = 0 WHERE id = ?", (job,))
            del hidden[job]


def mark_private(db: sqlite3.Connection) -> None:
    """Make all runs private that read private networks or images, in a ledger whose marks may be out of date."""
    rows = db.execute("SELECT sha256, entry FROM models").fetchall()
    shared = {row["sha256"] for row in rows if _is_shared(row["entry"])}
    fresh = {row["sha256"] for row in rows} - shared
    requests = {row["id"]: as_table(row["request"]) for row in db.execute("SELECT id, request FROM jobs")}
    reads = {job: _networks(request) for job, request in requests.items()}
    on_images = [job for job, one in requests.items() if not all(may_use(name, ANYONE) for name in images_read(one))]
    known = set[str]()
    while fresh or on_images:
        known |= fresh
        marked = [*on_images, *(job for job, networks in reads.items() if networks & fresh)]
        made = "SELECT sha256 FROM artifacts WHERE job = ? AND name LIKE '%.safetensors'"
        fresh = {row["sha256"] for job in marked for row in db.execute(made, (job,))} - known
        db.executemany("UPDATE jobs SET private = 1 WHERE id = ?", [(job,) for job in marked])
        on_images = []


def images_read(request: Any) -> Iterator[str]:
    """Ids of the users' own images on which a request (as JSON values) measures or trains."""
    if isinstance(request, dict):
        dataset = request.get("dataset")
        measured = request.get("data_sha256") or request.get("kind") == "train"
        yield from [dataset] if isinstance(dataset, str) and measured and is_own(dataset) else []
        yield from images_read(request.get("merge"))


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
