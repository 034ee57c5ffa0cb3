"""Determine the order of a network's layers by shapes and by numbers in names, if these determine it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from merging.zoo.checkpoints.recognise.parts import NetworkPart, natural

MAX_STATES = 20_000  # states of the search; a state is the number of layers placed so far from each family of names


def chain_orders(parts: Sequence[NetworkPart]) -> list[list[NetworkPart]]:
    """At most two orders of the layers in which each layer has as many inputs as the previous layer has outputs.

    Layers whose names differ only in their numbers (fc1, fc2, ...) keep the order of the numbers.
    parts: linear layers or convolutions.
    """
    families: dict[tuple[str, ...], list[NetworkPart]] = {}
    for part in sorted(parts, key=lambda part: natural(part.prefix)):
        families.setdefault(_words(part), []).append(part)
    rows = list(families.values())
    if not rows or prod(len(row) + 1 for row in rows) > MAX_STATES:
        return []
    return [[rows[family][index] for family, index in order] for order in _continued(rows)]


def _continued(rows: Sequence[Sequence[NetworkPart]]) -> list[tuple[tuple[int, int], ...]]:
    """At most two orders, as (family, index in the family) per layer. Suffixes are computed once per state."""
    known: dict[tuple[tuple[int, ...], int], list[tuple[tuple[int, int], ...]]] = {}

    def rest(done: tuple[int, ...], last: int) -> list[tuple[tuple[int, int], ...]]:
        if all(count == len(row) for count, row in zip(done, rows, strict=True)):
            return [()]
        key = (done, last)
        if key not in known:
            orders: list[tuple[tuple[int, int], ...]] = []
            gives = rows[last][done[last] - 1].weight[0] if last >= 0 else None
            for family, row in enumerate(rows):
                index = done[family]
                if len(orders) < 2 and index < len(row) and gives in (None, row[index].weight[1]):
                    after = (*done[:family], index + 1, *done[family + 1 :])
                    orders += [((family, index), *order) for order in rest(after, family)]
            known[key] = orders[:2]
        return known[key]

    return rest((0,) * len(rows), -1)


def gap(parts: Sequence[NetworkPart]) -> str:
    """Describe the first two layers, in the order of their names, whose widths do not fit each other."""
    ordered = sorted(parts, key=lambda part: natural(part.prefix))
    for one, two in pairwise(ordered):
        if two.weight[1] != one.weight[0]:
            first, second = one.prefix.rstrip("."), two.prefix.rstrip(".")
            return f"{first} gives {one.weight[0]} values and {second} takes {two.weight[1]}"
    return "there are too many with different names to determine their order"


def norms_in_order(layers: Sequence[NetworkPart], norms: Sequence[NetworkPart]) -> list[NetworkPart] | None:
    """The norm of each layer, in the layers' order; None if it is not determined.

    Layers and norms are paired within the module that holds both, by their numbers, or by their widths where names
    differ in more than numbers. Where one module holds all layers and another all norms, they are paired the same way.
    """
    if len(layers) != len(norms):
        return None
    homes = {_home(part): None for part in [*layers, *norms]}
    kin = {home: [part for part in layers if _home(part) == home] for home in homes}
    inside = {home: [part for part in norms if _home(part) == home] for home in homes}
    if {home: len(row) for home, row in inside.items()} == {home: len(row) for home, row in kin.items()}:
        rows = [(kin[home], inside[home]) for home in homes]
    elif len({_home(part) for part in layers}) == len({_home(part) for part in norms}) == 1:
        rows = [(list(layers), list(norms))]
    else:
        return None
    pairs: dict[str, NetworkPart] = {}
    for own, behind in rows:
        matched = _by_number(own, behind) if _is_family(own) and _is_family(behind) else _by_width(own, behind)
        if matched is None:
            return None
        pairs |= matched
    ordered = [pairs[layer.prefix] for layer in layers]
    fit = all(norm.weight == layer.weight[:1] for layer, norm in zip(layers, ordered, strict=True))
    return ordered if fit else None


def _by_number(layers: Sequence[NetworkPart], norms: Sequence[NetworkPart]) -> dict[str, NetworkPart]:
    ordered = (sorted(parts, key=lambda part: natural(part.prefix)) for parts in (layers, norms))
    return {layer.prefix: norm for layer, norm in zip(*ordered, strict=True)}


def _by_width(layers: Sequence[NetworkPart], norms: Sequence[NetworkPart]) -> dict[str, NetworkPart] | None:
    """Layer's prefix -> the norm of its width; None where a width is missing or occurs twice."""
    widths = {norm.weight: norm for norm in norms}
    alone = len(widths) == len(norms) and len({layer.weight[0] for layer in layers}) == len(layers)
    if not alone or any(layer.weight[:1] not in widths for layer in layers):
        return None
    return {layer.prefix: widths[layer.weight[:1]] for layer in layers}


def _is_family(parts: Sequence[NetworkPart]) -> bool:
    """Whether the names of these layers differ only in their numbers."""
    return len({_words(part) for part in parts}) == 1


def _words(part: NetworkPart) -> tuple[str, ...]:
    return tuple(word for is_word, _, word in natural(part.prefix) if is_word)


def _home(part: NetworkPart) -> str:
    return part.prefix.rstrip(".").rpartition(".")[0]
