"""Rules for recurrent layers: the hidden units of each layer and direction share one permutation.

A unit is one row of every gate's block in the input and recurrent weights and in the biases, one column of the
recurrent weight, and one entry of the hidden state, which the next layer reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merging.network.tracing.labels import Layout, fixed, join
from merging.network.tracing.rules.base import Operation, Stack, rule

_GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}

State = Layout | Stack


@rule("rnn_tanh.input", "rnn_relu.input", "gru.input", stacks=True)
def recurrent(op: Operation, x: Layout, state: State, *settings: Any) -> list[State]:
    """x (batch, time, inputs), or time first; state (layers * directions, batch, units).

    Results: the outputs at all times, and the last states.
    """
    return _layers(op, x, [state], *settings)


@rule("lstm.input", stacks=True)
def lstm(op: Operation, x: Layout, states: Sequence[State], *settings: Any) -> list[State]:
    """As `recurrent` with hidden and cell states. Results: all outputs, last hidden states, last cell states."""
    return _layers(op, x, states, *settings)


@rule("rnn_tanh_cell", "rnn_relu_cell", "gru_cell")
def cell(op: Operation, x: Layout, state: Layout, *weights: Layout | None) -> Layout:
    """One step: x (batch, inputs) and state (batch, units) give the next state."""
    (result,) = _cell(op, x, [state], [weight for weight in weights if weight is not None])
    return result


@rule("lstm_cell")
def lstm_cell(op: Operation, x: Layout, states: Sequence[Layout], *weights: Layout | None) -> list[Layout]:
    """One step of an LSTM: x (batch, inputs) and two states (batch, units) give the next two states."""
    return _cell(op, x, states, [weight for weight in weights if weight is not None])


def _layers(
    op: Operation,
    x: Layout,
    states: Sequence[State],
    weights: Sequence[Layout],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[State]:
    if train and dropout:
        op.refuse("it drops units at random between its layers", "Call .eval() on the network before it is exported.")
    if x.rank != 3:
        op.refuse("its input has no batch dimension", "Give it a batch of sequences.")
    time, batch = (x.dims[1], x.dims[0]) if batch_first else (x.dims[0], x.dims[1])
    op.positions(time, "processes a dimension step by step")
    directions, below = 1 + bidirectional, x.dims[2]
    own = len(weights) // (layers * directions)
    last: list[list[Layout]] = []
    for layer in range(layers):
        for number in range(layer * directions, (layer + 1) * directions):
            start = [_slice(op, state, number) for state in states]
            last.append(_cell(op, Layout((batch, below)), start, weights[number * own : (number + 1) * own]))
        below = join([hidden.dims[1] for hidden, *_ in last[-directions:]])
    results: list[State] = [Layout((*x.dims[:2], below))]
    return results + [Stack(parts) for parts in zip(*last, strict=True)]


def _cell(op: Operation, x: Layout, states: Sequence[Layout], weights: Sequence[Layout]) -> list[Layout]:
    """Return the states after a step.

    weights: input (gates * units, inputs), recurrent (gates * units, hidden), one bias (gates * units) for each or
    none, and (hidden, units) if an LSTM projects its hidden state.
    """
    projection = weights[-1] if len(weights) % 2 else None
    gates = _GATES[op.name.removesuffix("_cell")]
    inputs, recurrent = weights[:2]
    hidden = recurrent.dims[1]
    units = hidden if projection is None else projection.dims[1]
    blocks = op.labels.product(fixed(gates), units)
    for weight in weights[: len(weights) // 2 * 2]:
        op.unify(weight.dims[0], blocks)
    op.unify(inputs.dims[1], x.dims[1])
    op.contract(inputs.dims[1], hidden)
    if projection is not None:
        op.unify(projection.dims[0], hidden)
        op.contract(units)
    after = [Layout((x.dims[0], dim)) for dim in (hidden, units)[: len(states)]]
    for state, result in zip(states, after, strict=True):
        for dim, same in zip(result.dims, state.dims, strict=True):
            if not op.labels.uniform(same):  # layers may share a state of equal values, such as zeros
                op.unify(dim, same)
    return after


def _slice(op: Operation, state: State, number: int) -> Layout:
    """Return the initial state (batch, units) of one layer and direction."""
    if isinstance(state, Stack):
        return state.parts[number]
    op.labels.pin(state.dims[0])
    return Layout(state.dims[1:])
