"""Tensors that are not held: made when they are asked for, or with units in another order that is kept as an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merging.network.permutation import Axis, Group


@dataclass(frozen=True, eq=False)
class LazyTensors(Mapping[str, Tensor]):
    """A mapping of names to tensors that makes a tensor, of any shape, each time it is asked for, and keeps none.

    names: its keys in order.  make: name -> tensor.
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
    """Tensors in memory. Moving units copies the tensors that they lie on: fast, and in all one more network."""

    def moved(self, group: Group, order: Tensor) -> HeldTensors:
        """The same tensors with the group's units moved: new unit i is unit order[i]. order: (units,) int64."""
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
    """Tensors whose units are put in order each time one is asked for: memory holds indices, and no copy of them all.

    tensors: name -> tensor.  shapes: name -> its shape.  orders: name -> dimension -> (size,) int64, where index i of
    the result comes from.
    """

    tensors: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    orders: Mapping[str, Mapping[int, Tensor]] = field(default_factory=dict)

    def moved(self, group: Group, order: Tensor) -> MovedTensors:
        """As `HeldTensors.moved`, with the same numbers in the tensors. order: (units,) int64."""
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
    """Where each index of a dimension comes from when the units on one of its axes move: (size,) int64.

    order: (units,), new unit i is unit order[i].
    """
    index = torch.arange(size)
    part = index[axis.offset : axis.offset + group.size * axis.block].view(group.size, axis.block)
    part.copy_(part[order])
    return index
