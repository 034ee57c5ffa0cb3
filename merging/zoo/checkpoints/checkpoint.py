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

from merging.errors import CheckpointError, UnknownArchitecture
from merging.zoo.architectures import build
from merging.zoo.architectures.names import with_known
from merging.zoo.checkpoints import sandbox
from merging.zoo.checkpoints.metadata import Story, clean_name, read_story
from merging.zoo.checkpoints.reading import safetensors_io
from merging.zoo.checkpoints.reading.kinds import kind_of
from merging.zoo.checkpoints.recognise import Recognised, fit, recognise
from merging.zoo.datasets.facts import FACTS
from merging.zoo.torchvision_import import imported


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """state: name -> float32 tensor (counters int64).  mean, std: one value a channel of images in 0..1.

    architecture: a key of `ARCHITECTURES`, or "package.module:factory" where the caller said so.  dataset, classes:
    empty where not known.  sha256: of the file.  renamed: the file's tensor names -> these, where they differ.
    was: the number types that the file held.
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

    def build(self) -> nn.Module:
        """A new module with these weights, in eval mode, on the CPU.

        Raises UnknownArchitecture where a factory of the caller's own does not give a module that fits.
        """
        if ":" not in self.architecture:
            model = build(self.architecture, self.config, self.mean, self.std)
            model.load_state_dict(self.state)
            return model.eval()
        try:
            model = _factory(self.architecture)(**self.config)
            model.load_state_dict(self.state)
        except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise UnknownArchitecture(f"{self.architecture} does not fit {self.name}: {error}") from error
        return model.eval()

    def to_bytes(self) -> bytes:
        """This checkpoint as a safetensors file, under our tensor names and with its story; see `save_checkpoint`."""
        kept = ("architecture", "config", "name", "dataset", "classes", "mean", "std", "seed", "epochs")
        return save_checkpoint(self.state, **{key: getattr(self, key) for key in kept})


def load_checkpoint(
    path: str | Path,
    *,
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Checkpoint:
    """A checkpoint from a safetensors or torch.save file; what the file does not say is recognised from its tensors.

    architecture: a key of `ARCHITECTURES`, or "package.module:factory" for a net of your own, whose factory is called
    with `config`. For the known ones config has what shapes cannot tell, such as {"nonlinearity": "tanh"}.
    dataset: a known data set, which gives classes, mean and std. mean, std: one value a channel.
    Raises CheckpointError for files that are damaged, hostile or no checkpoint, UnknownArchitecture where no known
    net fits.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(300), path.stat().st_size)
            file.seek(0)
            data = sandbox.convert(path).data if kind == "torch.save" else file.read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    known: dict[str, Any] = {"dataset": dataset, "mean": mean, "std": std}
    found = load_bytes(data, architecture=architecture, config=config, **known)
    return found if found.name else replace(found, name=clean_name(path.stem))


def load_bytes(
    data: bytes,
    *,
    name: str = "",
    architecture: str | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Checkpoint:
    """A checkpoint from the bytes of a safetensors file; arguments win over what the file says of itself.

    Raises CheckpointError and UnknownArchitecture as `load_checkpoint` does.
    """
    if kind_of(data) != "safetensors":
        raise CheckpointError(
            "These bytes are no safetensors file. Convert them with merging.zoo.checkpoints.sandbox.convert."
        )
    loaded = safetensors_io.read(data)
    story = _completed(read_story(loaded.story), name, dataset, mean, std)
    found = _recognised(loaded.state, story, architecture, config)
    story = _fed(story, found)
    return Checkpoint(
        story.name, found.architecture, found.config, found.state, story.dataset, story.classes, story.mean, story.std,
        story.seed, hashlib.sha256(data).hexdigest(), story.epochs, found.renamed, loaded.was,
    )  # fmt: skip


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
) -> bytes:
    """The bytes of a safetensors file with the net's story in its metadata; tied tensors are saved once.

    The same arguments give the same bytes. `load_bytes` gives the checkpoint back.
    """
    story = Story(
        clean_name(name), architecture, dict(config), dataset, tuple(classes), tuple(mean), tuple(std), seed, epochs
    )
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    return safetensors_io.write(tensors, asdict(story))


def _completed(
    story: Story, name: str, dataset: str | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Story:
    """The story with what the caller says in its place; a known data set gives what is still open."""
    if dataset is not None and dataset != story.dataset:
        if dataset and dataset not in FACTS:
            raise CheckpointError(f"There is no data set {dataset!r}. Known: {', '.join(FACTS)}.")
        story = replace(story, dataset=dataset, classes=(), mean=(), std=())
    known = FACTS.get(story.dataset)
    if known is not None and not story.mean:
        story = replace(story, classes=story.classes or known.classes, mean=known.mean, std=known.std)
    if mean is not None or std is not None:
        story = replace(story, mean=tuple(mean or story.mean or (0.0,)), std=tuple(std or story.std or (1.0,)))
    return replace(story, name=clean_name(name) or story.name)


def _recognised(
    state: Mapping[str, Tensor], story: Story, architecture: str | None, config: Mapping[str, Any] | None
) -> Recognised:
    if architecture is not None and ":" in architecture:
        return Recognised(architecture, dict(config or {}), dict(state), {})
    if story.architecture and architecture in (None, story.architecture):
        return fit(state, story.architecture, with_known(story.config, config))
    return recognise(state, architecture or "", config)


def _fed(story: Story, found: Recognised) -> Story:
    """Mean and std for as many channels as the net takes; the classes, only where they are as many as its outputs."""
    shape = found.config.get("in_shape")
    channels = shape[0] if shape else max(3, len(story.mean)) if ":" not in found.architecture else len(story.mean) or 1
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
    classes = story.classes if len(story.classes) == found.config.get("classes", len(story.classes)) else ()
    return replace(story, mean=mean, std=std, classes=classes)


def _factory(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(imported(module), function)
    except (ImportError, AttributeError) as error:
        raise UnknownArchitecture(f"{name} cannot be imported: {error}. Give package.module:factory.") from error
