"""MLPs, plain CNNs and VGGs: nets without branches, told by the kinds, order and shapes of their layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from merging.errors import UnknownArchitecture
from merging.zoo.checkpoints.recognise.parts import Guess, Part, Shapes, image_shape, natural, parts_of, renamed

# Widths of the convolutions of configurations A and D (Simonyan & Zisserman 2014, table 1).
VGG_WIDTHS = {
    "vgg11": [64, 128, 256, 256, 512, 512, 512, 512],
    "vgg16": [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
}
VGG_POOLS = {"vgg11": (1, 2, 4, 6, 8), "vgg16": (2, 4, 7, 10, 13)}  # after how many convolutions each pool stands
MAX_MIXED = 10  # layers of differing names whose orders are tried out
POOLED = 3  # the plain CNN halves the image after each of its first three convolutions


def mlp(shapes: Shapes) -> Guess | None:
    """An MLP of at least one linear layer and nothing else, under any names; None for other nets.

    Raises UnknownArchitecture where the order of its layers cannot be told from names and shapes, or none fits.
    """
    parts = parts_of(shapes)
    if not parts or any(part.kind != "linear" for part in parts):
        return None
    if len(parts) == 1:
        raise UnknownArchitecture(
            "The file holds one linear layer: there are no hidden units that could be re-ordered."
        )
    chain = _in_order(parts)
    if chain is None:
        raise UnknownArchitecture(f"These are linear layers, but {_gap(parts)}.")
    widths = [part.weight[0] for part in chain]
    config = {"in_shape": image_shape(chain[0].weight[1]), "classes": widths[-1], "widths": widths[:-1]}
    return Guess("mlp", config, renamed([(f"layers.{2 * i}.", part) for i, part in enumerate(chain)]))


def plain_convolutions(shapes: Shapes) -> Guess | None:
    """A VGG or our plain CNN: 3×3 convolutions in a chain, a norm each or none, then one or three linear layers."""
    parts = sorted(parts_of(shapes), key=lambda part: natural(part.prefix))
    convs, norms, linears = ([part for part in parts if part.kind == kind] for kind in ("conv", "norm", "linear"))
    whole = len(convs) + len(norms) + len(linears) == len(parts)
    if not whole or not convs or len(norms) not in (0, len(convs)) or len(linears) not in (1, 3):
        return None
    if any(part.weight[2:] != (3, 3) for part in convs) or any(b.weight[1] != a.weight[0] for a, b in pairwise(convs)):
        return None
    widths = [part.weight[0] for part in convs]
    vgg = next((key for key, plan in VGG_WIDTHS.items() if plan == widths), None)
    if vgg is not None:
        return _vgg(vgg, convs, norms, linears)
    return _cnn(convs, norms, linears) if len(linears) == 1 else None


def _vgg(key: str, convs: list[Part], norms: list[Part], linears: list[Part]) -> Guess | None:
    width, inputs, channels = convs[-1].weight[0], linears[0].weight[1], convs[0].weight[1]
    pooled = round((inputs / width) ** 0.5)
    if width * pooled * pooled != inputs:
        return None
    side = 32 * pooled  # five pools halve it to what the head expects
    config: dict[str, object] = {"in_shape": [channels, side, side], "classes": linears[-1].weight[0], "pooled": pooled}
    config |= {"head": "three", "hidden": linears[0].weight[0]} if len(linears) == 3 else {"head": "linear"}
    heads = ["classifier."] if len(linears) == 1 else [f"classifier.{i}." for i in (0, 3, 6)]
    names = _features(convs, norms, VGG_POOLS[key]) | renamed(list(zip(heads, linears, strict=True)))
    return Guess(key + ("_bn" if norms else ""), config, names)


def _cnn(convs: list[Part], norms: list[Part], linears: list[Part]) -> Guess | None:
    channels, widths = convs[0].weight[1], [part.weight[0] for part in convs]
    side = 28 if channels == 1 else 32
    config = {
        "in_shape": [channels, side, side],
        "classes": linears[0].weight[0],
        "widths": widths,
        "norm": "batch" if norms else "none",
    }
    names = _features(convs, norms, tuple(range(1, POOLED + 1))) | renamed([("classifier.", linears[0])])
    return Guess("cnn", config, names)


def _features(convs: Sequence[Part], norms: Sequence[Part], pools: Sequence[int]) -> dict[str, str]:
    """Names under `features`: conv, norm, ReLU, and a pool after as many convolutions as `pools` lists."""
    pairs, index = [], 0
    for number, conv in enumerate(convs, start=1):
        pairs.append((f"features.{index}.", conv))
        if norms:
            pairs.append((f"features.{index + 1}.", norms[number - 1]))
        index += 2 + bool(norms) + (number in pools)
    return renamed(pairs)


def _gap(parts: list[Part]) -> str:
    """Where linear layers, in the order of their names, do not follow each other."""
    ordered = sorted(parts, key=lambda part: natural(part.prefix))
    for one, two in pairwise(ordered):
        if two.weight[1] != one.weight[0]:
            first, second = one.prefix.rstrip("."), two.prefix.rstrip(".")
            return f"{first} gives {one.weight[0]} values and {second} takes {two.weight[1]}"
    return "there are too many of differing names to tell their order"


def _in_order(parts: list[Part]) -> list[Part] | None:
    """The parts so that each takes what the one before gives, numbers rising within layers of one name; or None.

    Raises UnknownArchitecture where two orders fit: a wrong one would be a different net, silently.
    """
    families: dict[tuple[str, ...], list[Part]] = {}
    for part in sorted(parts, key=lambda part: natural(part.prefix)):
        words = tuple(word for kind, _, word in natural(part.prefix) if kind)
        families.setdefault(words, []).append(part)
    if len(families) > 1 and len(parts) > MAX_MIXED:
        return None
    orders = _orders([], list(families.values()))
    if len(orders) > 1:
        names = ", ".join(part.prefix.rstrip(".") for part in parts[:3])
        raise UnknownArchitecture(
            f"The order of the layers {names} ... cannot be told from their names and shapes. "
            "Name them fc1, fc2, fc3 ... and save the state dict again."
        )
    return orders[0] if orders else None


def _orders(chain: list[Part], families: list[list[Part]]) -> list[list[Part]]:
    """At most two orders that continue `chain`, each family in its own order."""
    if not any(families):
        return [chain]
    found: list[list[Part]] = []
    for number, family in enumerate(families):
        if len(found) < 2 and family and (not chain or family[0].weight[1] == chain[-1].weight[0]):
            rest = [*families[:number], family[1:], *families[number + 1 :]]
            found += _orders([*chain, family[0]], rest)
    return found[:2]
