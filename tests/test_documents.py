"""What the documents say of the code: folders, dependencies, versions, and the Python that the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

import merging
from merging.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def drawn_folders() -> set[str]:
    """The folders that ARCHITECTURE.md draws, as paths."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    drawing = text[text.index("```") + 3 :].split("```")[0]
    above: list[tuple[int, str]] = []
    found = set()
    for line in drawing.splitlines():
        depth = len(line) - len(line.lstrip())
        names = re.match(r"\s*((?:\w+/ ?)+)", line)
        if not names or depth > 8:
            continue
        above = [(indent, name) for indent, name in above if indent < depth]
        for name in names[1].replace("/", " ").split():
            found.add("/".join([*(parent for _, parent in above), name]))
        above.append((depth, names[1].split("/")[0]))
    return found


def test_the_architecture_draws_every_folder_of_code_and_no_other():
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("merging", "ui", "pages")
        for path in (ROOT / top).rglob("*.py")
    }
    drawn = {name for name in drawn_folders() if name.split("/")[0] in ("merging", "ui", "pages")}
    assert drawn == folders


def test_what_is_installed_is_what_start_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = (ROOT / "requirements.txt").read_text("utf-8").split()
    assert project["dependencies"] == listed
    extra = (ROOT / "requirements-timm.txt").read_text("utf-8").split("\n")
    assert project["optional-dependencies"]["timm"] == [line for line in extra if "==" in line]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    released = re.search(r"^## \[?(\d[\d.]*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert citation and released
    assert {project["version"], citation[1], released[1]} == {merging.__version__}


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readmes_python_runs(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# Turns of phrase that readers had to read twice, and "a" or "an" in the sense of "per".
BANNED = re.compile(
    r"\b(nobody|whoever|of whom|likest|nought|but for|came to nothing|tells? nothing|one looks at)\b"
    r"|\b(one|images?|nats|mean|std|units?|permutation|rows?|file|times?) an? "
    r"(unit|group|image|model|layer|network|net|channel|batch|pass|job|run|step|pair|class)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "pattern", ["merging/**/*.py", "ui/**/*.py", "pages/*.py", "benchmarks/*.py", "*.py", "**/*.md"]
)
def test_no_sentence_has_a_turn_that_is_read_twice(pattern):
    files = [path for path in ROOT.glob(pattern) if ".venv" not in path.parts]
    assert files
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}" for path in files for match in BANNED.finditer(path.read_text("utf-8"))
    ]
    assert found == []
