"""Folder of a ledger: SQLite file, store of files, limits, and the shipped runs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.jobs import Job
from merging.jobs.ledger.owners import hidden
from merging.jobs.ledger.schema import prepare_file
from merging.jobs.ledger.shipped_runs import ShippedRuns
from merging.jobs.ledger.store import Store
from merging.jobs.limits import Limits, from_environment
from merging.jobs.privacy import visible
from merging.paths import home
from merging.zoo.datasets import own
from merging.zoo.datasets.claims import rename_owners

PRIVATE = ("store", "data")  # private even if the folder around them holds other files and is not private


class LedgerFolder:
    """Shared state of all parts of the ledger.

    Attributes:
        folder: the folder; file: the SQLite file in it; store: the files beside it.
        limits: caps and sizes.
        shipped: the finished runs that are shipped with the program.
    """

    def __init__(
        self, folder: Path | None = None, limits: Limits | None = None, shipped: ShippedRuns | None = None
    ) -> None:
        """folder: `home()` by default. Raises HomeUnusable if the folder cannot be created or written."""
        self.folder = Path(folder) if folder is not None else home()
        self.limits = limits or from_environment()
        self.file = self.folder / "ledger.sqlite"
        self.shipped = shipped or ShippedRuns()
        prepare_file(self.file)
        if self.folder == home():
            rename_owners(own.folder(), hidden)
        for place in PRIVATE:
            with suppress(OSError):  # the folder belongs to another user, who gave write access
                (self.folder / place).mkdir(exist_ok=True, mode=0o700)
                (self.folder / place).chmod(0o700)
        self.store = Store(self.folder / "store", int(self.limits.store_mb * 1e6))

    def visible(self, jobs: Iterable[Job], person: str) -> list[Job]:
        """Those of the jobs that this person may list and whose results they may download. Shipped examples are."""
        with connect(self.file) as db:
            asked = list(jobs)
            may_see = visible(db, (job.id for job in asked), person)
            return [job for job in asked if job.example or job.id in may_see]
