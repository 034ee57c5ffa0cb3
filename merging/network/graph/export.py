"""Calls of torch.export whose failures become readable errors, with the cause in the model and the remedy."""

from __future__ import annotations

import inspect
import io
import logging
import re
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from merging.errors import UnsupportedOperation
from merging.network.copying import copied
from merging.network.graph.caches import kept_tensors, refuse_caches
from merging.network.graph.code import code_of, look_of
from merging.network.outputs import described, remedy

# Errors of torch.export: from its own checks, and from the model's code that it runs.
_FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError)
# A warning of torch.export about recurrent layers, which keep a list of their weights, and weights set by hooks.
_ASSIGNED = r"The tensor attributes? .* (was|were) assigned during export"
ONE_INPUT = "Networks are called with one tensor. If yours takes more, wrap it in a module that supplies the others."
_BAKED = ("view", "reshape", "_unsafe_view", "expand", "unflatten", "new_zeros", "new_ones", "zeros", "ones", "full")


@dataclass(frozen=True)
class Operations:
    """What torch.export finds in a network, without its weights.

    Attributes:
        nodes: the operations in network order.
        input, output: node names.
        sources: placeholder -> tensor name.
        constants: placeholder -> a tensor that is neither parameter nor buffer.
    """

    nodes: tuple[Node, ...]
    input: str
    output: str
    sources: Mapping[str, str]
    constants: Mapping[str, Tensor]


MOST_KNOWN = 64
_known: dict[Hashable, Operations] = {}  # code, and look of the example -> operations


def exported(model: nn.Module, example: Tensor) -> tuple[Operations, nn.Module, Tensor]:
    """Export `model` in eval mode. Operations of networks whose code is known to stay the same are found once.

    Args:
        model: the network, not changed.
        example: (n, ...), on the model's device.
    Returns:
        The operations, the copy of the model that was exported, and the example that was used (at least two images).
    Raises:
        UnsupportedOperation: when the model does not run on the example, cannot be written as one graph, fixes the
            batch size, or does not return exactly one tensor.
    """
    if not isinstance(example, Tensor) or example.dim() < 1:
        raise UnsupportedOperation("The example must be one tensor whose first dimension counts the images.")
    twin = copied(model)
    kept = kept_tensors(twin)
    example = example.detach().clone()
    if len(example) < 2:  # torch.export would treat a batch size of one as a constant
        example = torch.cat([example, example])[:2]
    with torch.no_grad():
        try:
            output = twin(example.clone())
        except _FAILURES as error:
            words = f" The input has type {example.dtype}; images must be floats." if _is_integer(example) else ""
            words += f" {ONE_INPUT}" if isinstance(error, TypeError) else ""
            raise UnsupportedOperation(
                f"The network does not run on images of shape {tuple(example.shape)}: {_short(error)}{words}"
            ) from error
        if not isinstance(output, Tensor):
            raise UnsupportedOperation(
                f"The network returns {described(output)} instead of one tensor (images, classes). {remedy(output)}"
            )
        code = code_of(twin, known=True)
        key = None if code is None else (code, look_of(example))
        operations = _known.get(key)
        if operations is None:
            program = _export(twin, example)
            refuse_caches(kept, twin, (c for c in program.constants.values() if isinstance(c, Tensor)))
            _check_batch(program, len(example))
            operations = _read(program, twin)
            if key is not None:
                if len(_known) >= MOST_KNOWN:
                    _known.clear()
                _known[key] = operations
    return operations, twin, example


def _read(program: ExportedProgram, twin: nn.Module) -> Operations:
    sources, constants = _sources_of(program, twin)
    nodes = _operations_of(program)
    (result,) = next(node for node in program.graph.nodes if node.op == "output").args[0]
    return Operations(nodes, program.graph_signature.user_inputs[0], result.name, sources, constants)


def check_memory(tensors: Mapping[str, Tensor]) -> None:
    """Raise UnsupportedOperation where two different tensors, of any shape, share memory."""
    spans = []
    for name, tensor in tensors.items():
        if tensor.numel():
            reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            start = tensor.data_ptr()
            spans.append((str(tensor.device), start, start + (reach + 1) * tensor.element_size(), name))
    for (device, _, end, name), (other_device, start, _, other) in pairwise(sorted(spans)):
        if device == other_device and start < end:
            raise UnsupportedOperation(
                f"{name} and {other} share memory. Make them one parameter, or give each its own memory (clone)."
            )


def _sources_of(program: ExportedProgram, twin: nn.Module) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return two mappings: placeholder -> tensor name, and placeholder -> constant.

    A tied tensor is listed under its first name. Placeholders that no operation reads are left out.
    """
    named = [*twin.named_parameters(remove_duplicate=False), *twin.named_buffers(remove_duplicate=False)]
    first: dict[int, str] = {}
    for name, tensor in named:
        first.setdefault(id(tensor), name)
    names = {name: first[id(tensor)] for name, tensor in named}
    sources, constants = {}, {}
    used = {node.name for node in program.graph.nodes if node.users}
    for spec in program.graph_signature.input_specs:
        placeholder, target = spec.arg.name, spec.target
        if target in names:
            sources[placeholder] = names[target]
        elif placeholder in used and target in program.constants:
            constants[placeholder] = program.constants[target].detach()
    return {node: name for node, name in sources.items() if node in used}, constants


def _operations_of(program: ExportedProgram) -> tuple[Node, ...]:
    """Return the graph's operations without its checks of shapes and types, which would fix the example's sizes.

    Raises UnsupportedOperation where a part of the graph runs in another grad mode or precision, or conditionally.
    """
    for node in reversed(program.graph.nodes):
        if not node.users and (node.op == "get_attr" or _is_check(node)):
            program.graph.erase_node(node)
        elif node.op == "get_attr" or "HigherOrder" in type(node.target).__mro__[-2].__name__:
            raise UnsupportedOperation(
                f"{node.name} ({node.target}): the forward pass switches gradients or precision, or runs a part of the "
                "graph conditionally. Remove that from the forward pass."
            )
    return tuple(node for node in program.graph.nodes if node.op == "call_function")


def _is_integer(example: Tensor) -> bool:
    return not example.is_floating_point() and not example.is_complex()


def _export(twin: nn.Module, example: Tensor) -> ExportedProgram:
    first = next(iter(inspect.signature(twin.forward).parameters.values()), None)
    shapes = ({0: Dim.AUTO},)
    try:
        with quiet():
            dynamic = (shapes,) if first is not None and first.kind is first.VAR_POSITIONAL else shapes
            return torch.export.export(twin, (example.clone(),), strict=False, dynamic_shapes=dynamic)
    except _FAILURES as error:
        text = str(error)
        if "data-dependent" in text or "Could not guard" in text or "unbacked" in text.lower():
            cause = "an operation or a shape in its code depends on the values in a tensor (data-dependent)"
        else:
            cause = "torch.export cannot follow its code"
        raise UnsupportedOperation(
            f"The network cannot be written as one graph: {cause}. {_short(error)} "
            "Write the forward pass so that the same operations run for every image."
        ) from error


def _check_batch(program: ExportedProgram, batch: int) -> None:
    inputs = set(program.graph_signature.user_inputs)
    placeholder = next(node for node in program.graph.nodes if node.name in inputs)
    count = placeholder.meta["val"].shape[0]
    if isinstance(count, torch.SymInt) and count.node.maybe_as_int() is None:
        return
    for node in program.graph.nodes:
        if node.op == "call_function" and any(name in str(node.target) for name in _BAKED) and _has(node, batch):
            raise UnsupportedOperation(
                f"{node.name} ({node.target}) fixes the batch size to the example's {batch} images: {_where(node)}. "
                "Write flatten(1), or x.shape[0] in place of len(x), so that any number of images can be given."
            )
    raise UnsupportedOperation(
        f"The network's code fixes the batch size to the example's {batch} images. "
        "Write it so that any number of images can be given (flatten(1), x.shape[0])."
    )


def _is_check(node: Node) -> bool:
    return getattr(node.target, "__name__", str(node.target)).startswith(("_assert", "sym_constrain"))


def _has(node: Node, batch: int) -> bool:
    sizes = [arg for arg in node.args if isinstance(arg, (list, tuple))]
    return any(batch in [size for size in listed if isinstance(size, int)] for listed in sizes)


def _where(node: Node) -> str:
    lines = [line.strip() for line in str(node.meta.get("stack_trace", "")).splitlines() if line.strip()]
    return f"`{lines[-1]}`" if lines else "in the network's forward pass"


def _short(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error).strip().split("\n\n")[0])
    return text[:300] + ("" if text.endswith(".") else ".")


@contextmanager
def quiet() -> Iterator[None]:
    """Context manager that silences torch.export's logs, its stderr and one warning; the raised error suffices."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.fx", "torch._dynamo", "torch._export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", _ASSIGNED)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
