"""The folder of a ledger: its SQLite file, its store of files, its limits, and the runs that are shipped."""

from __future__ import annotations

from pathlib import Path

from merging.jobs.ledger.owners import hidden
from merging.jobs.ledger.schema import prepare
from merging.jobs.ledger.shipped_runs import ShippedRuns
from merging.jobs.ledger.store import Store
from merging.jobs.limits import Limits, from_environment
from merging.paths import home
from merging.zoo.datasets import own


class LedgerFolder:
    """What all parts of the ledger share.

    Attributes:
        folder: the folder; file: the SQLite file in it; store: the files beside it.
        limits: caps and sizes.
        shipped: the finished runs that come with the program.
    """

    def __init__(
        self, folder: Path | None = None, limits: Limits | None = None, shipped: ShippedRuns | None = None
    ) -> None:
        """folder: `home()` by default. Raises HomeUnusable where it cannot be made or written."""
        self.folder = Path(folder) if folder is not None else home()
        self.limits = limits or from_environment()
        self.file = self.folder / "ledger.sqlite"
        self.shipped = shipped or ShippedRuns()
        prepare(self.file)
        if self.folder == home():
            own.rename_owners(hidden)
        self.store = Store(self.folder / "store", int(self.limits.store_mb * 1e6))
