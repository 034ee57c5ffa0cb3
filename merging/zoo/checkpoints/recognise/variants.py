"""Variants of a state dict's names: without common prefixes, without tensors that are not the network's."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from merging.zoo.checkpoints.reading.contents import common_prefix
from merging.zoo.checkpoints.recognise.parts import Shapes


@dataclass(frozen=True)
class Variant:
    """One variant of the names.

    Attributes:
        names: shortened tensor name -> the file's.
        aside: names of the file's tensors that this variant leaves out.
    """

    names: Mapping[str, str]
    aside: tuple[str, ...] = ()

    def shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Shortened tensor name -> shape."""
        return {name: shapes[theirs] for name, theirs in self.names.items()}


def variants(shapes: Shapes) -> list[Variant]:
    """Return the variants of the names: the file's own first, then with one common prefix after another removed.

    Tensors without dimensions (AveragedModel's counter) may lack a common prefix. If all
    tensors of two or more dimensions lie under one top-level name (`model`, beside metrics and loss weights), variants
    with only the tensors under this name follow.
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
    """The variant with exactly the expected names; None if there is none.

    The file may lack counters of BatchNorm, as old files do.
    """
    return next((way for way in variants(shapes) if not missing_or_extra(way.names, expected)), None)


def missing_or_extra(names: Mapping[str, str], expected: Set[str]) -> set[str]:
    """Names that only one side has, except BatchNorm's counters that the file lacks."""
    return {name for name in names.keys() ^ expected if name in names or not name.endswith("num_batches_tracked")}


def _stripped(shapes: Shapes, selection: list[str]) -> list[Variant]:
    shaped = [name for name in selection if shapes[name]] or selection
    prefix = common_prefix(shaped)
    starts = ["", *(prefix[: end + 1] for end, letter in enumerate(prefix) if letter == ".")]
    ways = []
    for start in starts:
        names = {name.removeprefix(start): name for name in selection if name.startswith(start)}
        own = set(names.values())
        ways.append(Variant(names, tuple(name for name in shapes if name not in own)))
    return ways
