"""Catalogue entries of checkpoints, the check whether two can be merged, and three example pairs. torch-free."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from merging.errors import CheckpointError
from merging.paths import ASSETS
from merging.zoo.architectures.names import describe, differ_in_width, nonlinearity, unlike
from merging.zoo.checkpoints.candidates import evidence_words
from merging.zoo.datasets.known import dataset_label, find_facts
from merging.zoo.datasets.own import is_own

FOLDER = ASSETS / "zoo"
_REMEDY = "Restore assets/zoo from the repository, or train the nets again with `python -m merging train`."
_LISTS = ("classes", "mean", "std")
_WORDS = {
    "widths": "widths",
    "blocks": "number of blocks per stage",
    "norm": "normalisation",
    "shortcut": "kind of shortcut",
    "in_shape": "image shape",
    "classes": "number of classes",
    "width": "width",
    "head": "kind of head",
    "hidden": "width of the head",
    "pooled": "size of the pooled image",
}


@dataclass(frozen=True)
class Entry:
    """One checkpoint of the catalogue.

    Attributes:
        id: such as "fashion-mlp-512-s0", or "u-<12 hex>" for a user's own.
        sha256: hash of the safetensors file.
        label: description of the architecture, such as "MLP 3×512".
        dataset: a data set's name, or "" if unknown.
        mean, std: one value per channel.
        accuracy: in 0..1 on test images, None if unknown.
        images: number of test images of `accuracy`, 0 if unknown.
        source: "shipped", "uploaded" or "trained".
        created: seconds since 1970.
        base: id of the checkpoint that its training started from, or "".
        why: a sentence on why this architecture was chosen for the file.
        evidence: a sentence on the accuracies that were measured at upload.
        at_chance: whether the accuracy at upload was no better than guessing.
        private: whether only its owner may pick it.
    """

    id: str
    name: str
    sha256: str
    architecture: str
    config: dict[str, Any]
    label: str
    dataset: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int | None
    epochs: int | None
    accuracy: float | None
    parameters: int
    bytes: int
    source: str
    command: str = ""
    notes: str = ""
    owner: str = ""
    created: float = 0.0
    base: str = ""
    why: str = ""
    evidence: str = ""
    at_chance: bool = False
    images: int = 0
    private: bool = False


@dataclass(frozen=True)
class Preset:
    """An example on the first screen: two shipped checkpoints (by id) and the methods to merge them with."""

    key: str
    title: str
    text: str
    a: str
    b: str
    align: str
    combine: str
    correct: str


_PRESETS = (
    Preset(
        "mlps",
        "Two MLPs",
        "Two seeds of one MLP. Their average fails because their neurons are in different orders; "
        "after weight matching, accuracy stays high along the straight line between them.",
        "fashion-mlp-512-s0",
        "fashion-mlp-512-s1",
        "weight-matching",
        "average",
        "none",
    ),
    Preset(
        "cnns",
        "Two CNNs: a look inside",
        "Two seeds of a plain convolutional net: see what each channel responds to in A, in B and in the merge.",
        "fashion-cnn-s0",
        "fashion-cnn-s1",
        "weight-matching",
        "average",
        "none",
    ),
    Preset(
        "batch-norm",
        "BatchNorm: permute, then repair",
        "With BatchNorm, permuting the units is not enough: the merge's activations shrink, and REPAIR rescales them.",
        "fashion-cnn-bn-s0",
        "fashion-cnn-bn-s1",
        "weight-matching",
        "average",
        "repair",
    ),
)

# Pairs whose runs are shipped for lessons; the first screen does not offer them.
_FURTHER = (
    Preset(
        "shared",
        "A shared beginning",
        "Two CNNs that share the first epochs of their training need no re-ordering.",
        "fashion-cnn-shared-a",
        "fashion-cnn-shared-b",
        "none",
        "average",
        "none",
    ),
    Preset(
        "residual",
        "A narrow residual network",
        "Even re-ordered and repaired, the average of two narrow residual networks stays worse than both.",
        "fashion-resnet-s0",
        "fashion-resnet-s1",
        "weight-matching",
        "average",
        "repair",
    ),
)


def shipped() -> tuple[Entry, ...]:
    """The checkpoints in assets/zoo, in the manifest's order. Raises CheckpointError if the manifest is damaged."""
    return tuple(entry for entry, _ in _read(FOLDER, _stamp(FOLDER)))


def shipped_file(sha256: str) -> Path | None:
    """Path of the safetensors file of a shipped checkpoint; None for any other sha256."""
    return next((path for entry, path in _read(FOLDER, _stamp(FOLDER)) if entry.sha256 == sha256), None)


def named_file(name: str | Path) -> Path:
    """Path of a checkpoint: `name` is its file or, if there is no such file, the id of a shipped checkpoint."""
    path = Path(name)
    entry = next((entry for entry in shipped() if entry.id == str(name)), None)
    return path if entry is None or path.exists() else shipped_file(entry.sha256) or path


def find_entry(name: str) -> Entry:
    """The shipped checkpoint with this id. Raises CheckpointError, with the known ids, if there is none."""
    known = {entry.id: entry for entry in shipped()}
    if name not in known:
        raise CheckpointError(f"There is no checkpoint {name!r}. Shipped: {', '.join(known)}.")
    return known[name]


def presets() -> tuple[Preset, ...]:
    """The examples whose two checkpoints are both shipped."""
    ids = {entry.id for entry in shipped()}
    return tuple(preset for preset in _PRESETS if {preset.a, preset.b} <= ids)


def example_pairs() -> tuple[Preset, ...]:
    """All pairs whose runs are shipped: the examples of the first screen, and those of lessons."""
    return (*presets(), *_FURTHER)


def uploaded(facts: Mapping[str, Any], data: bytes, *, owner: str, created: float, source: str = "uploaded") -> Entry:
    """Make the catalogue entry of a converted checkpoint. facts, data: as returned by `checkpoints.sandbox.convert`."""
    digest = hashlib.sha256(data).hexdigest()
    names = ("architecture", "config", "label", "dataset", "seed", "epochs", "parameters", *_LISTS)
    measured = facts.get("measured") or [{}]
    values = {key: facts[key] for key in names} | {
        "accuracy": measured[0].get("accuracy"),
        "images": measured[0].get("images", 0),
        "evidence": evidence_words(measured) if measured[0] else "",
        "at_chance": not measured[0].get("above_chance", True),
        "why": facts.get("why", ""),
        "name": facts["name"] or facts["label"],
    }
    values |= {"id": f"u-{digest[:12]}", "sha256": digest, "bytes": len(data)}
    return _with_tuples({**values, "source": source, "owner": owner, "created": created})


def why_not_together(a: Entry, b: Entry, *, unequal_widths: bool = False) -> str:
    """One sentence on why two checkpoints cannot be merged; "" if they can.

    unequal_widths: whether the method maps the units of one network to those of the other, so that the widths of
    hidden layers may differ.
    """
    wider = unequal_widths and differ_in_width(a.config, b.config)
    if a.sha256 == b.sha256:
        return f"Both are the same file ({a.name}): pick two different checkpoints."
    if a.architecture != b.architecture:
        return f"A is {a.label} and B is {b.label}: only networks of one architecture can be merged."
    for key in a.config.keys() & b.config.keys():
        if a.config[key] != b.config[key] and not wider:
            first, second = (_size(entry.config[key]) for entry in (a, b))
            return f"A and B differ in their {_WORDS.get(key, key)}: {first} and {second}."
    if nonlinearity(a.config) != nonlinearity(b.config):
        return f"A uses {nonlinearity(a.config)} as its nonlinearity and B uses {nonlinearity(b.config)}."
    if a.parameters != b.parameters and not wider:
        return f"A has {a.parameters:,} parameters and B has {b.parameters:,}: their structures differ."
    if a.dataset and b.dataset and a.dataset != b.dataset:
        names = (entry.dataset for entry in (a, b))  # own images by their ids, because others may not see their names
        first, second = (name if is_own(name) else dataset_label(name) or name for name in names)
        return f"A was trained on {first} and B on {second}: their outputs mean different classes."
    return unlike(a, b)


def _size(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _stamp(folder: Path) -> int:
    try:
        return (folder / "manifest.json").stat().st_mtime_ns
    except OSError as error:
        raise CheckpointError(
            f"The list of shipped checkpoints is missing ({folder / 'manifest.json'}). {_REMEDY}"
        ) from error


@lru_cache(maxsize=4)
def _read(folder: Path, stamp: int) -> tuple[tuple[Entry, Path], ...]:
    """The manifest's entries and their files. A new modification time `stamp` makes the cache read the file again."""
    try:
        checkpoints = json.loads((folder / "manifest.json").read_text("utf-8"))["checkpoints"]
        return tuple((_entry(raw), folder / Path(raw["file"]).name) for raw in checkpoints)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"The list of shipped checkpoints is damaged ({error!r}). {_REMEDY}") from error


def _entry(raw: Mapping[str, Any]) -> Entry:
    names = ("id", "name", "sha256", "architecture", "config", "dataset", "seed", "epochs", "accuracy", "parameters")
    values = {key: raw[key] for key in (*names, "bytes", *_LISTS)} | {
        key: raw.get(key, "") for key in ("command", "notes", "base")
    }
    spans = raw.get("options", {}).get("spans") or [[0, 1]] * len(raw["classes"])
    learned = sum(high > low for low, high in spans) / len(spans)  # classes have equally many test images
    values["images"] = round(learned * tested_images(raw["dataset"], raw["classes"]))
    return _with_tuples({**values, "label": describe(raw["architecture"], raw["config"]), "source": "shipped"})


def tested_images(dataset: str, classes: Collection[str]) -> int:
    """Number of test images on which a training measures a network of these classes; 0 if it is not known."""
    facts = find_facts(dataset)
    return facts.test if facts is not None and len(classes) == len(facts.classes) else 0


def _with_tuples(values: Mapping[str, Any]) -> Entry:
    return Entry(**{**values, **{key: tuple(values[key]) for key in _LISTS}})
