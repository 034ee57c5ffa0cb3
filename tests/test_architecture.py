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

# What the web process may import of the library. Nothing among it loads torch, Ray or lucent.
WEB = (
    *("merging.errors", "merging.settings", "merging.methods", "merging.recipes", "merging.paths"),
    *(
        "merging.results",
        "merging.verdict",
        "merging.verdict_why",
        "merging.verdict_zip",
        "merging.zip_report",
        "merging.account",
        "merging.figures",
        "merging.study",
        "merging.studies",
    ),
    *(
        "merging.work.request",
        "merging.work.request_parts",
        "merging.work.request_checks",
        "merging.work.ledger",
        "merging.work.ledger_jobs",
        "merging.work.streamed",
    ),
    *("merging.work.comparison", "merging.analysis.picture_parts", "merging.analysis.reliability_parts"),
    *(
        "merging.work.store",
        "merging.zoo.datasets.fingerprint",
        "merging.work.stages",
        "merging.work.limits",
        "merging.work.owners",
    ),
    *(
        "merging.work.shipped_runs",
        "merging.work.supervisor",
        "merging.zoo.catalogue",
        "merging.zoo.checkpoints.sandbox",
    ),
    *("merging.zoo.datasets.load", "merging.zoo.datasets.facts", "merging.zoo.architectures.names"),
    *("merging.zoo.datasets.own", "merging.zoo.datasets.known", "merging.zoo.datasets.convert"),
    *("merging.zoo.datasets.image_set", "merging.work.ledger_images"),
    *(
        "merging.zoo.checkpoints.reading.limits",
        "merging.zoo.checkpoints.metadata",
        "merging.zoo.checkpoints.candidates",
    ),
)
ROOMS_ABOVE = (
    *("merging.analysis", "merging.zoo", "merging.work", "merging.figures", "merging.cli"),
    *("merging.study", "merging.studies", "merging.account", "merging.account_words"),
    *("merging.verdict", "merging.verdict_reading", "merging.verdict_many", "merging.verdict_why"),
    *("merging.verdict_zip", "merging.zip_report", "merging.pipeline"),
)

WHAT = "merging.__version__"

# Room -> (what of ours it may import, what of others). A room is the longest name that a module's begins with.
LAWS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "merging.errors": ((), set()),
    "merging.paths": ((), set()),
    "merging.settings": (("merging.errors",), set()),
    "merging.methods": (("merging.errors", "merging.settings"), set()),
    "merging.recipes": (("merging.methods",), set()),
    "merging.study": (("merging.errors", "merging.settings", "merging.problem", "merging.results", "CORE"), {"torch"}),
    "merging.studies": (
        ("CORE", "merging.results", "merging.study", "merging.studies", "merging.analysis"),
        {"torch", "numpy"},
    ),
    "merging.results": (("merging.errors",), {"numpy"}),
    "merging.verdict": (
        ("merging.results", "merging.verdict_reading", "merging.verdict_many", "merging.figures.numbers"),
        {"numpy"},
    ),
    "merging.verdict_reading": (("merging.results", "merging.methods", "merging.figures.numbers"), {"numpy"}),
    "merging.verdict_why": (("merging.results", "merging.studies", "merging.figures.numbers"), {"numpy"}),
    "merging.verdict_many": (("merging.results", "merging.figures.numbers"), set()),
    "merging.zip_report": (("merging.errors", "merging.results"), {"numpy"}),
    "merging.verdict_zip": (("merging.zip_report", "merging.verdict_reading", "merging.figures.numbers"), {"numpy"}),
    "merging.account": (("merging.results", "merging.methods", "merging.account_words"), set()),
    "merging.account_words": (("merging.figures.numbers",), {"numpy"}),
    "merging.figures": (
        (
            *("merging.results", "merging.zip_report", "merging.studies", "merging.account", "merging.figures"),
            "merging.methods",
        ),
        {"numpy", "plotly"},
    ),
    "merging.analysis": (
        ("CORE", "merging.results", "merging.zip_report", "merging.analysis"),
        {"torch", "numpy", "lucent"},
    ),
    "merging.pipeline": (("CORE", "merging.zoo", "merging.pipeline"), {"torch"}),
    "merging.zoo": (
        ("merging.errors", "merging.paths", "merging.data", "merging.network", "merging.zoo"),
        {"torch", "torchvision", "numpy", "safetensors", "PIL"},
    ),
    "merging.work": (
        (
            *("CORE", "merging.results", "merging.zip_report", "merging.study", "merging.analysis"),
            *("merging.zoo", "merging.pipeline", "merging.work", WHAT),
        ),
        {"torch", "numpy", "ray", "psutil"},
    ),
    "merging.cli": (("merging",), {"torch", "numpy", "rich", "PIL", "plotly"}),
    "merging.__main__": (("merging.cli",), set()),
    "merging.__init__": ((), set()),
    "merging": (("CORE",), {"torch", "numpy", "scipy"}),  # the core: tracing, methods, merging
    "ui": ((*WEB, "ui"), {"streamlit", "starlette", "plotly", "numpy", "PIL"}),
    "pages": ((*WEB, "ui"), {"streamlit", "plotly", "numpy"}),
    "app": ((*WEB, "ui"), {"streamlit", "starlette"}),
}
ONLY_THERE = {
    "ray": {"merging.work.engine"},
    "streamlit": {"app", "ui", "pages"},
    "plotly": {"merging.figures", "merging.cli.files", "ui", "pages"},
    "lucent": {"merging.analysis.feature_images"},
    "torchvision": {"merging.zoo"},
    "rich": {"merging.cli"},
}


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


def is_core(name: str) -> bool:
    return within(name, ("merging",)) and not within(name, (*ROOMS_ABOVE, "merging.results"))


def room_of(name: str) -> str:
    return max((room for room in LAWS if within(name, (room,))), key=len)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_every_import_is_allowed(path):
    name = module(path)
    ours, others = LAWS[room_of(name)]
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top in ("merging", "ui", "pages", "app"):
            assert within(imported, ours) or ("CORE" in ours and is_core(imported)), f"{name} imports {imported}"
        else:
            assert top in others, f"{name} imports {imported}"
            assert top not in ONLY_THERE or within(name, ONLY_THERE[top]), f"{imported} does not belong in {name}"


def test_the_web_process_loads_neither_torch_nor_ray_nor_lucent():
    """Everything that pages may import is imported in a fresh process, the method files too."""
    names = list(WEB)
    names += [
        module(path) for path in FILES if module(path).startswith(("merging.figures.", "ui.")) and path.stem != "main"
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {[name for name in names if not name.endswith('__init__')]!r}: importlib.import_module(name)\n"
        "from merging.methods import methods\n"
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


def test_nothing_prints():
    for path in FILES:
        calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
        assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), module(path)


def test_there_is_one_broad_except_in_the_whole_program():
    broad = []
    for path in [*FILES, ROOT / "start.py"]:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
                names = {ast.unparse(kind) if kind else "everything" for kind in caught}
                broad += [module(path)] if names & {"everything", "Exception", "BaseException"} else []
    assert broad == ["merging.work.outcome"]


def test_the_drawing_of_the_errors_is_the_tree():
    """The docstring of merging.errors draws every error class, in the order of the file."""
    source = tree(ROOT / "merging" / "errors.py")
    classes = [node.name for node in source.body if isinstance(node, ast.ClassDef)]
    words = ast.get_docstring(source).replace("├──", " ").replace("└──", " ").split()
    assert [word for word in words if word in classes] == classes
