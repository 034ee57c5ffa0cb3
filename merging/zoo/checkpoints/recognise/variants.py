"""The names under which one network's tensors may be meant: prefixes taken off, foreign tensors left aside."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from merging.zoo.checkpoints.reading.contents import common_prefix
from merging.zoo.checkpoints.recognise.parts import Shapes


@dataclass(frozen=True)
class Variant:
    """names: shortened tensor name -> the file's.  aside: tensors of the file that the network is taken not to have."""

    names: Mapping[str, str]
    aside: tuple[str, ...] = ()

    def shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Shortened tensor name -> shape."""
        return {name: shapes[theirs] for name, theirs in self.names.items()}


def variants(shapes: Shapes) -> list[Variant]:
    """The ways to read the names, the file's own first, then with one more common prefix off after another.

    What has no dimension (AveragedModel's counter) does not hinder a prefix. Where one module holds all matrices, as a
    training script's `model` does, what stands beside it (metrics, loss weights) is left aside in the later ways.
    """
    ways = _stripped(shapes, list(shapes))
    for way in list(ways):
        groups: dict[str, list[str]] = {}
        for short, theirs in way.names.items():
            groups.setdefault(short.partition(".")[0], []).append(theirs)
        networks = [own for own in groups.values() if any(len(shapes[name]) > 1 for name in own)]
        if len(networks) == 1 < len(groups) and len(networks[0]) > 1:
            ways += _stripped(shapes, networks[0])
    unique = {tuple(way.names.items()): way for way in ways}
    return list(unique.values())


def variant_with(shapes: Shapes, expected: Set[str]) -> Variant | None:
    """The way to read the names that gives exactly the expected ones; None where none does.

    Of the file's names, counters of BatchNorm may be missing: old files lack them.
    """
    return next((way for way in variants(shapes) if not missing_or_extra(way.names, expected)), None)


def missing_or_extra(names: Mapping[str, str], expected: Set[str]) -> set[str]:
    """The names that only one side has, but for BatchNorm's counters that the file lacks."""
    return {name for name in names.keys() ^ expected if name in names or not name.endswith("num_batches_tracked")}


def _stripped(shapes: Shapes, kept: list[str]) -> list[Variant]:
    shaped = [name for name in kept if shapes[name]] or kept
    prefix = common_prefix(shaped)
    starts = ["", *(prefix[: end + 1] for end, letter in enumerate(prefix) if letter == ".")]
    ways = []
    for start in starts:
        names = {name.removeprefix(start): name for name in kept if name.startswith(start)}
        taken = set(names.values())
        ways.append(Variant(names, tuple(name for name in shapes if name not in taken)))
    return ways
