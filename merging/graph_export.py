"""torch.export, with every way it fails put in words: what was found in the model and what to write instead."""

from __future__ import annotations

import copy
import io
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from merging.errors import UnsupportedOperation

# torch.export reports through all of these, from its own checks and from the model's code that it runs.
_FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError)
_BAKED = ("view", "reshape", "_unsafe_view", "expand", "unflatten", "new_zeros", "new_ones", "zeros", "ones", "full")


def exported(model: nn.Module, example: Tensor) -> tuple[ExportedProgram, nn.Module, Tensor]:
    """The exported program of `model` in eval mode, the copy that was exported and the example that was used.

    example: (n, ...), on the model's device. Raises UnsupportedOperation where the model does not run on it, cannot be
    written as one graph, fixes the batch size, or does not give exactly one tensor.
    """
    if not isinstance(example, Tensor) or example.dim() < 1:
        raise UnsupportedOperation("The example must be one tensor whose first dimension counts the images.")
    twin = _copied(model)
    example = example.detach().clone()
    if len(example) < 2:  # a batch of one would be taken for a constant
        example = torch.cat([example, example])[:2]
    with torch.no_grad():
        try:
            output = twin(example.clone())
        except _FAILURES as error:
            shape = tuple(example.shape)
            raise UnsupportedOperation(
                f"The network does not run on images of shape {shape}: {_short(error)}"
            ) from error
        if not isinstance(output, Tensor):
            kind = type(output).__name__
            raise UnsupportedOperation(f"The network gives a {kind}; it must give one tensor (images, classes).")
        program = _export(twin, example)
    _check_batch(program, len(example))
    return program, twin, example


def check_memory(tensors: Mapping[str, Tensor]) -> None:
    """Raise UnsupportedOperation where two tensors, of any shape, share memory but are not one."""
    spans = []
    for name, tensor in tensors.items():
        if tensor.numel():
            reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            start = tensor.data_ptr()
            spans.append((str(tensor.device), start, start + (reach + 1) * tensor.element_size(), name))
    for (device, _, end, name), (other_device, start, _, other) in pairwise(sorted(spans)):
        if device == other_device and start < end:
            raise UnsupportedOperation(
                f"{name} and {other} share memory. Make them one parameter, or give each its own (clone)."
            )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model).eval()
    except _FAILURES as error:
        raise UnsupportedOperation(f"The network cannot be copied: {_short(error)}") from error


def _export(twin: nn.Module, example: Tensor) -> ExportedProgram:
    try:
        with _quiet():
            return torch.export.export(twin, (example.clone(),), strict=False, dynamic_shapes=({0: Dim.AUTO},))
    except _FAILURES as error:
        text = str(error)
        if "data-dependent" in text or "Could not guard" in text or "unbacked" in text.lower():
            cause = "its code decides or shapes something by the values in a tensor (data-dependent)"
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
def _quiet() -> Iterator[None]:
    """torch.export also logs and writes to stderr what it raises; a person reads our words only."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.fx", "torch._dynamo", "torch._export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
