"""The graph of a network whose parameters have shapes but no values, so that large weights need not be in memory.

torch.export runs on the meta device. Properties that only a real run shows are recorded with stand-ins: parameters
whose entries all share the memory of a single number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from merging.errors import UnsupportedOperation
from merging.network.copying import copied
from merging.network.graph.export import exported
from merging.network.graph.graph import Graph, recorded
from merging.network.permutation import named_tensors

STAND_IN = 0.01  # not 0: a normalised weight would become 0/0


@torch.inference_mode(False)  # the caller's inference mode would make tensors that cannot be recorded
def export_weightless(model: nn.Module, example: Tensor) -> Graph:
    """Return the graph of a network with parameters on the meta device and buffers on the CPU.

    The graph equals the one that `graph.export` gives for that network with any weights.

    Args:
        model: the network.
        example: (n, ...) on the CPU.
    Raises:
        UnsupportedOperation: as in `graph.export`, and when a buffer, or another tensor that is no parameter but is
            read by the forward pass, has no values.
    """
    operations, _, inputs = exported(copied(model).to("meta"), example.to("meta"))
    unknown = [name for name, constant in operations.constants.items() if constant.is_meta]
    unknown += [name for name, tensor in model.named_buffers() if tensor.is_meta]
    if unknown:
        raise UnsupportedOperation(
            f"Without the network's weights, the values of its tensor {unknown[0]} are not known."
        )
    tensors = {name: _stand_in(tensor) if tensor.is_meta else tensor for name, tensor in named_tensors(model).items()}
    images = example[torch.arange(len(inputs)) % len(example)]
    try:
        return recorded(operations, tensors, images)
    except RuntimeError as error:
        raise UnsupportedOperation(f"The network's graph does not run without the network's code: {error}") from error


def _stand_in(tensor: Tensor) -> Tensor:
    return torch.full((), STAND_IN, dtype=tensor.dtype).expand(tensor.shape)
