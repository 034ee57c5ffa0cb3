"""Predictions and variances of every network that a path is measured on, for a look at single points of the path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.activations.read import named_layers
from merging.analysis.causes.variance import variances
from merging.analysis.path.evaluation import log_probabilities
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.results.reports import PathPoints

LOOKED_AT = 500  # first test images, of which some are chosen
CHOSEN = 10
GUESSES = 3  # most probable classes to keep per image
VARIED = 100  # images on which variances are measured


@dataclass
class PathRecorder:
    """Collects what `PathPoints` holds; called with the name of a path and its networks in the order of lambda.

    Attributes:
        graph: structure of all networks.
        chosen: the images whose predictions are kept.
        many: the images on which variances are measured.
        numbers: (K,) numbers of the chosen images.
        guesses, variance: path -> one entry per network so far.
    """

    graph: Graph
    chosen: Batches
    many: Batches
    numbers: np.ndarray
    guesses: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)
    variance: dict[str, list[list[float]]] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph, parents: Sequence[nn.Module], data: Batches) -> PathRecorder | None:
        """Choose the images; None where labels are per position, because an image has no single prediction then.

        Of each class, the first image is chosen that all parents get right; then, if these are fewer than CHOSEN,
        further such images, and then others, by number.
        """
        if data.labels.ndim > 1:
            return None
        first = _first(data, LOOKED_AT)
        answers = [log_probabilities([net], first)[0].argmax(1).cpu() for net in parents]
        labels = torch.cat([truth for _, truth in first]).cpu()
        right = torch.stack([guess == labels for guess in answers]).all(0)
        numbers = torch.arange(len(labels))
        earlier = (labels[:, None] == labels) & right[None] & (numbers[None] < numbers[:, None])
        again = earlier.any(1)  # an earlier image of this class is right
        order = sorted(numbers.tolist(), key=lambda number: (not right[number], bool(again[number]), number))
        chosen = torch.tensor(sorted(order[:CHOSEN]))
        return PathRecorder(graph, replace(data, order=chosen), _first(data, VARIED), chosen.numpy())

    def __call__(self, path: str, net: nn.Module) -> None:
        """Add the next network of a path."""
        best = log_probabilities([net], self.chosen)[0].exp()
        kept = best.topk(min(GUESSES, best.shape[1]), dim=1)
        self.guesses.setdefault(path, []).append((kept.indices.cpu(), kept.values.cpu()))
        spread = [float(units.mean()) for units in variances(self.graph, net, self.many)]
        self.variance.setdefault(path, []).append(spread)

    def points(self, ends: tuple[nn.Module, nn.Module], lambdas: np.ndarray) -> PathPoints:
        """Build the result. ends: the networks A and B, whose interpolated variance is the unit.  lambdas: (P,)."""
        a, b = (np.array([float(units.mean()) for units in variances(self.graph, net, self.many)]) for net in ends)
        between = (1 - lambdas[:, None]) * a + lambdas[:, None] * b
        relative = {
            path: np.divide(np.array(rows), between, out=np.full(between.shape, np.nan), where=between > 0)
            for path, rows in self.variance.items()
        }
        kept = self.guesses
        return PathPoints(
            images=self.numbers,
            labels=torch.cat([truth for _, truth in self.chosen]).cpu().numpy(),
            guess={path: torch.stack([one for one, _ in rows]).int().numpy() for path, rows in kept.items()},
            probability={
                path: torch.stack([p for _, p in rows]).float().numpy() for path, rows in self.guesses.items()
            },
            layers=tuple(layer.name for layer in named_layers(self.graph, None)),
            variance={path: rows.astype(np.float32) for path, rows in relative.items()},
            count=self.many.count,
        )


def _first(data: Batches, most: int) -> Batches:
    return replace(data, order=torch.arange(min(most, data.count)))
