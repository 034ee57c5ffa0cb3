"""Predictions of a network on labelled images: classes, confidence, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from merging.analysis.path.evaluation import BINS, log_probabilities, metrics
from merging.errors import IncompatibleModels
from merging.network.data import Batches
from merging.results.reports import Metrics


@dataclass(frozen=True)
class Answers:
    """Predictions on n images.

    Attributes:
        guess: (n,) int64, predicted classes.
        confidence: (n,), probability of the predicted class.
        truth: (n,), labels.
        score: loss, accuracy and calibration error of these predictions.
    """

    guess: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    score: Metrics

    @property
    def right(self) -> np.ndarray:
        """(n,) bool: whether the predicted class is the label. A prediction of NaN is wrong."""
        return (self.guess == self.truth) & ~np.isnan(self.confidence)

    def calibration(self) -> np.ndarray:
        """Per bin of confidence: number of images, mean confidence, accuracy; (3, 15), NaN for empty bins.

        Source: Guo et al. 2017.
        """
        number = np.clip(np.ceil(self.confidence * BINS).astype(int), 1, BINS) - 1
        counts = np.bincount(number, minlength=BINS)
        sums = [np.bincount(number, weights=w, minlength=BINS) for w in (self.confidence, self.right.astype(float))]
        with np.errstate(invalid="ignore"):
            return np.stack([counts, *(np.where(counts > 0, one / counts, np.nan) for one in sums)])


def refuse_several_labels(data: Batches) -> None:
    """Raise IncompatibleModels where labels are per position, because an image then has no single class."""
    if data.labels.ndim > 1:
        raise IncompatibleModels(
            f"The labels have shape {tuple(data.labels.shape)}, several per image, but predictions and tuning of units "
            "need one label per image. Use loss and accuracy instead, which count every position."
        )


def answers(models: list[nn.Module], data: Batches) -> Answers:
    """Predictions of one network, or of the mean probabilities of several.

    Raises IncompatibleModels where labels are per position, because an image then has no single prediction.
    """
    refuse_several_labels(data)
    log_p, labels = log_probabilities(models, data)
    best, guess = log_p.max(1)
    return Answers(guess.cpu().numpy(), best.exp().cpu().numpy(), labels.cpu().numpy(), metrics(log_p, labels))
