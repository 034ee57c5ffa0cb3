"""Where the program's own files lie, and where it keeps people's. torch-free."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository: what `python -m merging` must be able to import from
ASSETS = ROOT / "assets"


def home() -> Path:
    """Where ledger, store and own images live: MERGESCOPE_HOME, or mergescope below XDG_DATA_HOME or ~/.local/share."""
    chosen = os.environ.get("MERGESCOPE_HOME")
    return (
        Path(chosen) if chosen else Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "mergescope"
    )
