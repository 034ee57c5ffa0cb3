"""How good a network is on labelled images: loss, accuracy and calibration, and the same for an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from merging.errors import DataUnavailable, IncompatibleModels
from merging.network.data import Batches, as_batches
from merging.network.memory_format import ROUNDING, fastest
from merging.network.outputs import as_logits, by_answer
from merging.results.reports import Metrics

BINS = 15  # of equal width over the confidence, as in Guo et al. 2017
CPU_BATCH = 64  # images: what one layer writes is in the processor's cache when the next reads it
Predict = Callable[[Tensor], Tensor]  # (n, ...) images -> (n, ..., classes) logits; an nn.Module is one


def evaluate(model: Predict, data: Any) -> Metrics:
    """Loss, accuracy and expected calibration error (Guo et al. 2017, eq. 3; 15 bins) of one network.

    model: a module, run in eval mode and left as it was, or a function from (n, ...) images to (n, classes) logits,
    such as `lambda x: graph.run(tensors, x)[0]`.  data: anything that `as_batches` takes; labels (n, positions) where
    the network answers at every position, each of which then counts.  Logits are read in float64; where all rows are
    probabilities (the network ends in a softmax), their logarithms are.
    Raises DataUnavailable where there are no images or a label is no class of the network, and IncompatibleModels where
    the output is no logits, or where one image's answer depends on the others of its batch.
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
    """(n, classes) float64 log-probabilities of one network's answers, or of several's mean, and (n,) int64 labels.

    With labels (images, positions) every position is an answer of its own.  Raises as `evaluate` does.
    """
    batches = beside(models[0], data)
    if torch.device(batches.device).type == "cpu":
        batches = batches.sized(min(batches.size, CPU_BATCH))
    answers: list[list[Tensor]] = [[] for _ in models]
    labels = []
    with evaluating(*models):
        ready = [fastest(model, batches.example()) for model in models]
        for model, predict in zip(models, ready, strict=True):
            _refuse_mixing(model, predict, batches.example())
        for images, truth in batches:
            for predict, kept in zip(ready, answers, strict=True):
                rows, flat = by_answer(predict(images), truth)
                kept.append(rows)
            labels.append(flat)
        combined = _mean([as_logits(torch.cat(kept)).double() for kept in answers], mean)
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


def _refuse_mixing(model: Predict, predict: Predict, images: Tensor) -> None:
    """Raises IncompatibleModels where the network does not run on two images, or the first's answer depends on the
    second."""
    try:
        together, twice = (predict(pair) for pair in (images, images[:1].expand_as(images).clone()))
    except RuntimeError as error:
        words = "" if images.is_floating_point() else " Give pictures as floating point or uint8; integers are tokens."
        raise IncompatibleModels(
            f"The network does not run on these inputs of shape {tuple(images.shape)} and type {images.dtype}: "
            f"{str(error).strip().splitlines()[0][:200]}.{words}"
        ) from error
    if not isinstance(together, Tensor) or len(together) < 2:
        return  # refused as no logits, or nothing to mix
    first, again = together[0].double(), twice[0].double()
    if torch.allclose(first, again, rtol=0, atol=ROUNDING * float(first.nan_to_num().abs().max()), equal_nan=True):
        return
    raise IncompatibleModels(
        f"The network's answer to one image depends on the others in its batch{_batch_statistics(model)}, so it has no "
        "accuracy of its own. Let such layers keep running statistics (track_running_stats=True, then pass training "
        "images in training mode), or use GroupNorm."
    )


def _batch_statistics(model: Predict) -> str:
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    names = [name for name, m in modules if isinstance(m, _BatchNorm) and m.running_mean is None]
    return f": {names[0]} is a BatchNorm without running statistics" if names else ""


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
