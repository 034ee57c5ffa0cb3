"""Checkpoints: a network's weights with everything needed to rebuild the network and to feed it images.

safetensors files are read here. torch.save files are pickles: a separate process converts them to safetensors first
(`merging.zoo.checkpoints.sandbox`), so no pickle is ever opened in the process that holds your work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from merging.errors import CheckpointError
from merging.network.programs.module import ProgramModule
from merging.zoo.architectures import build
from merging.zoo.architectures.names import describe
from merging.zoo.architectures.normalise import finite, load_strictly
from merging.zoo.catalogue import named_file
from merging.zoo.checkpoints import sandbox
from merging.zoo.checkpoints.candidates import check_normalisation
from merging.zoo.checkpoints.evidence import Measured, first_test_images
from merging.zoo.checkpoints.metadata import Story, clean_name, read_story, unwrapped_name
from merging.zoo.checkpoints.own import build_own, is_factory
from merging.zoo.checkpoints.programs import KnownProgram, build_program, plain_program, program_story
from merging.zoo.checkpoints.reading import safetensors_io
from merging.zoo.checkpoints.reading.files import File, folder_files, read_folder, read_safetensors
from merging.zoo.checkpoints.reading.kinds import kind_of
from merging.zoo.checkpoints.reading.opening import opened, read_start, read_whole, told_in_words
from merging.zoo.checkpoints.resolve import Asked, resolve
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.image_set import ImageSet
from merging.zoo.datasets.known import find_facts, is_dataset_name


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network's weights with its architecture, its normalisation and its origin.

    Attributes:
        architecture: a key of `ARCHITECTURES`, "torchvision/NAME", "timm/NAME" or "package.module:factory".
        state: name -> tensor; floating-point tensors are float32, integer tensors int64.
        dataset, classes: empty where they are unknown.
        mean, std: one value per channel, for images in 0..1.
        sha256: hash of the checkpoint file.
        renamed: the file's tensor names -> the names in `state`, where the two differ.
        was: the floating-point types in the file.
        weights: the network's path inside the file, "" for the file itself.
        aside: keys of everything else in the file.
        why: the reason for choosing this architecture, as a phrase to display.
        measured: accuracies on test images, the best normalisation first; empty where no images were supplied.
        program: the exported program; None for other networks.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    dataset: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int | None
    sha256: str
    epochs: int | None = None
    renamed: Mapping[str, str] | None = None
    was: tuple[str, ...] = ("float32",)
    weights: str = ""
    aside: tuple[str, ...] = ()
    why: str = ""
    measured: tuple[Measured, ...] = ()
    program: KnownProgram | None = None

    @property
    def label(self) -> str:
        """Readable name of the architecture."""
        return describe(self.architecture, {} if is_factory(self.architecture) else self.config)

    @property
    def names(self) -> dict[str, str]:
        """Names in `state` -> tensor names in the user's own module, where the two differ."""
        pairs = {ours: unwrapped_name(theirs) for theirs, ours in (self.renamed or {}).items()}
        return {ours: name for ours, name in pairs.items() if ours != name}

    def build(self) -> nn.Module:
        """Build a new module with these weights, in eval mode, on the CPU; it takes images in 0..1 and normalises them.

        Raises UnknownArchitecture when the caller's factory returns no module that fits, CheckpointError as `finite`.
        """
        if self.program is not None:
            return build_program(self.program, self.state, self.mean, self.std)
        if is_factory(self.architecture):
            return build_own(self.architecture, self.config, self.state, self.mean, self.std)
        return finite(load_strictly(build(self.architecture, self.config, self.mean, self.std), self.state))

    def to_bytes(self) -> bytes:
        """Return the bytes of a safetensors file, under the user's own tensor names, with its metadata."""
        fields = ("program", "config", "name", "dataset", "classes", "mean", "std", "seed", "epochs")
        values = {key: getattr(self, key) for key in fields} | {"names": self.names}
        return save_checkpoint(
            self.state, architecture="" if is_factory(self.architecture) else self.architecture, **values
        )


def load_checkpoint(
    path: str | Path,
    *,
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    data: str | ImageSet | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str = "",
    programs: Sequence[KnownProgram] = (),
) -> Checkpoint:
    """Load a safetensors, torch.save or torch.export file, or a folder of safetensors files with an index.

    Args:
        path: a file or folder, or the id of a checkpoint that comes with the program.
        architecture: a key of `ARCHITECTURES`, "torchvision/NAME", "timm/NAME", or "package.module:factory" for your
            own network; the factory is called with `config`.
        config: for known networks, settings that shapes do not determine, such as {"nonlinearity": "tanh"}.
        dataset: the known data set that the network was trained on; it supplies classes, mean and std.
        data: test images, or a data set's name; their accuracies decide on wiring and normalisation, if unknown.
        mean, std: one value per channel.
        weights: the network's path inside a file that holds several.
        programs: known exported programs (`Checkpoint.program`); the file may hold weights of one of them.
    Raises:
        CheckpointError: when the file is damaged, hostile or not a checkpoint.
        UnknownArchitecture: when no known network fits.
        AmbiguousCheckpoint: when several networks fit and no images decide; the error has `.candidates`.
    """
    path = named_file(path)
    with told_in_words(path):
        file, sha256 = _read(path)
    options: dict[str, Any] = {"dataset": dataset, "mean": mean, "std": std, "data": data, "weights": weights}
    options["programs"] = programs
    loaded = from_file(file, sha256, architecture=architecture, config=config, **options)
    return loaded if loaded.name else replace(loaded, name=clean_name(path.stem))


def load_bytes(data: bytes, **options: Any) -> Checkpoint:
    """Load a checkpoint from a safetensors file's bytes. options: those of `from_file`; they override the metadata.

    Raises the errors of `load_checkpoint`.
    """
    if kind_of(data) != "safetensors":
        raise CheckpointError("These bytes are not a safetensors file. Convert them with checkpoints.sandbox.convert.")
    return from_file(read_safetensors(data), hashlib.sha256(data).hexdigest(), **options)


def from_file(
    file: File,
    sha256: str,
    *,
    name: str = "",
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    data: str | ImageSet | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str = "",
    programs: Sequence[KnownProgram] = (),
) -> Checkpoint:
    """Make a checkpoint of the file's network, or of one of several; arguments and errors as for `load_checkpoint`."""
    check_normalisation(mean, std)
    images = None if data is None else first_test_images(data)
    stated = None if mean is None and std is None else (tuple(mean or (0.0,)), tuple(std or (1.0,)))
    resolved = resolve(file, Asked(architecture or "", dict(config or {}), weights, images, stated, tuple(programs)))
    story = _completed(read_story(resolved.loaded.story), name, dataset, mean, std)
    if stated is None and resolved.measured and not read_story(resolved.loaded.story).mean:
        best = resolved.measured[0]
        story = replace(story, mean=best.mean, std=best.std)
    network = resolved.network
    story = _fed(story, network.architecture, network.config)
    return Checkpoint(
        story.name, network.architecture, network.config, network.state, story.dataset, story.classes, story.mean,
        story.std, story.seed, sha256, story.epochs, network.renamed, resolved.loaded.was, resolved.weights,
        (*file.aside, *network.aside), resolved.why, resolved.measured, network.program,
    )  # fmt: skip


def trained_on(checkpoint: Checkpoint, dataset: str) -> Checkpoint:
    """Record the training data set of a checkpoint that names none: adopt the data set's classes, and its mean and std
    unless these were measured. Raises CheckpointError when the data set's images have another number of channels."""
    story = Story(checkpoint.name, dataset=dataset, mean=checkpoint.mean if checkpoint.measured else ())
    story = replace(story, std=checkpoint.std if checkpoint.measured else ())
    known = _completed(story, "", None, None, None)
    fed = _fed(known, checkpoint.architecture, checkpoint.config)
    return replace(checkpoint, dataset=dataset, classes=fed.classes, mean=fed.mean, std=fed.std)


def save_checkpoint(
    state: Mapping[str, Tensor] | nn.Module,
    *,
    architecture: str,
    config: Mapping[str, Any],
    name: str = "",
    dataset: str = "",
    classes: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    seed: int | None = None,
    epochs: int | None = None,
    program: KnownProgram | None = None,
    names: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a safetensors file with the network's metadata; tied tensors are recorded too.

    program: the exported program, for an exported network; a `ProgramModule` supplies its own.  names: Mergescope's
    tensor names -> the names to use in the file. Equal arguments give equal bytes. `load_bytes` reads them back.
    """
    story = Story(
        clean_name(name), architecture, dict(config), dataset, tuple(classes), tuple(mean), tuple(std), seed, epochs
    )
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    if program is None and isinstance(state, ProgramModule):
        program = plain_program(state)
    if program is None:
        return safetensors_io.write_tensors(*named_with_story(tensors, story, names))
    return safetensors_io.write_tensors(tensors, {**asdict(story), **program_story(program.program)}, program.constants)


def named_with_story(
    state: Mapping[str, Tensor], story: Story, names: Mapping[str, str] | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the arguments of `safetensors_io.write_tensors`: the tensors, of any shapes, under the user's names (see
    `save_checkpoint`), and the story."""
    named = {(names or {}).get(name, name): tensor for name, tensor in state.items()}
    return named, {**asdict(story), **({"names": dict(names)} if names else {})}


def content_sha256(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's checkpoint files. Raises CheckpointError."""
    with told_in_words(path):
        is_folder = path.is_dir()
    if is_folder:
        named = [f"{name} {content_sha256(path / name)}\n" for name in folder_files(path)]
        return hashlib.sha256("".join(named).encode()).hexdigest()
    with opened(path) as (file, _):
        return hashlib.file_digest(file, "sha256").hexdigest()


def _completed(
    story: Story, name: str, dataset: str | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Story:
    """The story, overridden by the caller's arguments; a known data set fills the fields that are still empty."""
    if dataset is not None and dataset != story.dataset:
        if dataset and not is_dataset_name(dataset):
            raise CheckpointError(f"There is no data set {dataset!r}. Known: {', '.join(FACTS)}.")
        story = replace(story, dataset=dataset, classes=(), mean=(), std=())
    known = find_facts(story.dataset)
    if known is not None:
        story = replace(story, classes=story.classes or known.classes)
        story = story if story.mean else replace(story, mean=known.mean, std=known.std)
    if mean is not None or std is not None:
        story = replace(story, mean=tuple(mean or story.mean or (0.0,)), std=tuple(std or story.std or (1.0,)))
    return replace(story, name=clean_name(name) or story.name)


def _fed(story: Story, architecture: str, config: Mapping[str, Any]) -> Story:
    """The story with mean and std per input channel, and with classes only if there is one per output."""
    shape, own = config.get("in_shape"), is_factory(architecture)
    channels = shape[0] if shape else len(story.mean) or 1 if own else max(3, len(story.mean))
    mean, std = story.mean or (0.0,) * channels, story.std or (1.0,) * channels
    if len(mean) not in (1, channels) or len(mean) != len(std):
        raise CheckpointError(
            f"mean and std have {len(mean)} and {len(std)} values, but the net takes {channels} channels. "
            "Give one value per channel, or the data set that it was trained on."
        )
    if not all(map(isfinite, (*mean, *std))) or not all(value > 0 for value in std):
        raise CheckpointError(
            f"mean is {mean} and std is {std}: they must be finite numbers, and std above 0. "
            "Give those of the images that the net was trained on."
        )
    classes = story.classes if len(story.classes) == config.get("classes", len(story.classes)) else ()
    return replace(story, mean=mean, std=std, classes=classes)


def _read(path: Path) -> tuple[File, str]:
    """The networks of a file or folder, and its sha256. Files that may hold a pickle are read in a separate process."""
    if path.is_dir():
        file = read_folder(path)
        return file, content_sha256(path)
    if kind_of(*read_start(path)) == "safetensors":
        data = read_whole(path)
        return read_safetensors(data), hashlib.sha256(data).hexdigest()
    digest = content_sha256(path)
    parts = sandbox.read_networks(path)
    networks = {place: safetensors_io.read_tensors(data) for place, data in parts.networks.items()}
    networks = {place: replace(loaded, was=parts.was) for place, loaded in networks.items()}
    story = next(iter(networks.values())).story  # only a file with a single network has a story
    return File(networks, parts.aside, parts.format, story), digest
