"""Where the program's own files lie. torch-free."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository: what `python -m merging` must be able to import from
ASSETS = ROOT / "assets"
