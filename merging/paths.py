"""Paths of the program's own files and of the users' files. torch-free."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # the repository; on PYTHONPATH of child processes, so that `python -m merging...` works
ASSETS = PACKAGE / "assets" if (PACKAGE / "assets").is_dir() else ROOT / "assets"  # inside where it was installed


def home() -> Path:
    """Folder of ledger, store and own images: MERGESCOPE_HOME, or mergescope below XDG_DATA_HOME or ~/.local/share."""
    variable = os.environ.get("MERGESCOPE_HOME")
    if variable:
        return Path(variable)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "mergescope"
