"""Moving CKA without moving what a network says: three changes of the classifier's input that its weights undo.

With x_i the centred input of the last linear layer W on image i. A translation along a direction that W does not see,
and a unit times s with its column of W divided by s, leave every logit as it was. After Davari et al. (ICLR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from merging.analysis.similarity.measures import Side, cka_biased, mutual_neighbours, procrustes
from merging.errors import UnsupportedOperation
from merging.network.data import Batches
from merging.network.graph.graph import Graph
from merging.network.permutation import named_tensors

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True)
class Classifier:
    """The last linear layer and what it is given. inputs: (n, p) float64; weight: (classes, p); bias: (classes,);
    labels: (n,); layer: its name."""

    inputs: Tensor
    weight: Tensor
    bias: Tensor
    labels: Tensor
    layer: str

    def accuracy(self, inputs: Tensor, weight: Tensor) -> tuple[float, float]:
        """Accuracy with these inputs (n, p) and weights (classes, p), and the largest change of a logit relative to the
        largest logit."""
        before, after = (x @ w.T + self.bias for x, w in ((self.inputs, self.weight), (inputs, weight)))
        right = float((after.argmax(1) == self.labels).double().mean())
        return right, float((after - before).abs().max() / before.abs().max())


@dataclass(frozen=True)
class Trail:
    """What a change does at each strength (S,). cka: biased, of the layer with itself before; neighbours, procrustes:
    by those measures; accuracy: 0..1; moved: largest relative change of a logit.  limit: of CKA for an endless
    strength, in closed form."""

    strength: np.ndarray
    cka: np.ndarray
    neighbours: np.ndarray
    procrustes: np.ndarray
    accuracy: np.ndarray
    moved: np.ndarray
    limit: float


@torch.no_grad()
def classifier_of(graph: Graph, net: nn.Module, data: Batches) -> Classifier:
    """The network's last linear layer on these images. Raises UnsupportedOperation where a network ends otherwise."""
    linear = [layer for layer in graph.layers if layer.kind == "linear"]
    node = next((node for node in graph.nodes if linear and node.name == linear[-1].node), None)
    tensors = named_tensors(net)
    names = [graph.sources[arg.name] for arg in node.all_input_nodes[1:]] if node is not None else []
    ends = node is not None and node.name == graph.output
    if node is None or not ends or not names or len(linear[-1].positions) or tensors[names[0]].ndim != 2:
        raise UnsupportedOperation("This lesson needs a network that ends in one linear layer of (images, features).")
    source, inputs, labels = node.all_input_nodes[0].name, list[Tensor](), list[Tensor]()
    for images, truth in data:
        inputs += [value.double().clone() for _, value in graph.walk(tensors, images, [source])]
        labels.append(truth)
    weight = tensors[names[0]].double()
    bias = tensors[names[1]].double() if len(names) > 1 else weight.new_zeros(len(weight))
    return Classifier(torch.cat(inputs), weight, bias, torch.cat(labels), linear[-1].name)


def translate(classifier: Classifier, chosen: Tensor, seed: int) -> Trail:
    """Move the chosen images (n,) bool along one random direction that the classifier's weights do not see.

    strength: in root mean squared lengths of the centred inputs.  limit: r/(1-r) |mean_S|^2 / E|x|^2 sqrt(PR), PR =
    (tr C)^2 / tr C^2, for a share r of images moved endlessly (Davari et al. 2023).  Raises
    UnsupportedOperation where the weights see every direction (no more features than classes).
    """
    x = classifier.inputs - classifier.inputs.mean(0)
    _, values, vectors = torch.linalg.svd(classifier.weight, full_matrices=True)
    rank = int((values > 1e-10 * values[0]).sum())
    if rank >= vectors.shape[0]:
        raise UnsupportedOperation("The classifier sees every direction of its input, so none can be moved unseen.")
    unseen = vectors[rank:]
    drawn = np.random.default_rng(seed).standard_normal(len(unseen))
    direction = torch.from_numpy(drawn / np.linalg.norm(drawn)).to(x) @ unseen
    length, share = float(x.square().sum(1).mean()) ** 0.5, float(chosen.double().mean())
    covariance = x.T @ x / len(x)
    ratio = float(covariance.diagonal().sum()) / float(covariance.norm())
    mean = float(x[chosen].mean(0).square().sum())
    limit = share / (1 - share) * mean / length**2 * ratio
    offset = chosen.double()[:, None] * direction * length
    changed = [(classifier.inputs + s * offset, classifier.weight) for s in STRENGTHS]
    return _trail(classifier, changed, limit)


def rescale(classifier: Classifier, unit: int) -> Trail:
    """Multiply one unit, and divide its column of the weights: the network computes the same.

    strength: the factor less 1.  limit: x_u' K x_u / (|x_u|^2 |K|), what is left when only that unit counts.
    """
    x = classifier.inputs - classifier.inputs.mean(0)
    gram = x @ x.T
    one = x[:, unit]
    limit = float(one @ gram @ one) / (float(one @ one) * float(gram.norm())) if float(one @ one) > 0 else float("nan")
    changed = []
    for strength in STRENGTHS:
        inputs, weight = classifier.inputs.clone(), classifier.weight.clone()
        inputs[:, unit] *= 1 + strength
        weight[:, unit] /= 1 + strength
        changed.append((inputs, weight))
    return _trail(classifier, changed, limit)


def _trail(classifier: Classifier, changed: list[tuple[Tensor, Tensor]], limit: float) -> Trail:
    """changed: (inputs, weight) at each of STRENGTHS."""
    before, rows = Side(classifier.inputs), []
    for inputs, weight in changed:
        after = Side(inputs)
        measured = [measure(before, after) for measure in (cka_biased, mutual_neighbours, procrustes)]
        rows.append((*measured, *classifier.accuracy(inputs, weight)))
    cka, neighbours, rotated, accuracy, moved = np.array(rows).T
    return Trail(np.array(STRENGTHS), cka, neighbours, rotated, accuracy, moved, limit)
