"""How good a network is on labelled images: loss, accuracy and calibration, and the same for an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from merging.data import Batches, as_batches
from merging.errors import DataUnavailable, IncompatibleModels
from merging.memory_format import fastest
from merging.results import Metrics

BINS = 15  # of equal width over the confidence, as in Guo et al. 2017
CPU_BATCH = 64  # images: what one layer writes is in the processor's cache when the next reads it
Predict = Callable[[Tensor], Tensor]  # (n, ...) images -> (n, classes) logits; an nn.Module is one


def evaluate(model: Predict, data: Any) -> Metrics:
    """Loss, accuracy and expected calibration error (Guo et al. 2017, eq. 3; 15 bins) of one network.

    model: a module, run in eval mode and left as it was, or a function from (n, ...) images to (n, classes) logits,
    such as `lambda x: graph.run(tensors, x)[0]`.  data: anything that `as_batches` takes.  Logits are read in float64.
    Raises DataUnavailable where there are no images or a label is no class of the network.
    """
    return ensemble([model], data)


def ensemble(
    models: Sequence[Predict], data: Any, *, mean: Literal["probabilities", "logits"] = "probabilities"
) -> Metrics:
    """Metrics of several networks' mean answer: what merging would like to reach with one network's cost.

    models: as in `evaluate`.  mean: average the probabilities (the usual ensemble) or the logits.  Memory:
    images x classes x models numbers.
    """
    return metrics(*log_probabilities(models, data, mean))


def log_probabilities(models: Sequence[Predict], data: Any, mean: str = "probabilities") -> tuple[Tensor, Tensor]:
    """(n, classes) float64 log-probabilities of one network's answers, or of several's mean, and (n,) int64 labels."""
    batches = beside(models[0], data)
    if torch.device(batches.device).type == "cpu":
        batches = batches.sized(min(batches.size, CPU_BATCH))
    answers: list[list[Tensor]] = [[] for _ in models]
    labels = []
    with evaluating(*models):
        ready = [fastest(model, batches.example()) for model in models]
        for images, truth in batches:
            for predict, kept in zip(ready, answers, strict=True):
                kept.append(_logits(predict(images)))
            labels.append(truth)
        combined = _mean([torch.cat(kept).double() for kept in answers], mean)
        return combined.log_softmax(1), torch.cat(labels)


def beside(model: Predict, data: Any) -> Batches:
    """`data` as batches that are delivered on the module's device; as they are for a function."""
    batches = as_batches(data)
    return batches.on_model(model) if isinstance(model, nn.Module) else batches


@contextmanager
def evaluating(*models: Predict) -> Iterator[None]:
    """Inside, modules among `models` are in eval mode and no gradient is recorded; afterwards all is as before."""
    modules = [module for model in models if isinstance(model, nn.Module) for module in model.modules()]
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.inference_mode():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _logits(output: Any) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise IncompatibleModels(f"The network gives {found}; evaluation needs logits of shape (images, classes).")
    return output


def _mean(logits: list[Tensor], mean: str) -> Tensor:
    if mean == "logits" or len(logits) == 1:
        return sum(logits[1:], logits[0]) / len(logits)
    # log_softmax takes away the constant that makes a sum of probabilities a mean.
    return torch.stack([one.log_softmax(1) for one in logits]).logsumexp(0)


def metrics(log_p: Tensor, labels: Tensor) -> Metrics:
    """Of log_p: (n, classes) float64 and labels: (n,) int64. Raises DataUnavailable where a label is no class."""
    images, classes = log_p.shape
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        found = f"{int(labels.min())}..{int(labels.max())}"
        raise DataUnavailable(f"The labels are {found}, but the network has {classes} classes (0..{classes - 1}).")
    best, guess = log_p.max(1)
    hit, confidence = (guess == labels).double(), best.exp()
    number = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # bin m holds ((m - 1) / 15, m / 15]
    gaps = confidence.new_zeros(BINS).index_add(0, number, hit - confidence)
    loss = -log_p.gather(1, labels[:, None]).sum()
    return Metrics(float(loss) / images, float(hit.sum()) / images, float(gaps.abs().sum()) / images)
