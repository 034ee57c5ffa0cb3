"""Similarity of layers to the parents' layers, variance of units, and loss along the path from A to B."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.intervals import finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

LINES = {"naive": "B", "aligned": "pi(B)"}


@saved
@dataclass(frozen=True)
class Along:
    """Measures of L layers at P lambdas on the lines from A to B ("naive") and from A to pi(B) ("aligned").

    No correction is applied.

    Attributes:
        layers: torch names.
        lambdas: (P,).
        to_a, to_b: line -> (P, L) debiased pooled CKA with the same layer of A and of B; NaN where undefined.
        variance: line -> (P, L) mean variance of the pooled units, divided by the interpolated variance of the parents.
        loss, accuracy: line -> (P,).
        images: number of test images.
    """

    layers: tuple[str, ...]
    lambdas: np.ndarray
    to_a: dict[str, np.ndarray]
    to_b: dict[str, np.ndarray]
    variance: dict[str, np.ndarray]
    loss: dict[str, np.ndarray]
    accuracy: dict[str, np.ndarray]
    images: int

    def similarity_at_middle(self, line: str) -> float:
        """Mean CKA with the same layer of A and of B, over layers, at the midpoint of a line."""
        middle = len(self.lambdas) // 2
        return finite_mean(np.concatenate([self.to_a[line][middle], self.to_b[line][middle]]))


@dataclass(frozen=True)
class AlongSettings:
    """Number of points and of images."""

    points: int = setting(11, low=3, high=51, step=2, label="Points", help="Number of lambdas per line, odd.")
    images: int = setting(
        0, low=0, high=10_000, label="Images", help="Number of test images, 0 for all of the merge's."
    )


@study(
    "along",
    label="Layers along the path",
    summary="Every layer's CKA with the same layer of A and B, its variance, and the loss, at every lambda.",
    source="Kornblith et al. 2019 (CKA); Jordan et al. 2023 (variance collapse)",
    settings=AlongSettings,
    page="why",
    long=True,
    numbers={
        "cka": Number(
            "CKA with the networks' layers at the midpoint",
            lambda found: found.similarity_at_middle("aligned"),
            lambda found: found.similarity_at_middle("naive"),
        ),
        "variance": Number(
            "Variance of units at the midpoint, relative to the networks'",
            lambda found: finite_mean(found.variance["aligned"][len(found.lambdas) // 2]),
            lambda found: finite_mean(found.variance["naive"][len(found.lambdas) // 2]),
        ),
    },
)
def along(subject: Subject, settings: AlongSettings) -> Along:
    """Measure both lines, one network at a time. Memory: images x features of three networks."""
    from merging.analysis.activations.features import read_layers
    from merging.analysis.activations.read import named_layers
    from merging.analysis.path.evaluation import evaluate
    from merging.analysis.similarity.hsic import represent, similarity
    from merging.network.permutation import named_tensors, with_tensors

    data, lambdas = subject.images(settings.images), np.linspace(0, 1, settings.points)
    layers = named_layers(subject.graph, None)
    parents = {name: read_layers(subject.graph, named_tensors(subject.nets[name]), data) for name in ("A", "B")}
    forms = {name: [represent([x], debiased=True) for x in features] for name, features in parents.items()}
    spread = {name: np.array([float(x.var(0).mean()) for x in features]) for name, features in parents.items()}
    scratch, a = with_tensors(subject.nets["A"], {}), named_tensors(subject.nets["A"])
    shape, done = (len(lambdas), len(layers)), 0
    result = Along(tuple(layer.name for layer in layers), lambdas, {}, {}, {}, {}, {}, data.count)
    for line, end in LINES.items():
        b = named_tensors(subject.nets[end])
        to_a, to_b, variance = (table.setdefault(line, np.empty(shape)) for table in _layered(result))
        loss, accuracy = (flat.setdefault(line, np.empty(len(lambdas))) for flat in (result.loss, result.accuracy))
        for number, weight in enumerate(lambdas.tolist()):
            for name, tensor in named_tensors(scratch).items():
                differs = tensor.is_floating_point() and not a[name].equal(b[name])
                tensor.copy_(a[name].lerp(b[name], weight) if differs else a[name])
            features = read_layers(subject.graph, named_tensors(scratch), data)
            for at, x in enumerate(features):
                form = represent([x], debiased=True)
                to_a[number, at] = similarity(form, forms["A"][at])[0, 0]
                to_b[number, at] = similarity(form, forms["B"][at])[0, 0]
                between = (1 - weight) * spread["A"][at] + weight * spread["B"][at]
                variance[number, at] = float(x.var(0).mean()) / between if between > 0 else np.nan
            score = evaluate(scratch, data)
            loss[number], accuracy[number] = score.loss, score.accuracy
            done += 1
            subject.report("studying", done / (2 * len(lambdas)), f"{line} line, point {number + 1} of {len(lambdas)}")
    return result


def _layered(found: Along) -> tuple[dict[str, np.ndarray], ...]:
    return found.to_a, found.to_b, found.variance
