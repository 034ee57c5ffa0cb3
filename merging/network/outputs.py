"""Reading a network's output: logits or probabilities, one prediction per image or per position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from merging.errors import IncompatibleModels

WRAP = (
    "Wrap the network in a module whose forward pass returns only the logits, such as `return self.net(x){}`, and "
    "give that module instead."
)


def described(output: Any) -> str:
    """Return a short description of an output, such as "a tuple of 2" or "a dict with the keys 'loss', 'logits'".

    A tensor is described by its shape.
    """
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with the keys {', '.join(map(repr, list(output)[:6]))}"
    return f"a {kind} of {len(output)}" if isinstance(output, (tuple, list)) else f"a {kind}"


def remedy(output: Any) -> str:
    """Return advice for a network whose output is not a tensor: the line of code that extracts the logits."""
    if isinstance(output, Mapping):
        keys = [key for key in output if "logit" in str(key).lower()] or list(output)[:1]
        return WRAP.format(f"[{keys[0]!r}]" if keys else "")
    return WRAP.format("[0]" if isinstance(output, (tuple, list)) else ".logits")


def by_answer(output: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return a network's output as rows (predictions, classes), and the labels (predictions,) of these rows.

    Args:
        output: (n, classes) for labels (n,). For labels (n, ...) there is one prediction per position, with the classes
            in the last dimension (n, ..., classes) or in the second (n, classes, ...); the sizes decide which.
        labels: (n,) or (n, ...).
    Raises:
        IncompatibleModels: when the output is not a tensor, does not fit the labels, or could have its classes in
            either dimension.
    """
    if not isinstance(output, Tensor):
        raise IncompatibleModels(f"The network returns {described(output)}; logits are needed. {remedy(output)}")
    shape, wanted = tuple(output.shape), tuple(labels.shape)
    last = len(shape) > 1 and shape[:-1] == wanted
    second = len(shape) > 2 and (shape[0], *shape[2:]) == wanted
    if last and second:
        raise IncompatibleModels(
            f"The network returns shape {shape} for labels of shape {wanted}, so the classes could be in the last "
            "dimension or in the second. Give inputs of another length, or a network with one prediction per image."
        )
    if not last and not second:
        answers = f"labels of shape {shape[:-1]}" if len(shape) > 2 else "a network that returns one row per label"
        raise IncompatibleModels(
            f"The network returns shape {shape}, and the labels have shape {wanted}; logits of shape "
            f"{(*wanted, 'classes')} are needed. Give {answers}.".replace("'", "")
        )
    rows = output if last else output.movedim(1, -1)
    return rows.flatten(0, -2), labels.flatten()


def are_probabilities(rows: Tensor) -> bool:
    """Return whether each row (predictions, classes) is a distribution: no entry below 0, and a sum of 1."""
    if rows.shape[1] < 2 or not len(rows):
        return False
    bound = max(1e-5, 4 * torch.finfo(rows.dtype).eps)
    off_one = (rows.detach().sum(1, dtype=torch.float64) - 1).abs().max()
    return bool((rows.detach() >= 0).all()) and float(off_one) <= bound


def as_logits(rows: Tensor) -> Tensor:
    """Return logits (predictions, classes): the rows, or their logarithms in float64 if the rows are probabilities.

    A probability of 0 is replaced by the smallest positive number of the rows' precision.
    """
    if not are_probabilities(rows):
        return rows
    precision = torch.finfo(rows.dtype)
    return rows.double().clamp_min(precision.tiny * precision.eps).log()


def answer_loss(output: Any, labels: Tensor, *, exact: bool = False, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy in nats, a scalar, of a network's output for labels (n,) or (n, ...); see `by_answer`.

    Args:
        output: the network's output.
        labels: (n,) or (n, ...) class numbers.
        exact: compute in float64.
        reduction: "mean" over the predictions, or "sum".
    """
    rows, truth = by_answer(output, labels)
    logits = as_logits(rows)
    return cross_entropy(logits.double() if exact else logits, truth, reduction=reduction)
