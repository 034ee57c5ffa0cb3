"""A new method, study, panel, kind of job, architecture, page or command is found, and nothing else has to be edited.

Each is one file; a study with its panel and a kind of job with its task are two.
"""

from __future__ import annotations

import sys

import pytest

from merging.cli import commands
from merging.cli.main import every_command, parser
from merging.jobs import requests
from merging.jobs.requests.registry import from_json, kinds
from merging.methods import align
from merging.methods.registry import table
from merging.studies import registry
from merging.zoo import architectures
from merging.zoo.architectures.names import architecture_names
from merging.zoo.architectures.table import _declared
from ui.panels import studies as panels
from ui.panels.study_panels import study_panels
from ui.shell import screens

METHOD = """
from merging.methods.registry import method

@method("align", "grown", label="Grown", paper="", link="", summary="A test's.", limits="None.")
def grown(problem, settings):
    return None
"""
STUDY = """
from merging.studies.registry import study

@study("grown", label="Grown", summary="A test's.", source="", page="why")
def grown(subject, settings):
    return None
"""
PANEL = """
from ui.panels.study_panels import StudyPanel

PANEL = StudyPanel("grown", "Grown", 99, lambda found: None)
"""
KIND = """
from dataclasses import dataclass
from typing import ClassVar

from merging.jobs.requests.base import Request
from merging.jobs.stages import Stage

@dataclass(frozen=True)
class GrownRequest(Request):
    size: int = 1
    kind: ClassVar[str] = "grown"
    VERSION: ClassVar[int] = 1
    plural: ClassVar[str] = "grown things"
    stages: ClassVar = (Stage("growing", 1.0, "Grow"),)
    deadline: ClassVar[float] = 7

    @property
    def title(self):
        return "Grow"

    @classmethod
    def likeness(cls, asked, past):
        return 1
"""
ARCHITECTURE = """
from torch import nn

from merging.zoo.architectures.declared import Declared

LABELS = {"grown": ("Grown", "A test's.", ("nonlinearity",))}
BUILT = {"grown": Declared(lambda *, mean, std: nn.Flatten())}
"""
COMMAND = """
NAME, HELP = "grown", "A test's"

def configure(parser):
    parser.add_argument("--size", type=int, default=1)

def run(options, report):
    pass
"""


@pytest.fixture
def grow(tmp_path, monkeypatch):
    """Call it with a package and a file's text: from then on the package has that file."""

    def add(package, text):
        (tmp_path / "grown.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.delitem(sys.modules, f"{package.__name__}.grown", raising=False)

    caches = (table, registry.studies, study_panels, kinds)
    for cache in caches:
        cache.cache_clear()
    yield add
    for name in [name for name in sys.modules if name.endswith(".grown")]:
        del sys.modules[name]
    for cache in caches:
        cache.cache_clear()


def test_a_method(grow):
    grow(align, METHOD)
    assert table("align")["grown"].label == "Grown"


def test_a_study(grow):
    grow(sys.modules["merging.studies"], STUDY)
    assert registry.find_study("grown").page == "why"


def test_a_panel_of_a_study(grow, monkeypatch):
    why = registry.find_study("why")
    monkeypatch.setattr("ui.panels.study_panels.find_study", lambda key: why)
    grow(panels, PANEL)
    assert study_panels("why")[-1].title == "Grown"


def test_a_kind_of_job(grow, tmp_path):
    from merging.jobs.ledger.ledger import Ledger
    from merging.jobs.limits import Limits

    grow(requests, KIND)
    request = kinds()["grown"](size=3)
    assert from_json(request.to_json()) == request
    assert Limits().deadline("grown") == 7
    ledger = Ledger(tmp_path / "home")
    job = ledger.submit(request, "ann")
    assert (ledger.job(job.id).title, ledger.job(job.id).state) == ("Grow", "queued")


def test_an_architecture(grow):
    grow(architectures, ARCHITECTURE)
    assert "grown" in _declared()
    assert architecture_names()["grown"].label == "Grown"


PAGE = 'SCREEN = {"title": "Grown", "icon": ":material/park:", "order": 15, "menu": True}'


def test_a_page(tmp_path):
    (tmp_path / "grown.py").write_text(PAGE)
    assert screens.declared_screens(tmp_path) == {"grown": screens.Screen("Grown", ":material/park:", 15, menu=True)}
    assert {*screens.SCREENS} == {file.stem for file in screens.FOLDER.glob("*.py")}
    orders = [one.order for one in screens.SCREENS.values()]
    assert orders == sorted({*orders})


def test_a_command(grow):
    grow(commands, COMMAND)
    assert "grown" in {command.NAME for command in every_command()}
    assert parser().parse_args(["grown", "--size", "4"]).size == 4
