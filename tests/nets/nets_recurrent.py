"""Small recurrent networks, by name: `RECURRENT`, name -> (factory, sizes of their groups by hand)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.nets.net_parts import Forward, Net, ready

STEPS = 3  # torch.export follows a recurrent layer step by step
Read = Callable[[Tensor, Tensor], Tensor]


def recurrent(kind: str, read: Read = lambda y, last: y[:, -1], size: int = 5, **options: Any) -> Net:
    """Sequences of 4 numbers a step through nn.RNN, nn.GRU or nn.LSTM of 5 units, then a classifier.

    read: what the classifier is given of the outputs (n, steps, size) and of the last hidden states (layers, n, units).
    """
    layer = getattr(nn, kind)(4, 5, **{"batch_first": True} | options)

    def run(m: Forward, x: Tensor) -> Tensor:
        y, last = m.layer(x if m.layer.batch_first else x.transpose(0, 1))
        y = y if m.layer.batch_first else y.transpose(0, 1)
        return m.head(read(y, last[0] if kind == "LSTM" else last))

    return ready(Forward(run, layer=layer, head=nn.Linear(size, 3)), (STEPS, 4))


def loop(kind: str, bias: bool = True) -> Net:
    """A cell that is called for every step of a sequence, in a loop of Python."""

    def run(m: Forward, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = m.cell(step, state)
        return m.head(state[0] if isinstance(state, tuple) else state)

    return ready(Forward(run, cell=getattr(nn, kind)(4, 5, bias=bias), head=nn.Linear(5, 3)), (STEPS, 4))


def learned_start(layers: int) -> Net:
    """A GRU that starts from a learned state: its layers share the state's axis, and so one permutation."""

    def run(m: Forward, x: Tensor) -> Tensor:
        return m.head(m.layer(x, m.start.expand(-1, x.shape[0], -1).contiguous())[0].mean(1))

    layer, start = nn.GRU(4, 5, layers, batch_first=True), nn.Parameter(torch.zeros(layers, 1, 5))
    return ready(Forward(run, layer=layer, start=start, head=nn.Linear(5, 3)), (STEPS, 4))


def sequence_to_sequence() -> Net:
    """An LSTM of two layers whose last states a second one starts from: layer by layer they have the same units."""

    def run(m: Forward, x: Tensor) -> Tensor:
        _, states = m.encoder(x)
        return m.head(m.decoder(x.flip(1), states)[0].amax(1))

    parts = {name: nn.LSTM(4, 5, 2, batch_first=True) for name in ("encoder", "decoder")}
    return ready(Forward(run, **parts, head=nn.Linear(5, 3)), (STEPS, 4))


def after_convolutions() -> Net:
    """A convolution along time, then two GRUs of different widths, one in both directions."""

    def run(m: Forward, x: Tensor) -> Tensor:
        y, _ = m.first(m.conv(x.transpose(1, 2)).relu().transpose(1, 2))
        return m.head(m.second(y)[0].flatten(1))

    parts = {"conv": nn.Conv1d(4, 6, 3, padding=1), "second": nn.GRU(10, 3, batch_first=True)}
    first = nn.GRU(6, 5, batch_first=True, bidirectional=True)
    return ready(Forward(run, **parts, first=first, head=nn.Linear(3 * STEPS, 3)), (STEPS, 4))


def one_unit() -> Net:
    """Recurrent layers of one unit, which nothing can permute, behind one of six."""

    def run(m: Forward, x: Tensor) -> Tensor:
        y = m.first(x)[0]
        return m.head(torch.cat([m.gru(y)[0], m.rnn(y)[0]], 2).mean(1))

    parts = {"gru": nn.GRU(6, 1, batch_first=True), "rnn": nn.RNN(6, 1, batch_first=True), "head": nn.Linear(2, 3)}
    return ready(Forward(run, first=nn.LSTM(4, 6, batch_first=True), **parts), (STEPS, 4))


BOTH = {"num_layers": 2, "bidirectional": True}
KINDS = ("RNN", "GRU", "LSTM")

RECURRENT: dict[str, tuple[Callable[[], Net], list[int]]] = {
    **{kind.lower(): (partial(recurrent, kind), [5]) for kind in KINDS},
    "gru-time-first": (partial(recurrent, "GRU", batch_first=False, num_layers=2, dropout=0.5), [5, 5]),
    **{f"{kind.lower()}-both": (partial(recurrent, kind, size=10, **BOTH), [5] * 4) for kind in KINDS},
    "lstm-no-bias": (
        partial(recurrent, "LSTM", lambda y, last: y.mean(1), 10, bidirectional=True, bias=False),
        [5, 5],
    ),
    "rnn-relu": (partial(recurrent, "RNN", nonlinearity="relu"), [5]),
    "lstm-projected": (partial(recurrent, "LSTM", size=6, proj_size=3, **BOTH), [3, 3, 5, 3, 5, 3, 5, 5]),
    "gru-last-states": (
        partial(recurrent, "GRU", lambda y, last: torch.cat([last[-2], last[-1]], 1), 10, **BOTH),
        [5] * 4,
    ),
    "lstm-last-layer": (
        partial(recurrent, "LSTM", lambda y, last: last[2:].transpose(0, 1).flatten(1), 10, **BOTH),
        [5] * 3,
    ),
    "rnn-all-states": (partial(recurrent, "RNN", lambda y, last: last.permute(1, 0, 2).flatten(1), 20, **BOTH), [5]),
    "gru-states-unbound": (partial(recurrent, "GRU", lambda y, last: sum(last.unbind(0)), **BOTH), [5]),
    "lstm-some-units": (partial(recurrent, "LSTM", lambda y, last: y[:, :, :3].mean(1), 3), [3, 2]),
    "one-unit": (one_unit, [6]),
    "learned-start": (partial(learned_start, 1), [5]),
    "learned-start-of-two": (partial(learned_start, 2), [5]),
    "sequence-to-sequence": (sequence_to_sequence, [5, 5]),
    "after-convolutions": (after_convolutions, [6, 5, 5, 3]),
    **{f"{kind.lower()}-cell": (partial(loop, f"{kind}Cell"), [5]) for kind in KINDS},
    "lstm-cell-no-bias": (partial(loop, "LSTMCell", bias=False), [5]),
}
