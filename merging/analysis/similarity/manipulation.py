"""Changes of the classifier's input that alter CKA while every logit stays the same (after Davari et al., ICLR 2023).

Let x_i be the centred input of the last linear layer W on image i. Two changes leave every logit unchanged: translating
the inputs of some images along a direction in the null space of W, and multiplying a unit by s while dividing its
column of W by s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.similarity.measures import Side, cka_biased, mutual_neighbours, procrustes
from merging.errors import DataUnavailable, UnsupportedOperation
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.network.graph.layers import operator_name
from merging.network.permutation import named_tensors

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True)
class Classifier:
    """The last linear layer and its input.

    Attributes:
        inputs: (n, p) float64.
        weight: (classes, p).
        bias: (classes,).
        labels: (n,).
        layer: name of the layer.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor
    labels: Tensor
    layer: str

    def accuracy(self, inputs: Tensor, weight: Tensor) -> tuple[float, float]:
        """Accuracy with these inputs (n, p) and weights (classes, p), and the largest change of a logit.

        The change is relative to the largest absolute logit before it.
        """
        before, after = (x @ w.T + self.bias for x, w in ((self.inputs, self.weight), (inputs, weight)))
        right = float((after.argmax(1) == self.labels).double().mean())
        return right, float((after - before).abs().max() / before.abs().max())


@dataclass(frozen=True)
class Trail:
    """Effect of one change at each of S strengths.

    Attributes:
        strength: (S,).
        cka: (S,) biased CKA of the layer with itself before the change.
        neighbours, procrustes: (S,) the same similarity by mutual nearest neighbours and by Procrustes.
        accuracy: (S,) in 0..1.
        moved: (S,) largest change of a logit, relative to the largest logit.
        limit: CKA at infinite strength, in closed form.
    """

    strength: np.ndarray
    cka: np.ndarray
    neighbours: np.ndarray
    procrustes: np.ndarray
    accuracy: np.ndarray
    moved: np.ndarray
    limit: float


@torch.no_grad()
def classifier_of(graph: Graph, net: nn.Module, data: Batches) -> Classifier:
    """Return the network's last linear layer, with its inputs on these images.

    Raises UnsupportedOperation if the network does not end in a linear layer with inputs (images, features).
    """
    linear = [layer for layer in graph.layers if layer.kind == "linear"]
    node = next((node for node in graph.nodes if linear and node.name == linear[-1].node), None)
    tensors = named_tensors(net)
    ends = node is not None and node.name == graph.output and operator_name(node) == "linear"
    names = [graph.sources.get(arg.name, "") for arg in node.all_input_nodes[1:]] if node is not None and ends else []
    if node is None or not names or not all(names) or len(linear[-1].positions) or tensors[names[0]].ndim != 2:
        raise UnsupportedOperation(
            "The manipulation lab needs a network that ends in a linear layer (torch.nn.Linear or "
            "torch.nn.functional.linear) with inputs (images, features)."
        )
    source, inputs, labels = node.all_input_nodes[0].name, list[Tensor](), list[Tensor]()
    for images, truth in data:
        inputs += [value.double().clone() for _, value in graph.walk(tensors, images, [source])]
        labels.append(truth)
    weight = tensors[names[0]].double()
    bias = tensors[names[1]].double() if len(names) > 1 else weight.new_zeros(len(weight))
    return Classifier(torch.cat(inputs), weight, bias, torch.cat(labels), linear[-1].name)


def translate(classifier: Classifier, chosen: Tensor, seed: int) -> Trail:
    """Translate the inputs of the images `chosen` (n,) bool in one random direction of the classifier's null space.

    The unit of strength is the root mean square length of the centred inputs. The limit of CKA for infinite
    strength is r/(1-r) (|m|^2 / E|x|^2) sqrt(P) with P = (tr C)^2 / tr(C^2): r is the share of the chosen images, x the
    centred inputs, m their mean over the chosen images and C their covariance over all images (Davari et al. 2023).

    Raises UnsupportedOperation where that null space is trivial (no more features than classes), and DataUnavailable
    where all images or none are chosen.
    """
    if not 0 < int(chosen.sum()) < len(chosen):
        raise DataUnavailable(
            f"The lab moves the images of some classes and leaves the others in place, but {int(chosen.sum())} of "
            f"these {len(chosen)} images are of the classes to move. Choose another number of classes, or other images."
        )
    x = classifier.inputs - classifier.inputs.mean(0)
    _, values, vectors = torch.linalg.svd(classifier.weight, full_matrices=True)
    rank = int((values > 1e-10 * values[0]).sum())
    if rank >= vectors.shape[0]:
        raise UnsupportedOperation(
            "Every input direction affects the classifier's output, so no translation leaves the output unchanged."
        )
    null_space = vectors[rank:]
    coefficients = np.random.default_rng(seed).standard_normal(len(null_space))
    direction = torch.from_numpy(coefficients / np.linalg.norm(coefficients)).to(x) @ null_space
    length, share = float(x.square().sum(1).mean()) ** 0.5, float(chosen.double().mean())
    if length == 0:
        raise DataUnavailable(f"The inputs of {classifier.layer} are equal for all images, so CKA has no value.")
    covariance = x.T @ x / len(x)
    ratio = float(covariance.diagonal().sum()) / float(covariance.norm())
    mean = float(x[chosen].mean(0).square().sum())
    limit = share / (1 - share) * mean / length**2 * ratio
    offset = chosen.double()[:, None] * direction * length
    variants = [(classifier.inputs + s * offset, classifier.weight) for s in STRENGTHS]
    return _trail(classifier, variants, limit)


def rescale_unit(classifier: Classifier, unit: int) -> Trail:
    """Multiply one unit by a factor and divide its weight column by it, so that the network's output stays the same.

    The strength is the factor minus 1. The limit is x_u' K x_u / (|x_u|^2 |K|), the CKA with that unit alone.
    """
    x = classifier.inputs - classifier.inputs.mean(0)
    gram = x @ x.T
    one = x[:, unit]
    limit = float(one @ gram @ one) / (float(one @ one) * float(gram.norm())) if float(one @ one) > 0 else float("nan")
    variants = []
    for strength in STRENGTHS:
        inputs, weight = classifier.inputs.clone(), classifier.weight.clone()
        inputs[:, unit] *= 1 + strength
        weight[:, unit] /= 1 + strength
        variants.append((inputs, weight))
    return _trail(classifier, variants, limit)


def _trail(classifier: Classifier, changed: list[tuple[Tensor, Tensor]], limit: float) -> Trail:
    """Measure the Trail of a change. changed: (inputs, weight) at each of STRENGTHS."""
    before, rows = Side(classifier.inputs), []
    for inputs, weight in changed:
        after = Side(inputs)
        similarities = [measure(before, after) for measure in (cka_biased, mutual_neighbours, procrustes)]
        rows.append((*similarities, *classifier.accuracy(inputs, weight)))
    cka, neighbours, rotated, accuracy, moved = np.array(rows).T
    return Trail(np.array(STRENGTHS), cka, neighbours, rotated, accuracy, moved, limit)
