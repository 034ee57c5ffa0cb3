"""Table of the published methods: each is one align, one combine and one correct method, with their settings."""

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
        "Reorder B's units so that B's weights agree with A's, then average.",
        "weight-matching",
    ),
    _recipe(
        "git-rebasin-activations",
        "Git Re-Basin (activations)",
        _GIT_REBASIN,
        "Reorder B's units so that they respond to the images as A's units do, then average.",
        "activation-matching",
    ),
    _recipe(
        "git-rebasin-batch-norm",
        "Git Re-Basin + BatchNorm reset",
        _REPAIR,
        "Match units by weights, average, and measure BatchNorm's statistics again in the merged net.",
        "weight-matching",
        "batch-norm-reset",
    ),
    _recipe(
        "git-rebasin-ste",
        "Git Re-Basin (STE)",
        _GIT_REBASIN,
        "Learn by gradient descent the order of B's units with the lowest loss half-way, then average.",
        "straight-through",
    ),
    _recipe(
        "git-rebasin-many",
        "Git Re-Basin (many)",
        _GIT_REBASIN,
        "Match each model in turn to the mean of the others, then average all models.",
        "merge-many",
    ),
    _recipe(
        "c2m3",
        "C2M3",
        ("Crisostomi et al.: C2M3 (NeurIPS 2024)", "https://arxiv.org/abs/2405.17897"),
        "Match all models at once to one common order of units, average, and apply REPAIR.",
        "cycle-consistent",
        "repair",
    ),
    _recipe(
        "sinkhorn",
        "Sinkhorn Re-Basin",
        ("Peña et al.: Re-basin via Implicit Sinkhorn Differentiation (CVPR 2023)", "https://arxiv.org/abs/2212.12042"),
        "Learn soft permutations by gradient descent, round them, then average.",
        "sinkhorn",
    ),
    _recipe(
        "ot-fusion",
        "OT Fusion",
        ("Singh, Jaggi: Model Fusion via Optimal Transport (NeurIPS 2020)", "https://arxiv.org/abs/1910.05653"),
        "Transport B's units to A's at the lowest cost, layer by layer, then average.",
        "optimal-transport",
    ),
    _recipe(
        "cca-merge",
        "CCA Merge",
        ("Horoi et al.: Harmony in Diversity (ICML 2024)", "https://arxiv.org/abs/2407.05385"),
        "Map linear combinations of B's units onto correlated units of A, average, and reset BatchNorm.",
        "cca",
        "batch-norm-reset",
    ),
    _recipe(
        "zipit",
        "ZipIt!",
        ("Stoica et al.: ZipIt! (ICLR 2024)", "https://arxiv.org/abs/2305.03053"),
        "Merge the most correlated units, within and across networks, and reset BatchNorm.",
        "zipit",
        "batch-norm-reset",
    ),
    Recipe(
        "np-merge",
        "NP Merge",
        "Orozco Camacho et al.: Non-Uniform Parameter-Wise Model Merging (2024)",
        "https://arxiv.org/abs/2412.15467",
        "Match units by activations, then learn for every parameter how much it takes from each network.",
        "activation-matching",
        "non-uniform",
        "batch-norm-reset",
    ),
    _recipe(
        "repair",
        "REPAIR",
        _REPAIR,
        "Match units by weights, average, and restore the mean and standard deviation of each channel.",
        "weight-matching",
        "repair",
    ),
    _recipe(
        "rescale",
        "RESCALE",
        _REPAIR,
        "Match units by weights, average, and restore the standard deviation of each channel.",
        "weight-matching",
        "rescale",
    ),
    _recipe(
        "naive",
        "Naive average",
        ("Baseline of every paper", "https://arxiv.org/abs/2209.04836"),
        "Average unit i of A with unit i of B, whatever the two units compute: the baseline of alignment.",
        "none",
    ),
    _of_experts(
        "task-arithmetic",
        "Task arithmetic",
        "Ilharco et al.: Editing Models with Task Arithmetic (ICLR 2023)",
        "https://arxiv.org/abs/2212.04089",
        "Add the weight changes of all experts to their base network.",
    ),
    _of_experts(
        "ties",
        "TIES",
        "Yadav et al.: TIES-Merging (NeurIPS 2023)",
        "https://arxiv.org/abs/2306.01708",
        "Keep each expert's largest changes, elect a sign per parameter, and average the changes of that sign.",
    ),
    _of_experts(
        "dare",
        "DARE",
        "Yu et al.: Language Models are Super Mario (ICML 2024)",
        "https://arxiv.org/abs/2311.03099",
        "Drop random entries of each expert's weight changes, rescale the rest, and add the result to the base.",
    ),
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.key: recipe for recipe in _ALL})
