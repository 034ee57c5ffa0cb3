"""The laws of the house, read from the source: who may import whom, how long things are, what nobody does."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    [ROOT / "app.py", *(path for room in ("merging", "ui", "pages") for path in ROOT.glob(f"{room}/**/*.py"))]
)
EVERY_FILE = [*FILES, ROOT / "start.py", *sorted(ROOT.glob("benchmarks/*.py")), *sorted(ROOT.glob("tests/**/*.py"))]

# The folders of merging, from the ground up: each may import itself and what stands before it, nothing else.
GROUND = ("errors", "literals", "naming", "paths", "progress", "settings")
ORDER = (
    *GROUND,
    *(
        "results",
        "network",
        "zoo",
        "methods",
        "pipeline",
        "analysis",
        "studies",
        "jobs",
        "text",
        "figures",
        "teaching",
        "cli",
    ),
)
# Public names that stand in several files.
TWICE = {
    *("configure", "run"),  # of every command; the interpreter runs a graph
    "main",  # of every program
    "permute",  # a network; and the rule of torch's operator of this name
    "Step",  # of a lesson; and of a graph's program
}
# Folder -> packages of others that it may import.
OTHERS = {
    "results": {"numpy"},
    "network": {"torch", "numpy"},
    "zoo": {"torch", "torchvision", "numpy", "safetensors", "PIL"},
    "methods": {"torch", "numpy", "scipy", "jaxtyping"},
    "pipeline": {"torch"},
    "analysis": {"torch", "numpy", "lucent", "jaxtyping"},
    "studies": {"torch", "numpy"},
    "jobs": {"torch", "numpy", "ray", "psutil"},
    "text": {"numpy"},
    "figures": {"PIL", "matplotlib", "numpy", "plotly"},
    "teaching": {"numpy", "PIL", "nbformat"},
    "cli": {"torch", "numpy", "rich", "PIL", "plotly"},
    "ui": {"streamlit", "starlette", "plotly", "numpy", "PIL", "segno"},
    "pages": {"streamlit", "plotly", "numpy"},
    "app": {"streamlit", "starlette"},
}
# What loads neither torch nor Ray nor lucent when it is imported, so that the web process may import it.
TORCH_FREE = (
    *(f"merging.{name}" for name in (*GROUND, "results", "text", "figures", "teaching", "studies", "methods.registry")),
    *("merging.methods.recipes", "merging.jobs.requests", "merging.jobs.sweeps", "merging.jobs.ledger"),
    "merging.jobs.limits",
    *("merging.jobs.stages", "merging.jobs.streaming", "merging.jobs.worker.supervisor"),
    *("merging.jobs.guesses", "merging.jobs.search", "merging.jobs.privacy"),
    *("merging.zoo.catalogue", "merging.zoo.architectures.names", "merging.zoo.checkpoints.sandbox"),
    *(
        "merging.zoo.checkpoints.candidates",
        "merging.zoo.checkpoints.metadata",
        "merging.zoo.checkpoints.reading.limits",
    ),
    *("merging.zoo.datasets.facts", "merging.zoo.datasets.fingerprint", "merging.zoo.datasets.image_set"),
    *("merging.zoo.datasets.known", "merging.zoo.datasets.load", "merging.zoo.datasets.own"),
    *("merging.zoo.datasets.claims", "merging.zoo.training.options"),
    *("merging.zoo.datasets.convert", "merging.analysis.pictures.settings"),
)
ONLY_THERE = {
    "ray": {"merging.jobs.worker.engine"},
    "streamlit": {"app", "ui", "pages"},
    "plotly": {"merging.figures", "merging.cli.files", "ui", "pages"},
    "lucent": {"merging.analysis.pictures.render"},
    "torchvision": {"merging.zoo"},
    "rich": {"merging.cli"},
}
MOST_ENTRIES, MOST_FILES = 20, 14  # of merging; of a folder, beside its __init__


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever it stands in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, rooms: tuple[str, ...] | set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def may_import(name: str) -> tuple[str, ...]:
    """What of ours a module may import."""
    top, _, rest = name.partition(".")
    if top == "app":
        return (*TORCH_FREE, "ui")
    if top in ("ui", "pages"):
        return (*TORCH_FREE, "ui")
    folder = rest.partition(".")[0]
    if folder not in ORDER:  # merging.__init__ and __main__
        return ("merging.cli",) if folder == "__main__" else ()
    return ("merging.__version__", *(f"merging.{below}" for below in ORDER[: ORDER.index(folder) + 1]))


@pytest.mark.parametrize("path", FILES, ids=module)
def test_every_import_is_allowed(path):
    name = module(path)
    ours, folder = may_import(name), name.split(".")[1 if name.startswith("merging") else 0]
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top in ("merging", "ui", "pages", "app"):
            assert within(imported, ours), f"{name} imports {imported}"
        else:
            assert top in OTHERS.get(folder, ()), f"{name} imports {imported}"
            assert top not in ONLY_THERE or within(name, ONLY_THERE[top]), f"{imported} does not belong in {name}"


def test_no_file_imports_another_that_imports_it():
    files = {module(path).removesuffix(".__init__"): path for path in FILES}
    arrows = {
        name: {found for whole in imports(path) if (found := _file(whole, files)) not in (None, name)}
        for name, path in files.items()
    }
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f"in a circle, or above one: {sorted(arrows)}"


def _file(imported: str, files: dict[str, Path]) -> str | None:
    """The file of ours that holds what is imported."""
    return next((name for name in (imported, imported.rpartition(".")[0]) if name in files), None)


def test_no_folder_is_crowded():
    entries = [entry for entry in (ROOT / "merging").iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
    for folder in {path.parent for path in FILES}:
        files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)} has {len(files)} files"


def test_the_web_process_loads_neither_torch_nor_ray_nor_lucent():
    """Everything that pages may import is imported in a fresh process, the method files too."""
    free = (*TORCH_FREE, "ui")
    names = [module(path) for path in FILES if within(module(path), free) and path.stem not in ("main", "__init__")]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "from merging.methods.registry import methods\n"
        "assert all(methods().values())\n"
        "print(*{'torch', 'ray', 'lucent', 'torchvision', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_command_line_answers_for_help_without_torch():
    program = "import sys\nfrom merging.cli.main import parser\nparser().format_help()\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("path", EVERY_FILE, ids=module)
def test_files_and_functions_fit_on_a_few_screens(path):
    assert len(path.read_text("utf-8").splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 50, f"{node.name} is too long"


@pytest.mark.parametrize("path", [*FILES, ROOT / "start.py"], ids=module)
def test_every_public_function_and_class_has_a_docstring(path):
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} says nothing of itself"
            methods = node.body if isinstance(node, ast.ClassDef) else []
            for method in (item for item in methods if isinstance(item, ast.FunctionDef)):
                assert method.name.startswith("_") or ast.get_docstring(method), f"{node.name}.{method.name}"


def test_a_public_name_stands_in_one_place():
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name for name, found in places.items() if len(found) > 1} == TWICE


def test_nothing_prints():
    for path in FILES:
        calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
        assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), module(path)


def test_broad_excepts_stand_around_jobs_and_around_the_users_own_code_alone():
    broad = []
    for path in [*FILES, ROOT / "start.py"]:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
                names = {ast.unparse(kind) if kind else "everything" for kind in caught}
                broad += [module(path)] if names & {"everything", "Exception", "BaseException"} else []
    assert broad == ["merging.jobs.outcome", "merging.zoo.checkpoints.own"]


def test_the_drawing_of_the_errors_is_the_tree():
    """The docstring of merging.errors draws every error class, in the order of the file."""
    source = tree(ROOT / "merging" / "errors.py")
    classes = [node.name for node in source.body if isinstance(node, ast.ClassDef)]
    words = ast.get_docstring(source).replace("├──", " ").replace("└──", " ").split()
    assert [word for word in words if word in classes] == classes
