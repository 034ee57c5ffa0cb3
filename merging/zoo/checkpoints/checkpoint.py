"""Checkpoints: a net's weights with all that is needed to rebuild it and to feed it images.

safetensors files are read here. torch.save files are pickles: a process of its own turns them into safetensors first
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
from merging.zoo.architectures.normalise import load_strictly
from merging.zoo.checkpoints import sandbox
from merging.zoo.checkpoints.evidence import Measured, door_images
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
    """state: name -> tensor, floating ones float32, whole numbers int64.  mean, std: one value per channel in 0..1.

    architecture: a key of `ARCHITECTURES`, "torchvision/NAME", "timm/NAME", or "package.module:factory" where the
    caller said so.  dataset, classes: empty where not known.  sha256: of the file.  renamed: the file's tensor names ->
    these, where they differ.  was: the number types that the file held.  weights: where the network stands in the file.
    aside: what else the file holds.  why: the reason for this architecture, in words.  measured: accuracies on test
    images, where some were given, the best normalisation first.  program: of an exported network.
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
        """The architecture in words."""
        return describe(self.architecture, {} if is_factory(self.architecture) else self.config)

    @property
    def names(self) -> dict[str, str]:
        """Our tensor names -> those of the person's own module, where they differ."""
        pairs = {ours: unwrapped_name(theirs) for theirs, ours in (self.renamed or {}).items()}
        return {ours: name for ours, name in pairs.items() if ours != name}

    def build(self) -> nn.Module:
        """A new module with these weights, in eval mode, on the CPU; it takes images in 0..1 and normalises them.

        Raises UnknownArchitecture where a factory of the caller's own does not give a module that fits.
        """
        if self.program is not None:
            return build_program(self.program, self.state, self.mean, self.std)
        if is_factory(self.architecture):
            return build_own(self.architecture, self.config, self.state, self.mean, self.std)
        return load_strictly(build(self.architecture, self.config, self.mean, self.std), self.state)

    def to_bytes(self) -> bytes:
        """This checkpoint as a safetensors file, under the person's own tensor names and with its story."""
        kept = ("program", "config", "name", "dataset", "classes", "mean", "std", "seed", "epochs")
        said = {key: getattr(self, key) for key in kept} | {"names": self.names}
        return save_checkpoint(
            self.state, architecture="" if is_factory(self.architecture) else self.architecture, **said
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
    """A checkpoint from a safetensors, torch.save or torch.export file, or a folder of safetensors files with an index.

    architecture: a key of `ARCHITECTURES`, "torchvision/NAME", "timm/NAME", or "package.module:factory" for a net of
    your own, whose factory is called with `config`. For the known ones config has what shapes cannot tell, such as
    {"nonlinearity": "tanh"}.  dataset: a known data set that the net was trained on, which gives classes, mean and std.
    data: test images, or a data set's name: what cannot be known from the tensors (wiring, normalisation) is measured
    on them.  mean, std: one value per channel.  weights: where the network stands in a file that holds several.
    programs: exported programs that the file may be another seed of (`Checkpoint.program`).
    Raises CheckpointError for files that are damaged, hostile or no checkpoint, UnknownArchitecture where no known net
    fits, AmbiguousCheckpoint (with .candidates) where several do and no images decide.
    """
    path = Path(path)
    with told_in_words(path):
        file, sha256 = _read(path)
    known: dict[str, Any] = {"dataset": dataset, "mean": mean, "std": std, "data": data, "weights": weights}
    known["programs"] = programs
    loaded = from_file(file, sha256, architecture=architecture, config=config, **known)
    return loaded if loaded.name else replace(loaded, name=clean_name(path.stem))


def load_bytes(data: bytes, **options: Any) -> Checkpoint:
    """A checkpoint from the bytes of a safetensors file. options: as of `from_file`, which win over what it says.

    Raises as `load_checkpoint` does.
    """
    if kind_of(data) != "safetensors":
        raise CheckpointError("These bytes are no safetensors file. Convert them with checkpoints.sandbox.convert.")
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
    """The checkpoint that a file's networks are, or one of them; arguments and errors as of `load_checkpoint`."""
    images = None if data is None else door_images(data)
    stated = None if mean is None and std is None else (tuple(mean or (0.0,)), tuple(std or (1.0,)))
    resolved = resolve(file, Asked(architecture or "", dict(config or {}), weights, images, stated, tuple(programs)))
    story = _completed(read_story(resolved.loaded.story), name, dataset, mean, std)
    if stated is None and resolved.measured and not read_story(resolved.loaded.story).mean:
        best = resolved.measured[0]
        story = replace(story, mean=best.mean, std=best.std)
    found = resolved.network
    story = _fed(story, found.architecture, found.config)
    return Checkpoint(
        story.name, found.architecture, found.config, found.state, story.dataset, story.classes, story.mean, story.std,
        story.seed, sha256, story.epochs, found.renamed, resolved.loaded.was, resolved.weights,
        (*file.aside, *found.aside), resolved.why, resolved.measured, found.program,
    )  # fmt: skip


def trained_on(checkpoint: Checkpoint, dataset: str) -> Checkpoint:
    """The checkpoint with a data set that it does not name itself: its classes, and its mean and std where they were
    not measured. Raises CheckpointError for images of another number of channels."""
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
    """The bytes of a safetensors file with the net's story in its metadata; tied tensors are saved once.

    program: of an exported network; a module made of one brings it along.  names: our tensor names -> the person's,
    under which they are written. The same arguments give the same bytes. `load_bytes` gives the checkpoint back.
    """
    story = Story(
        clean_name(name), architecture, dict(config), dataset, tuple(classes), tuple(mean), tuple(std), seed, epochs
    )
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    if program is None and isinstance(state, ProgramModule):
        program = plain_program(state)
    if program is None:
        return safetensors_io.write(*named_with_story(tensors, story, names))
    return safetensors_io.write(tensors, {**asdict(story), **program_story(program.program)}, program.constants)


def named_with_story(
    state: Mapping[str, Tensor], story: Story, names: Mapping[str, str] | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `safetensors_io.write` is given of a checkpoint: its tensors, of any shapes, under the person's names (see
    `save_checkpoint`), and the story beside them."""
    named = {(names or {}).get(name, name): tensor for name, tensor in state.items()}
    return named, {**asdict(story), **({"names": dict(names)} if names else {})}


def content_sha256(path: Path) -> str:
    """The sha256 of a file, or of the names and contents of a folder's checkpoint files. Raises CheckpointError."""
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
    """The story with what the caller says in its place; a known data set gives what is still open."""
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
    """Mean and std for as many channels as the net takes; the classes, only where they are as many as its outputs."""
    shape, own = config.get("in_shape"), is_factory(architecture)
    channels = shape[0] if shape else len(story.mean) or 1 if own else max(3, len(story.mean))
    mean, std = story.mean or (0.0,) * channels, story.std or (1.0,) * channels
    if len(mean) not in (1, channels) or len(mean) != len(std):
        raise CheckpointError(
            f"mean and std have {len(mean)} and {len(std)} values, but the net takes {channels} channels. "
            "Give one value a channel, or the data set that it was trained on."
        )
    if not all(map(isfinite, (*mean, *std))) or not all(value > 0 for value in std):
        raise CheckpointError(
            f"mean is {mean} and std is {std}: they must be finite numbers, and std above 0. "
            "Give those of the images that the net was trained on."
        )
    classes = story.classes if len(story.classes) == config.get("classes", len(story.classes)) else ()
    return replace(story, mean=mean, std=std, classes=classes)


def _read(path: Path) -> tuple[File, str]:
    """The networks of a file or folder and its sha256. What may hold a pickle is read in a process of its own."""
    if path.is_dir():
        file = read_folder(path)
        return file, content_sha256(path)
    if kind_of(*read_start(path)) == "safetensors":
        data = read_whole(path)
        return read_safetensors(data), hashlib.sha256(data).hexdigest()
    digest = content_sha256(path)
    parts = sandbox.read(path)
    networks = {place: safetensors_io.read(data) for place, data in parts.networks.items()}
    networks = {place: replace(loaded, was=parts.was) for place, loaded in networks.items()}
    story = next(iter(networks.values())).story  # one network's is the file's
    return File(networks, parts.aside, parts.format, story), digest
