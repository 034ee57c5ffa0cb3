"""A network whose parameters stay in its file, as the steps of a merge take it."""

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
    """checkpoint: with tensors on the meta device.  module: in eval mode, with parameters there and buffers in memory.

    tensors: name -> tensor of any shape, as in `named_tensors` of the module, but with numbers: read when asked for.
    """

    checkpoint: Checkpoint
    module: nn.Module
    tensors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.checkpoint.name or self.checkpoint.label

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """The tensors that are parameters, of any shape."""
        return LazyTensors(tuple(name for name, _ in self.module.named_parameters()), self.tensors.__getitem__)


def streamed_net(opened: SlicedCheckpoint, device: torch.device) -> StreamedNet:
    """The network of a checkpoint; its tensors, once read, are on the device.

    Raises UnsupportedOperation as `SlicedCheckpoint.build` does.
    """
    module = opened.build()
    own = named_tensors(module)

    def read(name: str) -> Tensor:
        return (opened.tensors[name] if own[name].is_meta else own[name]).to(device)

    return StreamedNet(opened.checkpoint, module, LazyTensors(tuple(own), read))
