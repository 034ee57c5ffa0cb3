"""Recognise residual nets by the names in public code: `conv1`, `bn1`, `layer1.0.conv1` ..., `shortcut` or
`downsample`, `linear` or `fc`. Source of the layouts: He et al. 2015 (arXiv:1512.03385), sections 4.1 and 4.2.
"""

from __future__ import annotations

import re

from merging.zoo.checkpoints.recognise.parts import Guess, Shapes

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(.+)")
_SHORTCUTS = ("shortcut", "downsample")
_HEADS = ("linear", "fc")
TORCHVISION = {"tv_resnet18": ([2, 2, 2, 2], "basic"), "tv_resnet50": ([3, 4, 6, 3], "bottleneck")}


def residual(shapes: Shapes) -> list[Guess]:
    """Recognise a residual net of basic blocks, or torchvision's ResNet-18/50; [] for networks with other names."""
    stem, head = shapes.get("conv1.weight", ()), next((name for name in _HEADS if shapes.get(f"{name}.weight")), None)
    blocks = _blocks(shapes)
    if len(stem) != 4 or head is None or not blocks:
        return []
    config: dict[str, object] = {"classes": shapes[f"{head}.weight"][0]}
    kind = "bottleneck" if any(name.endswith(".conv3.weight") for name in shapes) else "basic"
    if stem[2] == 7 or kind == "bottleneck":
        known = next((key for key, plan in TORCHVISION.items() if plan == (blocks, kind)), None)
        return [Guess(known, config, _names(shapes, head, "fc", "downsample"))] if known else []
    first = [shapes.get(f"layer{s}.{_first(shapes, s)}.conv1.weight") for s in range(1, len(blocks) + 1)]
    if None in first:
        return []
    widths = [shape[0] for shape in first if shape]
    config = {"in_shape": [stem[1], *((28, 28) if stem[1] == 1 else (32, 32))], **config}
    shortcut = _shortcut(shapes, len(blocks))
    if _is_cifar(shapes, widths, blocks) and shortcut != "identity":
        key = f"resnet{6 * blocks[0] + 2}"
        config |= {"width": widths[0], "shortcut": shortcut}
        return [Guess(key, config, _names(shapes, head, "linear", "shortcut"))]
    config |= {"widths": widths, "blocks": blocks, "norm": _norm(shapes), "shortcut": shortcut}
    return [Guess("resnet", config, _names(shapes, head, "fc", "shortcut"))]


def _blocks(shapes: Shapes) -> list[int]:
    """Number of blocks per stage; empty where stages are missing."""
    stages: dict[int, set[str]] = {}
    for name in shapes:
        if match := _BLOCK.fullmatch(name):
            stages.setdefault(int(match[1]), set()).add(match[2])
    whole = sorted(stages) == list(range(1, len(stages) + 1))
    return [len(stages[stage]) for stage in sorted(stages)] if whole else []


def _first(shapes: Shapes, stage: int) -> int:
    """Index of a stage's first block: 0, or 1 where a pool without tensors comes first."""
    return 0 if any(name.startswith(f"layer{stage}.0.") for name in shapes) else 1


def _shortcut(shapes: Shapes, stages: int) -> str:
    if any(f".{word}." in name for name in shapes for word in _SHORTCUTS):
        return "conv"
    return "identity" if any(_first(shapes, stage) for stage in range(2, stages + 1)) else "pad"


def _norm(shapes: Shapes) -> str:
    if "bn1.running_mean" in shapes:
        return "batch"
    return "layer" if "bn1.weight" in shapes else "none"


def _is_cifar(shapes: Shapes, widths: list[int], blocks: list[int]) -> bool:
    plan = [widths[0], 2 * widths[0], 4 * widths[0]]
    return widths == plan and blocks in ([n] * 3 for n in (3, 5, 7, 9)) and _norm(shapes) == "batch"


def _names(shapes: Shapes, head: str, our_head: str, our_shortcut: str) -> dict[str, str]:
    """Mergescope's names -> the file's: they differ only in the words for the head and the shortcuts."""

    def ours(name: str) -> str:
        if name.startswith(f"{head}."):
            return f"{our_head}{name.removeprefix(head)}"
        for word in _SHORTCUTS:
            name = re.sub(rf"^(layer\d+\.\d+)\.{word}\.", rf"\1.{our_shortcut}.", name)
        return name

    return {ours(name): name for name in shapes}
