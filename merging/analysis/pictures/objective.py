"""Objective that a picture maximises: the response of a unit. The network runs only up to the unit's layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from merging.analysis.activations.read import after_nonlinearity, by_unit, check_readable
from merging.errors import InvalidRequest, UnknownLayer
from merging.network.graph.graph import Graph, Layer


@dataclass(frozen=True)
class Objective:
    """Response of units of one layer, as the value that pictures maximise.

    Attributes:
        graph: structure of the network.
        tensors: the weights; they get no gradients.
        layer: the layer whose units respond.
        drive: if `layer` is an activation or a pool, the layer that feeds it; else None.
        kind: "channel", the unit's mean over all positions, or "neuron", its value at the centre.
        negative: minimise the response instead. It is then read from `drive`, because a rectified unit is never
            negative.
        after: the nonlinearity that follows `layer`, or `layer` itself.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]
    layer: Layer
    drive: Layer | None
    kind: str
    negative: bool
    after: Layer

    @staticmethod
    def of(graph: Graph, tensors: Mapping[str, Tensor], layer: str, kind: str, *, negative: bool = False) -> Objective:
        """Build the objective for the layer with this torch name. tensors: name -> tensor, of any shape.

        Raises UnknownLayer, and InvalidRequest where the layer's value mixes the images.
        """
        place = graph.layer(layer)
        if not _by_image(place):
            sizes, images = graph.record.values[place.node], graph.record.values[graph.input][0]
            raise InvalidRequest(
                f"{layer} mixes the images of a batch: for {images} images its output has shape {sizes}, so no "
                "picture of a single unit can be made. Choose a layer before or after it."
            )
        check_readable(place)
        frozen = {name: tensor.detach() for name, tensor in tensors.items()}
        drive = _drive(graph, place)
        read = (drive or place) if negative else place
        return Objective(graph, frozen, read, drive, kind, negative, after_nonlinearity(graph, place))

    def check(self, units: Sequence[int]) -> None:
        """Raise UnknownLayer if the layer lacks one of these units."""
        for unit in units:
            if not 0 <= unit < self.layer.units:
                raise UnknownLayer(f"{self.layer.name} has no unit {unit}: its units are 0 to {self.layer.units - 1}.")

    def __call__(self, images: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Return the response (n,) of unit units[i] to image i, and the value (n,) whose gradient is followed.

        units: (n,) int64 unit numbers, or (n, U) float directions, i.e. one weight per unit of the layer.

        Response and value differ where a rectified unit is 0 at the positions that are read. Its gradient is then 0
        too, and the picture would remain noise. The gradient of the value before the activation is therefore followed
        until the unit responds. (Lucid redirects the gradient of its ReLUs for the same reason.)
        """
        keep = () if self.drive is None or self.drive == self.layer else (self.drive.node,)
        images = images.contiguous(memory_format=torch.channels_last)  # pooling is 5 times faster on a CPU
        _, kept = self.graph.run(self.tensors, images, keep, until=self.layer.node)
        value = self._reduced(self._answers(kept, self.layer, units), self.layer)
        if self.negative:
            return value, -value
        if self.drive is None:
            return value, value
        before = self._reduced(self._answers(kept, self.drive, units), self.drive)
        return value, torch.where(value == 0, before, value)

    def strongest(self, images: Tensor, units: Tensor) -> Tensor:
        """Response (n,) of unit units[i] to image i, at its strongest position, after the nonlinearity.

        Arguments are those of a call.
        """
        _, kept = self.graph.run(
            self.tensors, images.contiguous(memory_format=torch.channels_last), (), self.after.node
        )
        return self._answers(kept, self.after, units).amax(1)

    def _answers(self, kept: Mapping[str, Tensor], layer: Layer, units: Tensor) -> Tensor:
        """Response (n, positions) of unit or direction units[i] to image i."""
        if units.is_floating_point():
            return torch.einsum("nup,nu->np", by_unit(kept[layer.node], layer), units)
        return by_unit(kept[layer.node], layer)[torch.arange(len(units), device=units.device), units]

    def _reduced(self, answers: Tensor, layer: Layer) -> Tensor:
        if self.kind == "channel":
            return answers.mean(1)
        sizes = layer.positions
        return answers[:, int(np.ravel_multi_index([size // 2 for size in sizes], sizes)) if sizes else 0]


def _drive(graph: Graph, layer: Layer) -> Layer | None:
    by_node = {one.node: one for one in graph.layers}
    sources = {node.name: node.all_input_nodes[0].name for node in graph.nodes if node.all_input_nodes}
    source: Layer | None = layer
    while source is not None and source.kind in ("activation", "pool"):
        source = by_node.get(sources[source.node])
    fits = source is not None and source != layer and source.units == layer.units and _by_image(source)
    return source if fits else None


def _by_image(layer: Layer) -> bool:
    """Whether one dimension of the layer's value holds images only; inside attention, it may hold tokens as well."""
    axis = layer.images
    return axis is not None and axis.outer * axis.inner == 1
