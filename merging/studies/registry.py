"""Registry of studies: questions about a finished merge. A study is one file that declares itself and its result.

Nothing here imports torch, for the web process reads this table and the results; a study's file therefore imports
torch, and what computes, only inside its functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from merging.errors import DataUnavailable, InvalidRequest, InvalidSetting
from merging.progress import Progress, no_progress
from merging.results import saving
from merging.settings import NoSettings

if TYPE_CHECKING:
    from torch import nn

    from merging.network.data import Batches
    from merging.network.graph.graph import Graph
    from merging.network.permutation import Permutation, PermutationSpec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Subject:
    """A finished merge, as a study is given it.

    nets: "A", "B", "pi(B)" (B in the merge's units), "naive" (the plain average of all, nothing aligned), "average" (of
    A and pi(B), nothing corrected), "merge", and "C" where a network beside them was named.  partner: the permutation
    that made pi(B), group -> (units,) int64; the nearest one where units were mixed.  exact: whether pi(B) is B
    re-ordered.  data: "train" and "test" images, {} where there are none.  seed: of all that a study draws.
    """

    nets: Mapping[str, nn.Module]
    graph: Graph
    spec: PermutationSpec
    partner: Permutation
    exact: bool
    data: Mapping[str, Batches]
    seed: int = 0
    report: Progress = no_progress

    def images(self, count: int, split: str = "test") -> Batches:
        """At most `count` images of a split, drawn at random. Raises DataUnavailable without images."""
        if split not in self.data:
            raise DataUnavailable("This needs images of the data set, which are not on the machine that runs it.")
        return self.data[split].sample(count, self.seed)

    def need(self, *names: str) -> None:
        """Raise InvalidRequest if one of these networks is missing. "C" exists only if the request names it."""
        for name in names:
            if name not in self.nets:
                raise InvalidRequest(f"There is no network {name} beside the merged ones; name one of their structure.")

    def part(self, start: float, end: float, words: str = "") -> Progress:
        """A Progress of the part of the study from share `start` to `end` (0..1); `words` stand before each message."""

        def tell(stage: str, fraction: float | None = None, message: str = "") -> None:
            told = ", ".join(filter(None, (words, message))) or stage
            self.report("studying", start + (end - start) * (fraction or 0.0), told)

        return tell

    def reported(self, start: float, end: float) -> Subject:
        """The same subject, whose reports fill that piece of the study."""
        return replace(self, report=self.part(start, end))


@dataclass(frozen=True)
class Study:
    """One question about a merge.

    Attributes:
        run: `(subject, settings) ->` a frozen value that `saving.save` takes, declared in the same file.
        needs_data: whether it runs images through the networks.
        takes_other: whether it can look at a network "C" that was not merged.
        version: raised when the meaning of its result changes.
        page: the page that shows it.
        source: the papers that it follows.
        places: settings that choose what is looked at (layer, pair) and not how; they do not change how long it takes.
        other_parameter: the parameter of the page's address that names the network "C".
    """

    key: str
    label: str
    summary: str
    source: str
    run: Callable[..., Any]
    page: str
    settings: type = NoSettings
    needs_data: bool = True
    takes_other: bool = False
    version: int = 1
    places: tuple[str, ...] = ()
    other_parameter: str = "beside"


def study(key: str, **declared: Any) -> Callable[[F], F]:
    """Declare the decorated function as the study `key`; the table finds it in its file."""

    def declare(run: F) -> F:
        run.study = Study(key=key, run=run, **declared)  # type: ignore[attr-defined]
        return run

    return declare


@cache
def studies() -> Mapping[str, Study]:
    """All studies by key, in the order of their files' names; their results can be loaded from then on."""
    package = importlib.import_module("merging.studies")
    found: dict[str, Study] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        module = importlib.import_module(f"merging.studies.{info.name}")
        for value in vars(module).values():
            declared = getattr(value, "study", None)
            if isinstance(declared, Study) and value.__module__ == module.__name__:
                found[declared.key] = declared
    return MappingProxyType(found)


def find_study(key: str) -> Study:
    """The study of this key. Raises InvalidSetting that lists the known ones."""
    if key not in studies():
        raise InvalidSetting(f"There is no study {key!r}. Known: {', '.join(studies())}.")
    return studies()[key]


def load_finding(data: bytes) -> Any:
    """A study's saved result. Raises MergescopeError where the bytes are none of this version."""
    studies()
    return saving.load(data)
