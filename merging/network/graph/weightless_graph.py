"""The graph of a network whose parameters have shapes and no numbers, so that the weights of a large one are not held.

torch.export follows it on the meta device. What only a run shows is learned from stand-ins: parameters that hold one
number in the memory of one number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from merging.errors import UnsupportedOperation
from merging.network.copying import copied
from merging.network.graph.export import exported, operations_of, sources_of
from merging.network.graph.graph import Graph, recorded
from merging.network.permutation import named_tensors

STAND_IN = 0.01  # not 0, with which a normalised weight would be 0/0


@torch.inference_mode(False)  # the caller's would make tensors that cannot be recorded
def export_weightless(model: nn.Module, example: Tensor) -> Graph:
    """The graph of a network with parameters on the meta device and buffers on the CPU: as `graph.export` gives it for
    that network with any weights.

    example: (n, ...) on the CPU. Raises UnsupportedOperation as `graph.export` does, and where the forward pass reads
    tensors that are neither parameters nor buffers.
    """
    program, twin, inputs = exported(copied(model).to("meta"), example.to("meta"))
    sources, constants = sources_of(program, twin)
    unknown = [name for name, constant in constants.items() if constant.is_meta]
    unknown += [name for name, tensor in model.named_buffers() if tensor.is_meta]
    if unknown:
        raise UnsupportedOperation(
            f"Without its weights, the numbers of the network's tensor {unknown[0]} are not known."
        )
    nodes = operations_of(program)
    (result,) = next(node for node in program.graph.nodes if node.op == "output").args[0]
    tensors = {name: _stand_in(tensor) if tensor.is_meta else tensor for name, tensor in named_tensors(model).items()}
    images = example[torch.arange(len(inputs)) % len(example)]
    try:
        return recorded(nodes, program.graph_signature.user_inputs[0], result.name, sources, tensors, constants, images)
    except RuntimeError as error:
        raise UnsupportedOperation(f"The network's graph does not run by itself: {error}") from error


def _stand_in(tensor: Tensor) -> Tensor:
    return torch.full((), STAND_IN, dtype=tensor.dtype).expand(tensor.shape)
