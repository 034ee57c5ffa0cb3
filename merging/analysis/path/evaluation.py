"""Loss, accuracy and calibration of a network, or of an ensemble, on labelled images."""

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

BINS = 15  # bins of equal width over the confidence, as in Guo et al. 2017
CPU_BATCH = 64  # images: a layer's output must still be in the processor's cache when the next layer reads it
Predict = Callable[[Tensor], Tensor]  # (n, ...) images -> (n, ..., classes) logits, such as an nn.Module


def evaluate(model: Predict, data: Any) -> Metrics:
    """Loss, accuracy and expected calibration error (Guo et al. 2017, eq. 3; 15 bins) of one network.

    Logits are read in float64. Where all rows are probabilities (the network ends in a softmax), their logarithms are
    used.

    Args:
        model: a module, run in eval mode and then restored to its own mode, or a function from (n, ...) images to
            (n, classes) logits, such as `lambda x: graph.run(tensors, x)[0]`.
        data: anything that `as_batches` takes. Labels are (n, positions) where the network predicts at every position;
            each position then counts as one prediction.

    Raises:
        DataUnavailable: there are no images, or a label is not a class of the network.
        IncompatibleModels: the output is not logits, or one image's prediction depends on the others in its batch.
    """
    return ensemble([model], data)


def ensemble(
    models: Sequence[Predict], data: Any, *, mean: Literal["probabilities", "logits"] = "probabilities"
) -> Metrics:
    """Metrics of the mean prediction of several networks, which a merge aims to match at the cost of one network.

    Memory: images x classes x models numbers.

    Args:
        models: each as in `evaluate`.
        mean: average the probabilities (the usual ensemble) or the logits.
    """
    return metrics(*log_probabilities(models, data, mean))


def log_probabilities(models: Sequence[Predict], data: Any, mean: str = "probabilities") -> tuple[Tensor, Tensor]:
    """Log-probabilities (n, classes) float64 of one network, or of the mean of several, and labels (n,) int64.

    With labels (images, positions) every position is one of the n predictions. Raises as `evaluate` does.
    """
    batches = batches_on_device(models[0], data)
    if torch.device(batches.device).type == "cpu":
        batches = batches.sized(min(batches.size, CPU_BATCH))
    answers: list[list[Tensor]] = [[] for _ in models]
    labels = []
    with evaluating(*models):
        ready = [fastest(model, batches.example()) for model in models]
        for model, predict in zip(models, ready, strict=True):
            _refuse_mixing(model, predict, batches.example())
        for images, truth in batches:
            for predict, parts in zip(ready, answers, strict=True):
                rows, flat = by_answer(predict(images), truth)
                parts.append(rows)
            labels.append(flat)
        combined = _mean([as_logits(torch.cat(parts)).double() for parts in answers], mean)
        return combined.log_softmax(1), torch.cat(labels)


def batches_on_device(model: Predict, data: Any) -> Batches:
    """Batches of `data` on the module's device; if `model` is a function, they stay on their own device."""
    batches = as_batches(data)
    return batches.on_model(model) if isinstance(model, nn.Module) else batches


@contextmanager
def evaluating(*models: Predict) -> Iterator[None]:
    """Put the modules among `models` in eval mode, without gradients, and restore their modes afterwards."""
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
    """Raise IncompatibleModels if the network does not run on two images, or mixes them.

    A network mixes images if its prediction for the first or the last depends on the others. A recurrent network that
    takes the images for times gives the first the same prediction in any company.
    """
    try:
        together = predict(images)
        alone = [(at, predict(images[at].expand_as(images).clone())) for at in (0, -1)]
    except RuntimeError as error:
        words = "" if images.is_floating_point() else " Give pictures as floats or uint8; other integers are tokens."
        raise IncompatibleModels(
            f"The network does not run on these inputs of shape {tuple(images.shape)} and type {images.dtype}: "
            f"{str(error).strip().splitlines()[0][:200]}.{words}"
        ) from error
    if not isinstance(together, Tensor) or len(together) < 2:
        return  # no tensor: refused later as not being logits; a single image: nothing to mix
    pairs = [(together[at].double(), repeated[at].double()) for at, repeated in alone]
    if all(
        torch.allclose(one, same, rtol=0, atol=ROUNDING * float(one.nan_to_num().abs().max()), equal_nan=True)
        for one, same in pairs
    ):
        return
    raise IncompatibleModels(
        f"The network's output for one image depends on the other images in its batch{_batch_statistics(model)}, so "
        "its accuracy is not defined. Let such layers keep running statistics (track_running_stats=True, then run the "
        "network on training images in training mode), or use GroupNorm."
    )


def _batch_statistics(model: Predict) -> str:
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    names = [name for name, m in modules if isinstance(m, _BatchNorm) and m.running_mean is None]
    return f" ({names[0]} is a BatchNorm without running statistics)" if names else ""


def _mean(logits: list[Tensor], mean: str) -> Tensor:
    if mean == "logits" or len(logits) == 1:
        return sum(logits[1:], logits[0]) / len(logits)
    # The sum is not divided by the number of networks: the caller's log_softmax removes that constant.
    return torch.stack([one.log_softmax(1) for one in logits]).logsumexp(0)


def metrics(log_p: Tensor, labels: Tensor) -> Metrics:
    """Metrics of log-probabilities (n, classes) float64 against labels (n,) int64. A prediction of NaN is wrong.

    Raises DataUnavailable where a label is not a class of the network.
    """
    images, classes = log_p.shape
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        span = f"{int(labels.min())}..{int(labels.max())}"
        raise DataUnavailable(f"The labels are {span}, but the network has {classes} classes (0..{classes - 1}).")
    best, guess = log_p.max(1)
    hit, confidence = ((guess == labels) & ~best.isnan()).double(), best.exp()  # argmax of NaN is some class
    number = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # bin m holds ((m - 1) / 15, m / 15]
    gaps = confidence.new_zeros(BINS).index_add(0, number, hit - confidence)
    loss = -log_p.gather(1, labels[:, None]).sum()
    return Metrics(float(loss) / images, float(hit.sum()) / images, float(gaps.abs().sum()) / images, images)
