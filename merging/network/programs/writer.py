"""Writing a program and its tensors as torch.export.save does (.pt2): torch alone loads the file and runs it.

The file is made anew from the checked graph with an input of zeros of our own: no byte of a file that somebody brought
goes into it.
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
from merging.network.programs.module import ProgramModule, by_operations, constants_of, program_of
from merging.network.programs.program import Program

_KIND = "torch.nn.modules.module.Module"  # of every module: the original's classes are not known


def write(module: ProgramModule) -> bytes:
    """The network as a .pt2 file: `torch.export.load(file).module()(x)` gives what the module does, for any batch.

    Its tensors have their own names. Layers keep theirs where the file is read again. The module is left as it is.
    Raises UnsupportedOperation where torch cannot write it.
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
    """A copy on the CPU in float32 that runs every operation itself, its constants attributes under their own names."""
    twin = by_operations(module).cpu().float()
    for name, tensor in constants_of(twin).items():
        *path, leaf = name.split(".")
        owner: nn.Module = twin
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        setattr(owner, leaf, tensor)
    return twin


def _name_layers(exported: ExportedProgram, program: Program) -> None:
    """Give the operations the modules that they stand in, as the program says; and take away whose code ran them.

    torch adds checks and may compute sizes its own way; then the operations on tensors alone are named.
    """
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)
    for chosen in (_is_computed, _gives_tensors):
        operations = [node for node in exported.graph.nodes if chosen(node)]
        ours = [node for node in nodes_of(program, torch.float32) if chosen(node)]
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
