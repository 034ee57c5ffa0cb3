"""What each unit of a layer is worth to the merge: the accuracy that is lost when its response is set to its mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merging.results.intervals import bootstrap, finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.layer import layer_of
from merging.studies.registry import Number, Subject, study

if TYPE_CHECKING:
    from torch import Tensor

    from merging.network.graph.graph import Layer
    from merging.progress import Progress
    from merging.results.reports import Metrics

NETS = ("merge", "A", "naive")
BATCH = 250  # images at a time


@saved
@dataclass(frozen=True)
class Ablation:
    """Accuracy and loss of the networks NETS without each of the U units of a layer.

    Attributes:
        layer: torch name.
        accuracy, loss: network -> value with all units.
        lost: network -> (U,) accuracy with all units minus accuracy without this unit.
        added: network -> (U,) loss without this unit minus loss with all units, in nats per image.
        images: number of test images.
    """

    layer: str
    accuracy: dict[str, float]
    loss: dict[str, float]
    lost: dict[str, np.ndarray]
    added: dict[str, np.ndarray]
    images: int

    def by_fate(self, fates: Mapping[int, str], seed: int = 0) -> dict[str, tuple[int, float, float, float]]:
        """Fate -> (number of units, mean added loss in the merge, and its 95 % interval over resampled units).

        The bounds of one unit are NaN: it says nothing of others.

        fates: unit -> key of `studies.units.WORDS`.  "all" stands for all of these units.
        """
        groups = {"all": sorted(fates)}
        for unit in sorted(fates):
            groups.setdefault(fates[unit], []).append(unit)
        means = {name: bootstrap(self.added["merge"][units], seed) for name, units in groups.items()}
        unknown = (float("nan"), float("nan"))
        return {
            name: (len(units), mean, *(ends if len(units) > 1 else unknown))
            for (name, units), (mean, *ends) in zip(groups.items(), means.values(), strict=True)
        }

    def rank(self, unit: int, net: str = "merge") -> int:
        """Place of a unit, from 1, among all units of the layer, in the order of the loss that its removal adds."""
        return int((self.added[net] > self.added[net][unit]).sum()) + 1


@dataclass(frozen=True)
class AblationSettings:
    """Layer and number of images."""

    layer: str = setting("", label="Layer", help="The layer's name in torch; if empty, the first layer with units.")
    images: int = setting(500, low=50, high=10_000, label="Images", help="Test images.")


@study(
    "ablation",
    label="Units removed one by one",
    summary="The accuracy and loss of the merge, of A and of the naive average without each unit of a layer.",
    source="Morcos et al. 2018 (ablation of single units)",
    settings=AblationSettings,
    page="neurons",
    places=("layer",),
    long=True,
    numbers={
        "added": Number(
            "Loss added by removing a unit of the first layer (nats)",
            lambda found: finite_mean(found.added["merge"]),
            lambda found: finite_mean(found.added["naive"]),
        ),
    },
)
def ablation(subject: Subject, settings: AblationSettings) -> Ablation:
    """Replace one unit's response by its mean over all images and positions, and run the rest of the network.

    Time: units x one pass through the layers after this one. Memory: the layer's value for all images.
    Raises InvalidRequest where the layers after this one also read earlier values.
    """
    from merging.network.permutation import named_tensors

    place, _ = layer_of(subject, settings.layer)
    result = Ablation(place.name, {}, {}, {}, {}, subject.images(settings.images).count)
    for number, net in enumerate(NETS):
        piece = subject.part(number / len(NETS), (number + 1) / len(NETS), net)
        scores = _without_each(subject, named_tensors(subject.nets[net]), place, settings.images, piece)
        whole, *without = scores
        result.accuracy[net], result.loss[net] = whole.accuracy, whole.loss
        result.lost[net] = np.array([whole.accuracy - one.accuracy for one in without])
        result.added[net] = np.array([one.loss - whole.loss for one in without])
    return result


def _without_each(
    subject: Subject, tensors: Mapping[str, Tensor], place: Layer, images: int, report: Progress
) -> list[Metrics]:
    """Metrics with all units, and then without each unit, of which the rest of the network sees the mean instead."""
    import torch

    from merging.analysis.activations.read import after_nonlinearity
    from merging.analysis.path.evaluation import metrics
    from merging.network.outputs import as_logits, by_answer

    seen, graph = after_nonlinearity(subject.graph, place), subject.graph
    with torch.inference_mode():
        parts = []
        for x, truth in subject.images(images).sized(BATCH):
            _, kept = graph.run(tensors, x, until=seen.node)
            parts.append((x, truth, kept[seen.node]))
        mean = torch.cat([value.movedim(seen.dim, 0).flatten(1) for *_, value in parts], 1).mean(1)

        def measured(unit: int | None) -> Metrics:
            """Metrics without this unit; None: with all."""
            rows, labels = [], []
            for x, truth, value in parts:
                changed = value.clone()  # operations in place must not reach the stored value
                if unit is not None:
                    changed.select(seen.dim, unit).fill_(float(mean[unit]))
                answers, flat = by_answer(graph.resume(tensors, x, seen.node, changed), truth)
                rows.append(answers)
                labels.append(flat)
            return metrics(as_logits(torch.cat(rows)).double().log_softmax(1), torch.cat(labels))

        scores = [measured(None)]
        for unit in range(seen.units):
            scores.append(measured(unit))
            report("studying", (unit + 1) / seen.units, f"unit {unit + 1} of {seen.units} of {place.name}")
    return scores
