"""Responses of every unit of one layer in A, pi(B), the merge, the naive average, and B in its original order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from merging.errors import InvalidRequest
from merging.results.intervals import finite_mean
from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study

if TYPE_CHECKING:
    from torch import Tensor

    from merging.network.graph.graph import Layer

SLOTS = ("A", "pi(B)", "merge", "naive", "B")  # "B": B before its units are permuted
EXEMPLARS = 9


@saved
@dataclass(frozen=True)
class LayerStudy:
    """Responses of U units of a layer in M networks (`slots`) to n test images; NaN where a unit is dead.

    Attributes:
        layer: torch name.
        slots: names of the networks.
        partner: (U,) number of B's unit that is matched to each unit of A.
        dead: (M, U) bool.
        peak: (M, U) largest mean over positions for any image.
        overlap: (M, M, U) share of the nine strongest images in common.
        response: (M, M, U) response of the row's unit to the column's nine strongest images, on a scale where 0 is the
            unit's mean response to all images and 1 its largest.
        activation: (M, M, U) Pearson correlation of the responses over images.
        weight: (M, M, U) Pearson correlation of the incoming weights; NaN for layers without weights.
        tuning: (M, classes, U) mean response to the images of a class.
        images: n.
    """

    layer: str
    slots: tuple[str, ...]
    partner: np.ndarray
    dead: np.ndarray
    peak: np.ndarray
    overlap: np.ndarray
    response: np.ndarray
    activation: np.ndarray
    weight: np.ndarray
    tuning: np.ndarray
    images: int

    def change(self) -> np.ndarray:
        """Difference (U,) of the merge's unit from its parents.

        The difference is 1 minus the mean of the unit's responses to A's and pi(B)'s strongest images.
        """
        merge = self.slots.index("merge")
        return 1 - np.clip(self.response[merge, :2], 0, 1).mean(0)


@dataclass(frozen=True)
class LayerSettings:
    """Layer and number of images."""

    layer: str = setting("", label="Layer", help="The layer's name in torch; if empty, the first layer with units.")
    images: int = setting(2000, low=50, high=10_000, label="Images", help="Test images.")


@study(
    "layer",
    label="Units of a layer",
    summary="What every unit of a layer responds to in A, π(B), the merge, the naive average, and B as it was.",
    source="Natural exemplars: Borowski et al.: Exemplary Natural Images Explain CNN Activations (ICLR 2021)",
    settings=LayerSettings,
    page="neurons",
    places=("layer",),
    version=2,
    numbers={
        "change": Number(
            "Change of units in the first layer (0: none, 1: replaced)", lambda found: finite_mean(found.change())
        ),
    },
)
def layer(subject: Subject, settings: LayerSettings) -> LayerStudy:
    """Run every network once, up to the layer. Memory: images x units of five networks.

    Raises IncompatibleModels where an image has several labels.
    """
    import torch

    from merging.analysis.activations.responses import correlations, overlap, respond, response_to, tuning
    from merging.analysis.path.predictions import refuse_several_labels
    from merging.network.permutation import named_tensors

    place, partner = layer_of(subject, settings.layer)
    data, answers = subject.images(settings.images), []
    refuse_several_labels(data)
    for number, slot in enumerate(SLOTS):
        subject.report("studying", number / len(SLOTS), f"{slot}, up to {place.name}")
        answers.append(respond(subject.graph, named_tensors(subject.nets[slot]), place, data))
    labels = torch.cat([truth for _, truth in data])
    strongest = [one.strongest(EXEMPLARS) for one in answers]
    dead = torch.stack([one.dead() for one in answers])
    alive = torch.where(dead, torch.nan, 1.0).double()
    both = alive[:, None] * alive
    pairs = [[overlap(first, second) for second in strongest] for first in strongest]
    responses = [[response_to(one, images) for images in strongest] for one in answers]
    classes = int(labels.max()) + 1
    return LayerStudy(
        layer=place.name,
        slots=SLOTS,
        partner=partner.cpu().numpy(),
        dead=dead.cpu().numpy(),
        peak=torch.stack([one.mean.double().amax(0) for one in answers]).cpu().numpy(),
        overlap=(torch.stack([torch.stack(row) for row in pairs]) * both).cpu().numpy(),
        response=(torch.stack([torch.stack(row) for row in responses]) * alive[:, None]).cpu().numpy(),
        activation=(correlations([one.mean for one in answers]) * both).cpu().numpy(),
        weight=incoming(subject, place).cpu().numpy(),
        tuning=torch.stack([tuning(one, labels, classes) for one in answers]).cpu().numpy(),
        images=data.count,
    )


def layers_with_partners(subject: Subject) -> tuple[list[Layer], dict[str, str]]:
    """Layers whose units have partners in B, and layer node -> name of its group.

    Raises InvalidRequest where there is no such layer.
    """
    from merging.analysis.activations.read import groups_by_node, named_layers

    groups = groups_by_node(subject.graph, subject.spec)
    layers = [one for one in named_layers(subject.graph, None) if one.node in groups]
    if not layers:
        raise InvalidRequest(
            "No layer of this network has units that are permuted as one group, so there is nothing to compare."
        )
    return layers, groups


def layer_of(subject: Subject, name: str) -> tuple[Layer, Tensor]:
    """Layer with this name (for "", the first whose units have partners), and B's permutation of its units.

    Raises UnknownLayer, and InvalidRequest for a layer whose units have no partners.
    """
    named, groups = layers_with_partners(subject)
    place = subject.graph.layer(name) if name else named[0]
    if place.node not in groups:
        raise InvalidRequest(
            f"The units of {place.name} are not permuted as one group, so none has a partner in B. "
            f"Choose one of {', '.join(one.name for one in named[:8])}."
        )
    return place, subject.partner[groups[place.node]]


def incoming(subject: Subject, place: Layer) -> Tensor:
    """Pearson correlations (M, M, U) of the units' incoming weights between the networks of SLOTS.

    NaN where the layer has no weights of its own from which its units are made.
    """
    import torch

    from merging.analysis.activations.read import groups_by_node
    from merging.analysis.activations.responses import correlations
    from merging.network.permutation import named_tensors

    node = next(node for node in subject.graph.nodes if node.name == place.node)
    sources = {subject.graph.sources.get(arg.name, "") for arg in node.all_input_nodes}
    name = groups_by_node(subject.graph, subject.spec)[place.node]
    group = next(one for one in subject.spec.groups if one.name == name)
    axes = [one for one in group.axes if one.parameter in sources and len(subject.graph.shapes[one.parameter]) > 1]
    made = [one for one in axes if not one.used] or axes  # a depthwise convolution makes and uses its units in one axis
    if place.kind not in ("conv", "linear") or len(made) != 1:
        return torch.full((len(SLOTS), len(SLOTS), place.units), torch.nan)
    axis = made[0]
    rows = []
    for slot in SLOTS:
        weight = named_tensors(subject.nets[slot])[axis.parameter].movedim(axis.dim, 0)
        units = weight.narrow(0, axis.offset, axis.block * group.size)
        rows.append(units.reshape(group.size, -1).T)
    return correlations(rows)
