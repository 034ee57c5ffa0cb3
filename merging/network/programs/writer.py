"""Writing a program and its tensors as torch.export.save does (.pt2), so that torch alone can load and run the file.

The checked graph is exported again, on an input of zeros. No byte of a user's original file is copied into the new
file.
"""

from __future__ import annotations

import io
import warnings

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from merging.errors import UnsupportedOperation
from merging.network.graph.export import quiet
from merging.network.graph.layers import operator_name
from merging.network.programs.graph import DTYPES, FAILURES, FLOAT, IMAGES, nodes_of, shortened
from merging.network.programs.module import ProgramModule, by_operations, program_constants, program_of
from merging.network.programs.program import Program

_KIND = "torch.nn.modules.module.Module"  # used for every module, because the original's classes are unknown


def write_program(module: ProgramModule) -> bytes:
    """Return the network as the bytes of a .pt2 file.

    `torch.export.load(file).module()(x)` returns the module's output, for any batch size. Tensors keep their names, and
    layers have the same names when the file is read again. The module is not changed. Raises UnsupportedOperation where
    torch cannot write the file.
    """
    program = program_of(module)
    twin = _writable(module)
    x = torch.zeros((IMAGES, *program.shape), dtype=torch.float32 if program.dtype == FLOAT else DTYPES[program.dtype])
    out = io.BytesIO()
    try:
        with torch.no_grad(), quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(twin, (x,), strict=False, dynamic_shapes=({0: Dim.DYNAMIC},))
            _name_layers(exported, program)
            torch.export.save(exported, out)
    except FAILURES as error:
        raise UnsupportedOperation(f"torch cannot write this network as a program: {shortened(error)}") from error
    return out.getvalue()


def _writable(module: ProgramModule) -> ProgramModule:
    """Return a float32 copy on the CPU that runs plain operations and has its constants as named attributes."""
    twin = by_operations(module).cpu().float()
    for name, tensor in program_constants(twin).items():
        *path, leaf = name.split(".")
        owner: nn.Module = twin
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        setattr(owner, leaf, tensor)
    return twin


def _name_layers(exported: ExportedProgram, program: Program) -> None:
    """Set the program's module paths on the exported operations, and remove their stack traces.

    torch may add checks and compute sizes in its own way. If the exported operations therefore differ from the
    program's, only operations that return tensors get paths.
    """
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)
    for selects in (_is_computed, _gives_tensors):
        operations = [node for node in exported.graph.nodes if selects(node)]
        ours = [node for node in nodes_of(program, torch.float32) if selects(node)]
        if [node.target for node in operations] == [node.target for node in ours]:
            for node, own in zip(operations, ours, strict=True):
                calls = own.meta["nn_module_stack"]
                node.meta["nn_module_stack"] = {f"call_{call}": (path, _KIND) for call, (path, _) in calls.items()}
            return


def _is_computed(node: Node) -> bool:
    return node.op == "call_function" and not operator_name(node).startswith(("_assert", "sym_constrain"))


def _gives_tensors(node: Node) -> bool:
    own = operator_name(node) == "getitem" or getattr(node.target, "namespace", "") == "aten"
    return _is_computed(node) and own and not operator_name(node).startswith("sym_")
