"""The tables of methods. A method is one file that declares itself; forms, command line, docs and tests follow.

Nothing here imports torch: the web process reads these tables. A method file therefore imports torch only inside its
functions (or under TYPE_CHECKING).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from merging.errors import InvalidSetting
from merging.settings import NoSettings

Role = Literal["align", "combine", "correct"]
ROLES: tuple[Role, ...] = ("align", "combine", "correct")
MOST_MODELS = 10  # of one merge: all are in memory at once
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Method:
    """One way to align, combine or correct.

    run: `(problem, settings) ->` an Alignment, a Combiner or a Corrector (see merging.methods.problem for the values).
    joint: an aligner that looks at all models at once; the others match each model to the first, two at a time.
    permutes: an aligner whose answer keeps every network's function; else it gives maps, which do not.
    ends: a combination that gives model k bit for bit where all weight is on it.
    """

    role: Role
    key: str
    label: str
    paper: str
    link: str
    summary: str
    limits: str
    run: Callable[..., Any]
    settings: type = NoSettings
    needs_data: bool = False
    recovers_twin: bool = False  # an aligner that promises to find a permuted twin's permutation
    joint: bool = False
    permutes: bool = True
    unequal_widths: bool = False  # an aligner that also takes models whose layers have other widths than the first's
    ends: bool = True
    needs_base: bool = False  # a combination of experts with the net they were trained from
    most_models: int = MOST_MODELS


@dataclass(frozen=True)
class Recipe:
    """A paper's method: a triple align x combine x correct with its settings."""

    key: str
    label: str
    paper: str
    link: str
    summary: str
    align: str
    combine: str
    correct: str
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def method(role: Role, key: str, **declared: Any) -> Callable[[F], F]:
    """Declare the decorated function as the method `key` of a role; the table finds it in its file."""

    def declare(run: F) -> F:
        run.method = Method(role=role, key=key, run=run, **declared)  # type: ignore[attr-defined]
        return run

    return declare


@cache
def table(role: Role) -> Mapping[str, Method]:
    """All methods of a role by key, in the order of their files' names, "none" first."""
    package = importlib.import_module(f"merging.methods.{role}")
    found: dict[str, Method] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: (m.name != "none", m.name)):
        module = importlib.import_module(f"merging.methods.{role}.{info.name}")
        for value in vars(module).values():
            declared = getattr(value, "method", None)
            if isinstance(declared, Method) and value.__module__ == module.__name__:
                found[declared.key] = declared
    return MappingProxyType(found)


def methods() -> Mapping[Role, Mapping[str, Method]]:
    """The three tables: role -> key -> Method."""
    return MappingProxyType({role: table(role) for role in ROLES})


def find(role: Role, key: str) -> Method:
    """The method `key` of a role. Raises InvalidSetting that lists the known keys."""
    known = table(role)
    if key not in known:
        raise InvalidSetting(f"There is no {role} method {key!r}. Known: {', '.join(known)}.")
    return known[key]
