"""Networks named on the command line, each by a checkpoint file or by the id of a shipped checkpoint."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from merging.cli.console import say_note
from merging.cli.options import Options, read_config
from merging.errors import CheckpointError, InvalidRequest, InvalidSetting
from merging.jobs.requests.base import ModelRef
from merging.zoo.architectures.names import PROGRAM
from merging.zoo.catalogue import shipped, shipped_file
from merging.zoo.checkpoints.candidates import evidence_words, shared_normalisation
from merging.zoo.datasets.load import available

if TYPE_CHECKING:
    import torch
    from torch import nn

    from merging.zoo.checkpoints.checkpoint import Checkpoint


ABOUT_FILES = ("architecture", "config", "mean", "std", "weights")  # options for facts that files do not state


@dataclass(frozen=True)
class Net:
    """A network named on the command line. data: safetensors bytes with Mergescope's tensor names."""

    checkpoint: Checkpoint
    data: bytes

    @property
    def is_own(self) -> bool:
        """Whether a factory of the user builds this network."""
        return ":" in self.checkpoint.architecture

    @property
    def label(self) -> str:
        """Readable name of the architecture."""
        return self.checkpoint.label

    @property
    def ref(self) -> ModelRef:
        """Reference by which a request names this network. Raises InvalidRequest if the user's factory builds it."""
        if self.is_own:
            raise InvalidRequest(
                f"{self.checkpoint.architecture} is a factory of your own: only `inspect`, `merge`, `zip`, `curve` "
                "and `similarity` take such networks. All other commands need a network that `inspect` recognises."
            )
        return ref_of(self.checkpoint, hashlib.sha256(self.data).hexdigest())

    def module(self, device: torch.device | str = "cpu") -> nn.Module:
        """The network on a device, in eval mode. Raises UnknownArchitecture if a factory returns no network."""
        return self.checkpoint.build().to(device)


def ref_of(checkpoint: Checkpoint, sha256: str) -> ModelRef:
    """Return the reference by which requests name a network. sha256: hash of its file in Mergescope's format."""
    keys = ("name", "architecture", "config", "dataset", "classes", "mean", "std")
    values: dict[str, Any] = {key: getattr(checkpoint, key) for key in keys}
    return ModelRef(sha256, **{**values, "name": values["name"] or checkpoint.label})


def read_nets(options: Options) -> list[Net]:
    """Read A, B and the further networks. A note says if two are the same, which is useful only as a check.

    Raises InvalidSetting like `refuse_useless_options`, and the errors of `read_net`.
    """
    names = (options.a, options.b, *getattr(options, "more", ()))
    refuse_useless_options(names, options)
    nets = _fed_alike([read_net(name, options) for name in names])
    first: dict[str, str] = {}
    for name, net in zip(names, nets, strict=True):
        if net.checkpoint.sha256 in first:
            say_note(f"{first[net.checkpoint.sha256]} and {name} are the same network.")
        first.setdefault(net.checkpoint.sha256, name)
    return nets


def refuse_useless_options(names: tuple[str, ...], options: Options) -> None:
    """Raise InvalidSetting if options of ABOUT_FILES would be ignored, because all networks are shipped ones."""
    useless = [option for option in ABOUT_FILES if getattr(options, option, None)]
    if useless and {*names} <= {entry.id for entry in shipped()}:
        raise InvalidSetting(
            f"--{useless[0]} is for files; shipped networks state this themselves. Leave the option out."
        )


def _fed_alike(nets: list[Net]) -> list[Net]:
    """Give all networks the normalisation with their highest total accuracy, because a merge uses only one.

    The networks are returned unchanged if they already have the same one, or if none suits all of them.
    """
    best = shared_normalisation([[one.to_dict() for one in net.checkpoint.measured] for net in nets])
    if len({net.checkpoint.mean + net.checkpoint.std for net in nets}) == 1 or best is None:
        return nets
    say_note(f"All images are normalised with {best}, which gives the networks the highest total accuracy.")
    return [_normalised(net, best) for net in nets]


def _normalised(net: Net, words: str) -> Net:
    way = next(one for one in net.checkpoint.measured if one.normalisation == words)
    checkpoint = replace(net.checkpoint, mean=way.mean, std=way.std)
    return Net(checkpoint, checkpoint.to_bytes())


def read_net(name: str, options: Options) -> Net:
    """Read the network of this file, folder or id, and measure it on the images of --data if they are on this machine.

    Raises CheckpointError if there is no such file or id, and the errors of `load_checkpoint`.
    """
    from merging.zoo.checkpoints.checkpoint import load_bytes, load_checkpoint, trained_on

    entries = {entry.id: entry for entry in shipped()}
    if name in entries:
        path = shipped_file(entries[name].sha256)
        data = path.read_bytes() if path else b""
        return Net(load_bytes(data), data)
    if not os.path.exists(name):
        near = get_close_matches(name, entries, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Shipped: {', '.join(entries)}."
        raise CheckpointError(f"There is no file and no shipped checkpoint {name!r}. {hint}")
    keywords = said_of(options)
    if keywords["architecture"] and keywords["architecture"].endswith(".pt2"):
        program = load_checkpoint(keywords["architecture"]).program
        keywords |= {"architecture": PROGRAM, "programs": [program] if program else []}
    images = getattr(options, "data", None)
    here = images if images and available(images) else None
    checkpoint = load_checkpoint(name, data=here, **keywords)
    if images and not checkpoint.dataset and not options.mean:
        checkpoint = trained_on(checkpoint, images)
    _tell(name, checkpoint)
    return Net(checkpoint, checkpoint.to_bytes())


def said_of(options: Options) -> dict[str, Any]:
    """Return the facts that the options state for files that lack them, as keywords of `load_checkpoint`."""
    keywords: dict[str, Any] = {key: getattr(options, key) for key in ("architecture", "mean", "std", "weights")}
    return keywords | {"config": read_config(options.config) if options.config else None}


def _tell(name: str, checkpoint: Checkpoint) -> None:
    """Write a note about each fact that was inferred because the file does not state it."""
    if checkpoint.measured:
        evidence = evidence_words([one.to_dict() for one in checkpoint.measured])
        say_note(f"{name} is {checkpoint.label}, {checkpoint.why}. It has {evidence}.")
    if checkpoint.aside:
        more = f" and {len(checkpoint.aside) - 6} more" if len(checkpoint.aside) > 6 else ""
        say_note(f"{name} also holds entries that are not used: {', '.join(checkpoint.aside[:6])}{more}.")
    if checkpoint.measured and not checkpoint.measured[0].above_chance:
        say_note(f"WARNING: {name} is right no more often than chance. Check architecture, --mean, --std and --data.")


def chosen_device(options: Options) -> str:
    """Return "cuda" or "cpu" as --device says, and set torch's threads. Raises InvalidSetting if the GPU is missing."""
    import torch

    from merging.jobs.tasks.machine import configure_torch

    configure_torch(options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InvalidSetting("torch finds no GPU on this machine. Leave --device out, or install torch for your GPU.")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return best if options.device == "auto" else str(options.device)
