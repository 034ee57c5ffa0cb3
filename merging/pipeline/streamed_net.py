"""Network whose parameters stay in its file and are read on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from merging.network.lazy_tensors import LazyTensors
from merging.network.permutation import named_tensors
from merging.zoo.checkpoints.checkpoint import Checkpoint
from merging.zoo.checkpoints.sliced_checkpoint import SlicedCheckpoint


@dataclass(frozen=True, eq=False)
class StreamedNet:
    """Network of a checkpoint file, with tensors read on demand.

    Attributes:
        checkpoint: description of the file, with tensors on the meta device.
        module: in eval mode, with parameters on the meta device and buffers in memory.
        tensors: name -> tensor with the names of `named_tensors(module)`; values are read from the file on access.
    """

    checkpoint: Checkpoint
    module: nn.Module
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """The checkpoint's name, or its label if it has none."""
        return self.checkpoint.name or self.checkpoint.label

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The tensors that are parameters, by name."""
        return LazyTensors(tuple(name for name, _ in self.module.named_parameters()), self.tensors.__getitem__)


def streamed_net(opened: SlicedCheckpoint, device: torch.device) -> StreamedNet:
    """Return the network of an open checkpoint; its tensors are on `device` when they are read.

    Raises UnsupportedOperation as `SlicedCheckpoint.build` does.
    """
    module = opened.build()
    own = named_tensors(module)

    def read(name: str) -> Tensor:
        return (opened.tensors[name] if own[name].is_meta else own[name]).to(device)

    return StreamedNet(opened.checkpoint, module, LazyTensors(tuple(own), read))
