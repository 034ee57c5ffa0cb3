"""Transactions that change stored files and their ledger rows together; they delete the oldest finished runs for space.

A file is deleted only after the end of the transaction that released it, and only if no row refers to the file then.
Therefore, if a transaction is rolled back, the files that it released stay, and the files that it added are deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.store import Content, Store

TABLES = ("artifacts", "models")
ORPHANED = 3600.0  # seconds after which a file without a row is not one that somebody is just adding


class Filing:
    """A transaction that adds files to the store and releases files. db: the transaction's connection."""

    def __init__(self, db: sqlite3.Connection, store: Store) -> None:
        self.db = db
        self._store = store
        self._touched = list[str]()
        self._freed = 0  # bytes of the files that are deleted after the transaction

    def make_room(self, wanted: Mapping[str, int]) -> None:
        """Delete finished runs until the store has room for these contents (sha256 -> number of bytes).

        The oldest runs of those who hold most are deleted first. If they are not enough, files to which nothing refers
        (of a lost ledger) are deleted too.

        Raises InvalidRequest, and deletes no run, if deleting all finished runs would not free enough space.
        """
        if self._store.limit is None:
            return
        needed = sum(size for sha256, size in wanted.items() if not self._store.has(sha256))
        missing = self._store.size() + needed - self._store.limit
        old = self._oldest() if missing > 0 else iter(())
        while self._freed < missing and (job := next(old, "")):
            gone = [sha256 for sha256 in self.remove(job) if sha256 not in wanted]
            self._freed += sum(self._store.size_of(sha256) for sha256 in unused(self.db, gone))
        if self._freed < missing:
            orphans = [name for name in unused(self.db, self._store.old_names(ORPHANED)) if name not in wanted]
            self._touched.extend(orphans)
            self._freed += sum(map(self._store.size_of, orphans))
        if self._freed < missing:
            raise self._store.full()

    def _oldest(self) -> Iterator[str]:
        """Yield closed jobs: always the oldest one of the place (a network address or person) that holds most bytes."""
        closed = (
            "SELECT id, place, (SELECT SUM(size) FROM artifacts WHERE job = jobs.id) AS size FROM jobs"
            " WHERE state NOT IN ('queued', 'running') AND id IN (SELECT job FROM artifacts) ORDER BY finished"
        )
        held: dict[str, list[tuple[str, int]]] = {}
        for row in self.db.execute(closed).fetchall():
            held.setdefault(row["place"], []).append((row["id"], row["size"]))
        total = {place: sum(size for _, size in jobs) for place, jobs in held.items()}
        while total:
            most = max(total, key=total.__getitem__)
            job, size = held[most].pop(0)
            total[most] -= size
            if not held[most]:
                del total[most]
            yield job

    def put(self, content: Content, sha256: str) -> None:
        """Store bytes, or move a file into the store, under its sha256. Raises InvalidRequest if the store is full."""
        self._touched.append(self._store.put(content, self._freed, sha256))

    def remove(self, job: str) -> list[str]:
        """Delete a job's rows and release its files; return the files' names."""
        contents = self.give_up_artifacts(job)
        self.db.execute("DELETE FROM jobs WHERE id = ?", (job,))
        return contents

    def give_up_artifacts(self, job: str) -> list[str]:
        """Release the job's artifacts; return the files' names."""
        contents = [row[0] for row in self.db.execute("SELECT DISTINCT sha256 FROM artifacts WHERE job = ?", (job,))]
        self.give_up(contents)
        return contents

    def give_up(self, contents: Sequence[str]) -> None:
        """Release files: they are deleted after the transaction unless a row still refers to them."""
        self._touched += contents

    def close(self) -> None:
        """Delete the released and added files to which no row refers; the write lock keeps others from adding files."""
        if self._touched:
            with transaction(self.db):
                for sha256 in unused(self.db, self._touched):
                    self._store.delete(sha256)


@contextmanager
def filing(ledger: Path, store: Store) -> Iterator[Filing]:
    """Run a transaction on the ledger that may add and release stored files."""
    with connect(ledger) as db:
        files = Filing(db, store)
        try:
            with transaction(db):
                yield files
        finally:
            files.close()


def unused(db: sqlite3.Connection, contents: Iterable[str]) -> list[str]:
    """Those of the hashes `contents` to which no artifact and no model refers, without duplicates."""
    reference = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE sha256 = :sha256" for table in TABLES)
    return [c for c in dict.fromkeys(contents) if db.execute(f"{reference} LIMIT 1", {"sha256": c}).fetchone() is None]
