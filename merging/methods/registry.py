"""Tables of merge methods. Each method is one file that declares itself; forms, CLI, docs and tests read these tables.

This file does not import torch, because the web process reads these tables. For the same reason a method file imports
torch only inside its functions (or under TYPE_CHECKING).
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
MOST_MODELS = 32  # largest number of models per merge, because all of them are in memory at once
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Method:
    """Declaration of one align, combine or correct method.

    Attributes:
        run: `(problem, settings) ->` an Alignment, a Combiner or a Corrector (see merging.methods.problem).
        joint: the aligner takes all models at once; other aligners match each model to the first separately.
        permutes: the aligner only permutes units, which preserves every network's function; other aligners may return
            maps, which change the function.
        ends: the combination returns model k bit for bit if model k has all the weight.
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
    recovers_twin: bool = False  # the aligner finds the permutation if B is a permuted copy of A
    joint: bool = False
    permutes: bool = True
    unequal_widths: bool = False  # the aligner also takes models whose layers differ in width from the first model's
    ends: bool = True
    needs_base: bool = False  # the combination needs the network that the experts were fine-tuned from
    most_models: int = MOST_MODELS


@dataclass(frozen=True)
class Recipe:
    """Published method: one align, one combine and one correct method, with their settings."""

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
    """Decorate a function to declare it as the method `key` of a role; `table` finds it when it imports the file."""

    def declare(run: F) -> F:
        run.method = Method(role=role, key=key, run=run, **declared)  # type: ignore[attr-defined]
        return run

    return declare


@cache
def table(role: Role) -> Mapping[str, Method]:
    """Return all methods of a role by key, ordered by file name with "none" first."""
    package = importlib.import_module(f"merging.methods.{role}")
    by_key: dict[str, Method] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: (m.name != "none", m.name)):
        module = importlib.import_module(f"merging.methods.{role}.{info.name}")
        for value in vars(module).values():
            declared = getattr(value, "method", None)
            if isinstance(declared, Method) and value.__module__ == module.__name__:
                by_key[declared.key] = declared
    return MappingProxyType(by_key)


def methods() -> Mapping[Role, Mapping[str, Method]]:
    """Return the three tables as role -> key -> Method."""
    return MappingProxyType({role: table(role) for role in ROLES})


def find(role: Role, key: str) -> Method:
    """Return the method `key` of a role. Raises InvalidSetting, which lists the known keys, if `key` is unknown."""
    by_key = table(role)
    if key not in by_key:
        raise InvalidSetting(f"There is no {role} method {key!r}. Known: {', '.join(by_key)}.")
    return by_key[key]
