"""Size and shape of a checkout: python -m benchmarks.layout [FOLDER]

Files and lines of merging, ui and pages; the entries of merging/, the arrows of imports between them, how many of these
close a circle, and on how many floors the entries stand if none does.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from benchmarks.timing import write
from merging.paths import ROOT


def imports_of(path: Path) -> set[str]:
    """Full names of all that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def arrows(folder: Path) -> dict[str, set[str]]:
    """Entry of merging/ -> the other entries that its files import."""
    entries = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    targets: dict[str, set[str]] = {entry: set() for entry in entries}
    for path in folder.rglob("*.py"):
        entry = path.relative_to(folder).with_suffix("").parts[0]
        parts = [name.split(".") for name in imports_of(path)]
        targets[entry] |= {part[1] for part in parts if part[0] == "merging" and len(part) > 1} & entries - {entry}
    return targets


def floors(targets: dict[str, set[str]]) -> tuple[int, int]:
    """The number of floors, and of entries that are left because they stand in a circle or above one."""
    left, count = dict(targets), 0
    while lowest := {entry for entry, below in left.items() if not below & left.keys()}:
        left = {entry: below for entry, below in left.items() if entry not in lowest}
        count += 1
    return count, len(left)


def main() -> None:
    """Write the figures."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    files = [path for top in ("merging", "ui", "pages") for path in (root / top).rglob("*.py")]
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in files)
    targets = arrows(root / "merging")
    count, left = floors(targets)
    write(f"files {len(files):,}  lines {lines:,}  entries of merging/ {len(targets)}")
    write(f"arrows {sum(map(len, targets.values()))}  floors {count}  in a circle or above one {left}")


if __name__ == "__main__":
    main()
