"""Registry of studies, i.e. of analyses of a finished merge. One file declares a study and the type of its result.

Nothing here imports torch, because the web process reads this table and the results without torch. A study's file
therefore imports torch, and the modules that compute, only inside its functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    """A finished merge, as it is passed to a study.

    Attributes:
        nets: "A", "B", "pi(B)" (B aligned to the merge's units), "naive" (the plain average of all networks without
            alignment), "average" (of A and pi(B), without correction), "merge", and "C" if the request names a network
            that was not merged.
        partner: the permutation that turns B into pi(B), group name -> (units,) int64; where the alignment mixed units,
            the nearest permutation.
        exact: whether pi(B) is B with its units permuted, not mixed.
        data: "train" and "test" images; {} if there are none.
        seed: random seed for everything that a study draws.
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
        """At most `count` images of a split, drawn at random; 0 for all images of the merge, in their order.

        Raises DataUnavailable if there are no images.
        """
        if split not in self.data:
            raise DataUnavailable("This study needs images of the data set, which are not on the machine that runs it.")
        return self.data[split].sample(count, self.seed) if count else self.data[split]

    def need(self, *names: str) -> None:
        """Raise InvalidRequest if one of these networks is missing. "C" exists only if the request names it."""
        for name in names:
            if name not in self.nets:
                raise InvalidRequest(
                    f"There is no network {name} besides the merged ones; name one of their structure."
                )

    def part(self, start: float, end: float, words: str = "") -> Progress:
        """A Progress for the part of the study from share `start` to `end` (0..1); `words` precede each message."""

        def tell(stage: str, fraction: float | None = None, message: str = "") -> None:
            told = ", ".join(filter(None, (words, message))) or stage
            self.report("studying", start + (end - start) * (fraction or 0.0), told)

        return tell

    def reported(self, start: float, end: float) -> Subject:
        """The same subject, whose progress reports cover that part of the study."""
        return replace(self, report=self.part(start, end))


@dataclass(frozen=True)
class Number:
    """A number of a study's result, which a sweep shows over its axes.

    Attributes:
        title: title of the figure's axis, with the unit.
        merge: reads the number from the result; NaN where it is undefined.
        naive: reads the same number of the naive average, None if the study does not have it.
        share: whether the number is a share of 0..1, which is shown in per cent.
    """

    title: str
    merge: Callable[[Any], float]
    naive: Callable[[Any], float] | None = None
    share: bool = False


@dataclass(frozen=True)
class Study:
    """One kind of analysis of a merge.

    Attributes:
        run: function `(subject, settings) ->` result, a frozen value that `saving.save` accepts; the same file declares
            its type.
        needs_data: whether the study runs images through the networks.
        takes_other: whether the study can include a network "C" that was not merged.
        version: increased when the meaning of the result changes.
        long: whether the study may take minutes; it then waits in line with merges, not with pictures of units.
        page: the page that shows the result.
        source: the papers that the study follows.
        places: names of settings that choose what is analysed (layer, pair), not how; they do not affect the run time.
        other_parameter: the parameter of the page's address that names the network "C".
        numbers: key -> number of the result, for sweeps.
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
    long: bool = False
    places: tuple[str, ...] = ()
    other_parameter: str = "beside"
    numbers: Mapping[str, Number] = field(default_factory=dict)


def study(key: str, **declared: Any) -> Callable[[F], F]:
    """Declare the decorated function as the study `key`; `studies` finds it in its file."""

    def declare(run: F) -> F:
        run.study = Study(key=key, run=run, **declared)  # type: ignore[attr-defined]
        return run

    return declare


@cache
def studies() -> Mapping[str, Study]:
    """All studies by key, in the order of their files' names; after this call, their results can be loaded."""
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
    """The study with this key. Raises InvalidSetting, which lists the known keys."""
    if key not in studies():
        raise InvalidSetting(f"There is no study {key!r}. Known: {', '.join(studies())}.")
    return studies()[key]


def load_finding(data: bytes) -> Any:
    """Load a study's saved result. Raises MergescopeError if the bytes are not a result of this version."""
    studies()
    return saving.load(data)
