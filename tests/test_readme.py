"""The README says what the program has: its tables, its commands, its variables, its benchmarks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from merging.cli.main import every_command
from tests.readme_tables import README, TABLES, written

TEXT = README.read_text("utf-8")
ROOT = README.parent


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_there_and_as_the_program_has_it(name: str) -> None:
    assert f"<!-- {name} -->" in TEXT
    assert written(TEXT) == TEXT, "run `python -m tests.readme_tables`"


def test_every_command_exists() -> None:
    named = set(re.findall(r"python -m merging (\w+)", TEXT))
    assert named
    assert named <= {command.NAME for command in every_command()}


def test_every_variable_is_read_somewhere() -> None:
    code = "".join(path.read_text("utf-8") for folder in ("merging", "ui") for path in (ROOT / folder).rglob("*.py"))
    for variable in re.findall(r"`(MERGESCOPE_[A-Z]+|RAY_ADDRESS)`", TEXT):
        assert variable in code, variable


def test_every_benchmark_and_picture_that_is_named_is_in_the_repository() -> None:
    for module in re.findall(r"python -m (benchmarks\.\w+)", TEXT):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert Path(ROOT / link).is_file(), link
