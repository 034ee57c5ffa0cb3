"""Recognise networks whose layers form a chain by their shapes, with any names: MLPs, plain CNNs, VGGs, and residual
nets of basic blocks, whose additions leave no trace in a state dict.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from merging.errors import UnknownArchitecture
from merging.zoo.checkpoints.recognise.order import chain_orders, gap, norms_in_order
from merging.zoo.checkpoints.recognise.parts import Guess, NetworkPart, Shapes, image_shape, network_parts, renamed

# Widths of the convolutions of configurations A and D (Simonyan & Zisserman 2014, table 1).
VGG_WIDTHS = {
    "vgg11": [64, 128, 256, 256, 512, 512, 512, 512],
    "vgg16": [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
}
VGG_POOLS = {"vgg11": (1, 2, 4, 6, 8), "vgg16": (2, 4, 7, 10, 13)}  # number of convolutions before each pool
POOLED = 3  # the plain CNN halves the image after each of its first three convolutions
CIFAR_BLOCKS = (3, 5, 7, 9)
LEARNED = ("log_gain", "saturation_logit")  # learned per unit by an adaptive network
NUMBERED = re.compile(r"(.*?)(\d+)\.weight")


def recognise_mlp(shapes: Shapes) -> list[Guess]:
    """Recognise an MLP: at least two linear layers and nothing else, with any names; [] for other networks.

    Raises UnknownArchitecture when names and shapes allow several orders of the layers, or none.
    """
    parts = network_parts(shapes)
    if not parts or any(part.kind != "linear" for part in parts):
        return []
    if len(parts) == 1:
        raise UnknownArchitecture(
            "The file holds one linear layer: there are no hidden units that could be re-ordered."
        )
    chain = _only_order(parts)
    widths = [part.weight[0] for part in chain]
    config = {"in_shape": image_shape(chain[0].weight[1]), "classes": widths[-1], "widths": widths[:-1]}
    return [Guess("mlp", config, renamed([(f"layers.{2 * i}.", part) for i, part in enumerate(chain)]))]


def recognise_adaptive(shapes: Shapes) -> list[Guess]:
    """Recognise an MLP with a gain and a saturation per unit, in a module whose number is the linear layer's plus 1; []
    for other networks."""
    learned = {name for name in shapes if name.endswith(LEARNED)}
    guesses = recognise_mlp({name: shape for name, shape in shapes.items() if name not in learned}) if learned else []
    complete = []
    for guess in guesses:
        behind: dict[str, str] = {}
        for ours, theirs in guess.names.items():
            number, place = (NUMBERED.fullmatch(name) for name in (ours, theirs))
            if number and place:
                pairs = ((_next(number, kind), _next(place, kind)) for kind in LEARNED)
                behind |= {mine: name for mine, name in pairs if name in learned}
        if set(behind.values()) == learned:
            complete.append(Guess("adaptive", guess.config, guess.names | behind))
    return complete


def _next(weight: re.Match[str], kind: str) -> str:
    """Name of the tensor `kind` in the module that follows the weight's."""
    return f"{weight[1]}{int(weight[2]) + 1}.{kind}"


def convolutional(shapes: Shapes) -> list[Guess]:
    """Recognise a chain of 3×3 convolutions as plain CNN, VGG or residual net, whichever fit; [] for other networks.

    Raises UnknownArchitecture when the order of the convolutions, or the norm of each, is not determined.
    """
    parts = network_parts(shapes)
    convs = [part for part in parts if part.kind == "conv"]
    main = [part for part in convs if part.weight[2:] == (3, 3)]
    side = [part for part in convs if part.weight[2:] == (1, 1)]
    norms, linears = ([part for part in parts if part.kind == kind] for kind in ("norm", "linear"))
    if len(main) < 2 or len(main) + len(side) != len(convs) or len(convs) + len(norms) + len(linears) != len(parts):
        return []
    if len(linears) not in (1, 3) or len(norms) not in (0, len(convs)):
        return []
    chain = _only_order(main)
    heads = _only_order(linears) if len(linears) == 3 else linears
    paired = norms_in_order([*chain, *side], norms) if norms else []
    if paired is None:
        raise UnknownArchitecture("Names and shapes do not show which norm belongs to which convolution.")
    own = paired[: len(chain)]
    guesses = [] if side else [*_vgg(chain, own, heads), *_cnn(chain, own, heads)]
    return [*_residual(chain, side, paired, heads), *guesses]


def _only_order(parts: Sequence[NetworkPart]) -> list[NetworkPart]:
    orders = chain_orders(parts)
    if not orders:
        kind = "convolutions" if parts[0].kind == "conv" else "linear layers"
        raise UnknownArchitecture(f"The layers are {kind}, but {gap(parts)}.")
    if len(orders) > 1:
        names = ", ".join(part.prefix.rstrip(".") for part in parts[:3])
        raise UnknownArchitecture(
            f"The order of the layers {names} ... does not follow from their names and shapes. "
            "Name them fc1, fc2, fc3 ... and save the state dict again."
        )
    return orders[0]


def _vgg(convs: Sequence[NetworkPart], norms: Sequence[NetworkPart], linears: Sequence[NetworkPart]) -> list[Guess]:
    widths = [part.weight[0] for part in convs]
    key = next((key for key, plan in VGG_WIDTHS.items() if plan == widths), None)
    width, inputs, channels = widths[-1], linears[0].weight[1], convs[0].weight[1]
    pooled = round((inputs / width) ** 0.5)
    if key is None or width * pooled * pooled != inputs:
        return []
    side = 32 * pooled  # five pools halve the image to the size that the head expects
    config: dict[str, object] = {"in_shape": [channels, side, side], "classes": linears[-1].weight[0], "pooled": pooled}
    config |= {"head": "three", "hidden": linears[0].weight[0]} if len(linears) == 3 else {"head": "linear"}
    heads = ["classifier."] if len(linears) == 1 else [f"classifier.{i}." for i in (0, 3, 6)]
    names = _features(convs, norms, VGG_POOLS[key]) | renamed(list(zip(heads, linears, strict=True)))
    return [Guess(key + ("_bn" if norms else ""), config, names)]


def _cnn(convs: Sequence[NetworkPart], norms: Sequence[NetworkPart], linears: Sequence[NetworkPart]) -> list[Guess]:
    channels, widths = convs[0].weight[1], [part.weight[0] for part in convs]
    if len(linears) != 1:
        return []
    side = 28 if channels == 1 else 32
    config = {
        "in_shape": [channels, side, side],
        "classes": linears[0].weight[0],
        "widths": widths,
        "norm": "batch" if norms else "none",
    }
    names = _features(convs, norms, tuple(range(1, POOLED + 1))) | renamed([("classifier.", linears[0])])
    return [Guess("cnn", config, names)]


def _features(convs: Sequence[NetworkPart], norms: Sequence[NetworkPart], pools: Sequence[int]) -> dict[str, str]:
    """The zoo's names under `features` -> the file's: conv, norm, ReLU; a pool after each count of convs in `pools`."""
    pairs, index = [], 0
    for number, conv in enumerate(convs, start=1):
        pairs.append((f"features.{index}.", conv))
        if norms:
            pairs.append((f"features.{index + 1}.", norms[number - 1]))
        index += 2 + bool(norms) + (number in pools)
    return renamed(pairs)


def _residual(
    convs: Sequence[NetworkPart],
    side: Sequence[NetworkPart],
    norms: Sequence[NetworkPart],
    linears: Sequence[NetworkPart],
) -> list[Guess]:
    """Recognise a stem and blocks of two convolutions, with a 1×1 convolution or no weights where the width changes."""
    blocks = list(zip(convs[1::2], convs[2::2], strict=False))
    widths = [second.weight[0] for _, second in blocks]
    chained = all(first.weight[0] == second.weight[1] == second.weight[0] for first, second in blocks)
    if len(convs) % 2 == 0 or not blocks or not chained or len(linears) != 1 or convs[0].weight[0] != widths[0]:
        return []
    starts = [0, *(number for number, (a, b) in enumerate(pairwise(widths), 1) if a != b)]
    changes = [(widths[number], widths[number - 1]) for number in starts[1:]]
    crossing = _matched(side, changes)
    if crossing is None or not changes:
        return []
    counts = [end - start for start, end in pairwise([*starts, len(widths)])]
    stages = [widths[start] for start in starts]
    places = [(stage, number) for stage, count in enumerate(counts, 1) for number in range(count)]
    pairs = [("conv1.", convs[0]), ("", linears[0])]
    pairs += [
        (f"layer{s}.{n}.conv{i}.", part)
        for (s, n), b in zip(places, blocks, strict=True)
        for i, part in enumerate(b, 1)
    ]
    pairs += [(f"layer{stage}.0.shortcut.0.", part) for stage, part in enumerate(crossing, 2)]
    if norms:
        behind = {conv.prefix: norm for conv, norm in zip([*convs, *side], norms, strict=True)}
        pairs += [(_norm_name(ours), behind[part.prefix]) for ours, part in pairs if part.kind == "conv"]
    return [_named_residual(convs[0], stages, counts, bool(crossing), pairs, linears[0])]


def _matched(side: Sequence[NetworkPart], changes: Sequence[tuple[int, int]]) -> list[NetworkPart] | None:
    """The 1×1 convolution of each change of width, in order; [] where there are no 1×1 convolutions, None where they
    do not fit. changes: (width after, width before)."""
    if not side:
        return []
    by_shape = {part.weight[:2]: part for part in side}
    whole = len(by_shape) == len(side) == len(changes) and all(change in by_shape for change in changes)
    return [by_shape[change] for change in changes] if whole else None


def _norm_name(conv: str) -> str:
    return conv.replace("shortcut.0.", "shortcut.1.") if "shortcut" in conv else conv.replace("conv", "bn")


def _named_residual(
    stem: NetworkPart,
    widths: list[int],
    blocks: list[int],
    has_convs: bool,
    pairs: list[tuple[str, NetworkPart]],
    head: NetworkPart,
) -> Guess:
    norm = next((part for ours, part in pairs if ours == "bn1."), None)
    kind = "none" if norm is None else "batch" if "running_mean" in norm.tensors else "layer"
    channels = stem.weight[1]
    config: dict[str, object] = {"in_shape": [channels, *((28, 28) if channels == 1 else (32, 32))]}
    config |= {"classes": head.weight[0]}
    cifar = widths == [widths[0] << stage for stage in range(3)] and blocks in ([n] * 3 for n in CIFAR_BLOCKS)
    shortcut = "conv" if has_convs else "pad"
    if cifar and kind == "batch":
        key, word = f"resnet{6 * blocks[0] + 2}", "linear."
        config |= {"width": widths[0], "shortcut": shortcut}
    else:
        key, word = "resnet", "fc."
        config |= {"widths": widths, "blocks": blocks, "norm": kind, "shortcut": shortcut}
    return Guess(key, config, renamed([(ours or word, part) for ours, part in pairs]))
