"""Save trained nets as safetensors files with metadata, and write the manifest that lists a folder of them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from merging.errors import DataUnavailable, InvalidSetting
from merging.zoo.architectures.names import describe
from merging.zoo.checkpoints.checkpoint import save_checkpoint
from merging.zoo.datasets.load import load_split
from merging.zoo.training.recipes import RECIPES, TrainingRecipe
from merging.zoo.training.train import Report, TrainedModel, train

METADATA_KEY = "mergescope"
FORMAT = 1
THREADS = 1  # floating-point sums depend on the number of threads; one gives the same bytes on every machine


def train_one(
    architecture: str,
    config: Mapping[str, Any],
    dataset: str,
    *,
    name: str,
    device: str = "cpu",
    report: Report | None = None,
    **options: Any,
) -> tuple[TrainedModel, dict[int | None, bytes]]:
    """Train a net. Return it with the contents of its files: that of the net (None), and of every kept epoch.

    options: those of `train` (start, keep, resume), and fields of TrainingSettings. Raises the errors of `train`.
    """
    trained = train(architecture, config, dataset, device=device, report=report, **options)
    keys = ("architecture", "config", "dataset", "classes", "mean", "std")
    facts = {"seed": trained.settings.seed, **{key: getattr(trained, key) for key in keys}}
    files: dict[int | None, bytes] = {None: shipped_bytes(trained, name=name)}
    for epoch, tensors in trained.kept.items():
        files[epoch] = save_checkpoint(tensors, name=f"{name}, epoch {epoch}", epochs=epoch, **facts)
    return trained, files


def train_shipped(ids: list[str] | None, out: Path, report: Report | None = None, *, resume: bool = False) -> Path:
    """Train these shipped checkpoints (None: all) into the folder `out` with one thread; return the manifest's path.

    The manifest is rewritten after every checkpoint. resume: whether to keep the state after every epoch in `out`, and
    to go on from it if it is there. Raises InvalidSetting for an unknown id. Raises DataUnavailable if
    the full training split is not on this machine, because training on the shipped part would give a different net.
    """
    recipes = {recipe.id: recipe for recipe in RECIPES}
    unknown = [name for name in ids or () if name not in recipes]
    if unknown:
        raise InvalidSetting(f"no shipped checkpoint is called {unknown[0]!r}; known: {', '.join(recipes)}")
    selection = [recipes[name] for name in (recipes if ids is None else ids)]
    for dataset in {recipe.dataset: None for recipe in selection}:
        if not load_split(dataset, "train").complete:
            raise DataUnavailable(
                f"only a part of {dataset} is on this machine; run `python -m merging download {dataset}` first"
            )
    out.mkdir(parents=True, exist_ok=True)
    for recipe in selection:
        with _threads(THREADS):
            arguments = {"start": _weights(out, recipe.base), "report": report, **_options(recipe)}
            arguments |= {"resume": out / f"{recipe.id}.resume"} if resume else {}
            trained = train(recipe.architecture, recipe.config, recipe.dataset, **arguments)
            partial = out / f"{recipe.id}.partial"
            partial.write_bytes(shipped_bytes(trained, name=recipe.name))
            partial.replace(out / f"{recipe.id}.safetensors")
            (out / f"{recipe.id}.resume").unlink(missing_ok=True)
        write_manifest(out)
    return out / "manifest.json"


def shipped_bytes(trained: TrainedModel, *, name: str) -> bytes:
    """A safetensors file of the float32 weights, whose metadata holds all that rebuilds and describes the net."""
    story = {
        "format": FORMAT,
        "name": name,
        "architecture": trained.architecture,
        "config": trained.config,
        "dataset": trained.dataset,
        "classes": trained.classes,
        "mean": trained.mean,
        "std": trained.std,
        "seed": trained.settings.seed,
        "epochs": trained.settings.epochs,
        "options": trained.options,
        "metrics": trained.metrics,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    state = {key: value.contiguous() for key, value in trained.module.state_dict().items()}
    return save(state, metadata={METADATA_KEY: json.dumps(story)})


def write_manifest(folder: Path) -> Path:
    """Write the manifest of the shipped checkpoints in the folder, in the recipes' order; return its path."""
    present = [(recipe, folder / f"{recipe.id}.safetensors") for recipe in RECIPES]
    entries = [_entry(recipe, path) for recipe, path in present if path.is_file()]
    partial = folder / "manifest.partial"
    partial.write_text(
        json.dumps({"format": FORMAT, "checkpoints": entries}, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    return partial.replace(folder / "manifest.json")


def _entry(recipe: TrainingRecipe, path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        story = json.loads(file.metadata()[METADATA_KEY])
        sizes = {key: file.get_tensor(key).numel() for key in file.keys()}  # noqa: SIM118 (no mapping)
    content = path.read_bytes()
    metrics = story["metrics"]
    same_keys = ("architecture", "config", "dataset", "classes", "mean", "std", "seed", "epochs", "options")
    return {
        "id": recipe.id,
        "name": story["name"],
        "file": path.name,
        **{key: story[key] for key in same_keys},
        "architecture_label": describe(story["architecture"], story["config"]),
        "command": recipe.command,
        "accuracy": metrics["accuracy"],
        "loss": metrics["loss"],
        "train_accuracy": metrics["train_accuracy"],
        "train_loss": metrics["train_loss"],
        "parameters": sum(size for key, size in sizes.items() if not _is_statistic(key)),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "notes": recipe.notes,
        "pair": recipe.pair,
        **({"base": recipe.base} if recipe.base else {}),
        "tags": list(recipe.tags),
    }


def _is_statistic(key: str) -> bool:
    return key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _options(recipe: TrainingRecipe) -> dict[str, Any]:
    branch, spans = recipe.options.get("branch"), recipe.options.get("spans")
    options = {**recipe.options, "branch": tuple(branch) if branch else None}
    return options | ({"spans": tuple((low, high) for low, high in spans)} if spans else {})


def _weights(out: Path, base: str) -> dict[str, Any] | None:
    """Load the weights of the base that a recipe starts from. Raises DataUnavailable if its file is missing."""
    if not base:
        return None
    path = out / f"{base}.safetensors"
    if not path.is_file():
        raise DataUnavailable(f"this net starts from {base}, which is not in {out}; train {base} first")
    return load_file(path)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
