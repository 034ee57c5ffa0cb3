"""Read constants of Python files without running the files, because these may import torch or draw a page."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def literals(folders: Iterable[str | Path], name: str) -> dict[str, Any]:
    """Return the constant `name` of every file that defines it: file name without ".py" -> value.

    folders: folders of the files; each is read in alphabetical order. Raises ValueError if a constant is not a literal.
    """
    values = {}
    for file in (file for folder in folders for file in sorted(Path(folder).glob("*.py"))):
        for statement in ast.parse(file.read_text("utf-8")).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
                values[file.stem] = ast.literal_eval(statement.value)
    return values
