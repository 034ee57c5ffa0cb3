"""Mappings whose tensors are built on demand, or whose units are permuted on demand by stored index vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merging.network.permutation import Axis, Group


@dataclass(frozen=True, eq=False)
class LazyTensors(Mapping[str, Tensor]):
    """A mapping of names to tensors that builds a tensor, of any shape, at each access and stores none.

    Attributes:
        names: the keys in order.
        make: builds the tensor of a name.
    """

    names: tuple[str, ...]
    make: Callable[[str], Tensor]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        return self.make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class HeldTensors(dict[str, Tensor]):
    """Tensors in memory. Moving a group's units copies each tensor with an axis in the group.

    This is fast, and needs at most the memory of one additional copy of the network.
    """

    def moved(self, group: Group, order: Tensor) -> HeldTensors:
        """Return the same tensors with the group's units moved: new unit i is unit order[i]. order: (units,) int64."""
        moved: dict[str, Tensor] = {}
        for axis in group.axes:
            tensor = moved.get(axis.parameter, self[axis.parameter])
            index = order
            if axis.block != 1 or tensor.shape[axis.dim] != group.size:
                index = axis_order(group, axis, tensor.shape[axis.dim], order)
            moved[axis.parameter] = tensor.index_select(axis.dim, index.to(tensor.device))
        return HeldTensors({**self, **moved})


@dataclass(frozen=True, eq=False)
class MovedTensors(Mapping[str, Tensor]):
    """Tensors whose units are re-ordered at each access, so that memory holds index vectors instead of copies.

    Attributes:
        tensors: name -> tensor.
        shapes: name -> the tensor's shape.
        orders: name -> dimension -> (size,) int64; index i of the result is read from index order[i] of the tensor.
    """

    tensors: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    orders: Mapping[str, Mapping[int, Tensor]] = field(default_factory=dict)

    def moved(self, group: Group, order: Tensor) -> MovedTensors:
        """Return the tensors with the group's units moved: new unit i is unit order[i]. order: (units,) int64."""
        orders = dict(self.orders)
        for axis in group.axes:
            own = dict(orders.get(axis.parameter, {}))
            index = axis_order(group, axis, self.shapes[axis.parameter][axis.dim], order)
            own[axis.dim] = own[axis.dim][index] if axis.dim in own else index
            orders[axis.parameter] = own
        return MovedTensors(self.tensors, self.shapes, orders)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        for dim, order in self.orders.get(name, {}).items():
            tensor = tensor.index_select(dim, order.to(tensor.device))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def axis_order(group: Group, axis: Axis, size: int, order: Tensor) -> Tensor:
    """Return, for each index of a dimension, the index that it is read from when units move: (size,) int64.

    order: (units,), new unit i is unit order[i].
    """
    index = torch.arange(size)
    part = index[axis.offset : axis.offset + group.size * axis.block].view(group.size, axis.block)
    part.copy_(part[order])
    return index
