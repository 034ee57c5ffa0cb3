"""Torch modules built from a program and its tensors, with the original's tensor names but without its code."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels, UnsupportedOperation
from merging.network.graph import interpreter
from merging.network.graph.caches import refuse_copies
from merging.network.graph.export import Operations
from merging.network.graph.graph import Graph, ModuleWithGraph, recorded
from merging.network.permutation import named_tensors
from merging.network.programs.graph import DTYPES, FAILURES, FLOAT, nodes_of, shortened, steps_of, trial
from merging.network.programs.parts import parts_of
from merging.network.programs.program import Program, ProgramTensor


class ProgramModule(ModuleWithGraph):
    """The network of a program, always in eval mode; `forward` returns the original's output, for any batch size.

    Convolutions, linear layers and norms that own their tensors are torch's own modules, so that hooks can be set on
    them and BatchNorm statistics can be re-estimated. Tensors are copied.

    Args:
        program: the graph of operations.
        state: name -> tensor, a strict state dict of the original. Of the names of tied tensors, only the first is
            required.
        constants: name -> tensor, the tensors outside the state dict. They are stored as plain attributes; `.to()`
            moves them too.
    Raises:
        IncompatibleModels: when the tensors do not have the names, shapes and types of the program's.
    """

    def __init__(self, program: Program, state: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._program = program
        trial(program)  # raises if the program does not run
        self._constants = {entry.name: _fitting(entry, constants, "constant") for entry in program.constants}
        self._parts = dict(parts_of(program)[1])
        _refuse_unknown({*state} - {entry.name for entry in program.state}, "tensor")
        _refuse_unknown({*constants} - self._constants.keys(), "constant")
        registered: dict[str, Any] = {}
        for entry in program.state:
            first = entry.same_as or entry.name
            if first not in registered:
                registered[first] = _held(entry, _fitting(entry, state, "tensor"))
            elif entry.name in state and not _same(state[entry.name], state[first]):
                raise IncompatibleModels(
                    f"{first} and {entry.name} are one tensor in the network, but differ in value."
                )
            _put(self, program, entry, registered[first])
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's output. x: (n, ...) like the program's input, any n."""
        steps = [self._bound(step) for step in steps_of(self._program, self._floating)]
        values: dict[str, Any] = {}
        for placeholder, name in self._program.reads:
            constant = self._constants.get(name)
            values[placeholder] = attrgetter(name)(self) if constant is None else constant
        values[self._program.input] = x.clone() if trial(self._program).writes_input else x
        interpreter.run(steps, values, x.device, set(), None)
        output: Tensor = values[self._program.output]
        return output

    @torch.inference_mode(False)
    def graph_on(self, example: Tensor) -> Graph:
        """Return the graph of the program, recorded on example (n, ...); n may be 1. The module is not changed.

        Nodes and layers have the same names as in the original's graph.

        Raises:
            UnsupportedOperation: when the program does not run on the example, or reads a copy of a weight that was
                stored at export.
        """
        program, nodes = self._program, nodes_of(self._program, self._floating)
        example = example.detach().clone()
        example = torch.cat([example, example])[:2] if len(example) < 2 else example
        united = {id(tensor): name for name, tensor in (*self.named_parameters(), *self.named_buffers())}
        every = (*self.named_parameters(remove_duplicate=False), *self.named_buffers(remove_duplicate=False))
        names = {name: united[id(tensor)] for name, tensor in every}
        tensors = named_tensors(self)
        sources = {placeholder: names[name] for placeholder, name in program.reads if name in names}
        constants = {placeholder: self._constants[name] for placeholder, name in program.reads if name not in names}
        refuse_copies({name: tensors[name] for name in tensors.keys() - sources.values()}, constants.values())
        try:
            return recorded(Operations(nodes, program.input, program.output, sources, constants), tensors, example)
        except FAILURES as error:
            raise UnsupportedOperation(
                f"The network does not run on inputs of shape {tuple(example.shape)}; it was exported with "
                f"(n, {', '.join(map(str, program.shape))}): {shortened(error)}"
            ) from error

    @property
    def _floating(self) -> torch.dtype:
        """The network's current floating-point type."""
        tensors = (*self.parameters(), *self.buffers())
        return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)

    def _bound(self, step: interpreter.Step) -> interpreter.Step:
        """Return the step; where a torch module performs its operation, the step calls that module instead."""
        path = self._parts.get(step.node)
        return step if path is None else replace(step, call=self.get_submodule(path), args=step.args[:1], kwargs={})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ProgramModule:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._constants = {name: fn(tensor) for name, tensor in self._constants.items()}
        return self


def by_operations(model: ProgramModule) -> ProgramModule:
    """Return a copy that runs convolutions, linear layers and norms as plain operations instead of torch's modules."""
    twin = copy.deepcopy(model)
    twin._parts = {}
    return twin


def program_of(model: ProgramModule) -> Program:
    """Return the program that the module runs."""
    return model._program


def program_constants(model: ProgramModule) -> dict[str, Tensor]:
    """Return the tensors that are not in the module's state dict: name -> tensor."""
    return dict(model._constants)


def _fitting(entry: ProgramTensor, tensors: Mapping[str, Tensor], what: str) -> Tensor:
    """Return a copy of an entry's tensor. Raises IncompatibleModels if it is missing or has another shape or type."""
    tensor = tensors.get(entry.name)
    if tensor is None:
        raise IncompatibleModels(f"The network's {what} {entry.name} is missing.")
    if tuple(tensor.shape) != entry.shape:
        raise IncompatibleModels(f"{entry.name} has shape {tuple(tensor.shape)}; the network needs {entry.shape}.")
    floating = entry.dtype == FLOAT
    if tensor.is_floating_point() != floating or tensor.is_complex() != (entry.dtype == "complex64"):
        raise IncompatibleModels(f"{entry.name} holds {tensor.dtype} numbers; the network needs {entry.dtype} numbers.")
    return tensor.detach().to(tensor.dtype if floating else DTYPES[entry.dtype], copy=True)


def _held(entry: ProgramTensor, tensor: Tensor) -> Tensor:
    return nn.Parameter(tensor, requires_grad=entry.dtype == FLOAT) if entry.kind == "parameter" else tensor


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


def _put(root: nn.Module, program: Program, entry: ProgramTensor, tensor: Any) -> None:
    """Register a tensor under its dotted name, and create the modules along that name."""
    *path, leaf = entry.name.split(".")
    owner = root
    for depth, name in enumerate(path, 1):
        if name not in owner._modules:
            part = parts_of(program)[0].get(".".join(path[:depth]))
            owner.add_module(name, nn.Module() if part is None else part.build())
        owner = owner.get_submodule(name)
    if entry.kind == "parameter":
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor)


def _refuse_unknown(names: set[str], what: str) -> None:
    if names:
        raise IncompatibleModels(f"The network has no {what} {min(names)[:200]}.")
