"""Paths of the program's own files and of the users' files. torch-free."""

import os
import re
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # the repository; child processes get it on PYTHONPATH to run `python -m merging...`
ASSETS = PACKAGE / "assets" if (PACKAGE / "assets").is_dir() else ROOT / "assets"  # in the package if installed


def home() -> Path:
    """Return the folder of the ledger, the store and the users' images.

    This is MERGESCOPE_HOME, or by default the folder mergescope below XDG_DATA_HOME or ~/.local/share.
    """
    variable = os.environ.get("MERGESCOPE_HOME")
    if variable:
        return Path(variable)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "mergescope"


def child_environment(**more: str) -> dict[str, str]:
    """The environment of a child process that runs `python -m merging...` in any folder, with further variables."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths, **more}


def without_folders(text: str) -> str:
    """A text for visitors of the app, in which files below the program's folders are named without their folders."""
    for folder in (home(), ROOT, Path(tempfile.gettempdir())):
        below = r"(?<![\w./\\-])" + re.escape(str(folder.absolute())) + r"(?![\w.-])(?:[/\\][^\s/\\'\",;:()]+)*"
        text = re.sub(below, lambda found: Path(found[0]).name, text)
    return text


def is_there(path: Path) -> bool:
    """Whether the path exists; False for one that cannot exist, such as a name of 300 characters."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
