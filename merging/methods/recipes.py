"""Table of the published methods: each is a triple align x combine x correct with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from merging.methods.registry import Recipe

_GIT_REBASIN = ("Ainsworth, Hayase, Srinivasa: Git Re-Basin (ICLR 2023)", "https://arxiv.org/abs/2209.04836")
_REPAIR = ("Jordan, Sedghi, Saukh, Entezari, Neyshabur: REPAIR (ICLR 2023)", "https://arxiv.org/abs/2211.08403")


def _recipe(key: str, label: str, source: tuple[str, str], summary: str, align: str, correct: str = "none") -> Recipe:
    return Recipe(key, label, *source, summary, align, "average", correct)


def _of_experts(key: str, label: str, paper: str, link: str, summary: str) -> Recipe:
    return Recipe(key, label, paper, link, summary, "none", key, "none")


_ALL = (
    _recipe(
        "git-rebasin-weights",
        "Git Re-Basin (weights)",
        _GIT_REBASIN,
        "Reorder B's units so that its weights agree with A's, then average.",
        "weight-matching",
    ),
    _recipe(
        "git-rebasin-activations",
        "Git Re-Basin (activations)",
        _GIT_REBASIN,
        "Reorder B's units so that they fire where A's do, then average.",
        "activation-matching",
    ),
    _recipe(
        "git-rebasin-batch-norm",
        "Git Re-Basin + BatchNorm reset",
        _REPAIR,
        "Match weights, average, and estimate BatchNorm's statistics for the merged weights.",
        "weight-matching",
        "batch-norm-reset",
    ),
    _recipe(
        "git-rebasin-ste",
        "Git Re-Basin (STE)",
        _GIT_REBASIN,
        "Learn by gradients which order of B's units makes the half-way loss smallest, then average.",
        "straight-through",
    ),
    _recipe(
        "git-rebasin-many",
        "Git Re-Basin (many)",
        _GIT_REBASIN,
        "Match each model to the mean of the others in turn, then average them all.",
        "merge-many",
    ),
    _recipe(
        "c2m3",
        "C2M3",
        ("Crisostomi et al.: C2M3 (NeurIPS 2024)", "https://arxiv.org/abs/2405.17897"),
        "Match all models to one common frame together, average them there, and repair the average.",
        "cycle-consistent",
        "repair",
    ),
    _recipe(
        "sinkhorn",
        "Sinkhorn Re-Basin",
        ("Peña et al.: Re-basin via Implicit Sinkhorn Differentiation (CVPR 2023)", "https://arxiv.org/abs/2212.12042"),
        "Learn soft permutations by gradients, harden them, then average.",
        "sinkhorn",
    ),
    _recipe(
        "ot-fusion",
        "OT Fusion",
        ("Singh, Jaggi: Model Fusion via Optimal Transport (NeurIPS 2020)", "https://arxiv.org/abs/1910.05653"),
        "Move B's units onto A's at least cost, layer by layer, then average.",
        "optimal-transport",
    ),
    _recipe(
        "cca-merge",
        "CCA Merge",
        ("Horoi et al.: Harmony in Diversity (ICML 2024)", "https://arxiv.org/abs/2407.05385"),
        "Map mixtures of B's units onto A's so that they vary together, average, and reset BatchNorm.",
        "cca",
        "batch-norm-reset",
    ),
    _recipe(
        "zipit",
        "ZipIt!",
        ("Stoica et al.: ZipIt! (ICLR 2024)", "https://arxiv.org/abs/2305.03053"),
        "Merge the units that respond most alike, of two networks or of one, and reset BatchNorm.",
        "zipit",
        "batch-norm-reset",
    ),
    Recipe(
        "np-merge",
        "NP Merge",
        "Orozco Camacho et al.: Non-Uniform Parameter-Wise Model Merging (2024)",
        "https://arxiv.org/abs/2412.15467",
        "Match units by their activations, then learn how much of each network every single parameter takes.",
        "activation-matching",
        "non-uniform",
        "batch-norm-reset",
    ),
    _recipe(
        "repair",
        "REPAIR",
        _REPAIR,
        "Match weights, average, and give every channel the mean and spread of its parents.",
        "weight-matching",
        "repair",
    ),
    _recipe(
        "rescale",
        "RESCALE",
        _REPAIR,
        "Match weights, average, and give every channel the spread of its parents.",
        "weight-matching",
        "rescale",
    ),
    _recipe(
        "naive",
        "Naive average",
        ("Baseline of every paper", "https://arxiv.org/abs/2209.04836"),
        "Average unit i of A with unit i of B, whatever they compute: what alignment is compared with.",
        "none",
    ),
    _of_experts(
        "task-arithmetic",
        "Task arithmetic",
        "Ilharco et al.: Editing Models with Task Arithmetic (ICLR 2023)",
        "https://arxiv.org/abs/2212.04089",
        "Add to a base network what each of its experts learned.",
    ),
    _of_experts(
        "ties",
        "TIES",
        "Yadav et al.: TIES-Merging (NeurIPS 2023)",
        "https://arxiv.org/abs/2306.01708",
        "Trim what each expert learned, elect a sign for every parameter, and average who agrees.",
    ),
    _of_experts(
        "dare",
        "DARE",
        "Yu et al.: Language Models are Super Mario (ICML 2024)",
        "https://arxiv.org/abs/2311.03099",
        "Drop a random part of what each expert learned, make up for it in the rest, and add it to the base.",
    ),
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.key: recipe for recipe in _ALL})
