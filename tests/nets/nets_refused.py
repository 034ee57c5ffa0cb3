"""Small networks that cannot be followed, by name, each with the operator or words that its refusal must name."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.net_parts import Forward, Net, between, ready


def _written_by_index(y: Tensor) -> Tensor:
    y = y.clone()
    y[:, torch.tensor([0, 2])] = 1.0
    return y


class _InTraining(nn.Module):
    """Batch normalisation by the statistics of the batch, though there are running ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(180, 3)

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        y = F.batch_norm(self.conv(x), n.running_mean, n.running_var, n.weight, n.bias, training=True)
        return self.head(y.flatten(1))


def _dropping() -> Net:
    """A GRU that drops units between its layers whatever the mode is."""
    layer = nn.GRU(4, 5, 2, batch_first=True)
    weights = {f"w{number}": weight for number, weight in enumerate(layer.parameters())}

    def run(m: Forward, x: Tensor) -> Tensor:
        start = x.new_zeros(2, x.shape[0], 5)
        y, _ = torch.gru(x, start, [getattr(m, name) for name in weights], True, 2, 0.5, True, False, True)
        return m.head(y.mean(1))

    return ready(Forward(run, **weights, head=nn.Linear(5, 3)), (7, 4))


def _own(y: Tensor, name: str, *args: Any) -> Tensor:
    """The first result of an operator of ATen by its own name."""
    result = getattr(torch.ops.aten, name)(y, *args)
    return result[0] if isinstance(result, (tuple, list)) else result


REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "sort": (lambda: between(lambda y: y.gather(1, y.sort(dim=1).indices) * y.sort(1).indices), "values alone"),
    "topk": (lambda: between(lambda y: y * y.topk(2, 1).indices[:, :1]), "topk"),
    "unsorted-topk": (lambda: between(lambda y: y.topk(2, 1, sorted=False).values, 72), "sorted=True"),
    "max": (lambda: between(lambda y: y * y.max(1, keepdim=True)[1]), "values alone"),
    "cumsum": (lambda: between(lambda y: y.cumsum(1)), "cumsum"),
    "argmax": (lambda: between(lambda y: y * y.argmax(1, keepdim=True)), "argmax"),
    "roll": (lambda: between(lambda y: y.roll(1, dims=1)), "roll"),
    "flip": (lambda: between(lambda y: y.flip(1)), "flip"),
    "fft": (lambda: between(lambda y: torch.fft.fft(y, dim=1).real), "fft"),
    "every-fourth-channel": (lambda: between(lambda y: y[:, ::4], 2 * 36), "slice"),
    "windows-over-units": (lambda: between(lambda y: y.unfold(1, 3, 1), 4 * 36 * 3), "unfold"),
    "written-by-index": (lambda: between(_written_by_index), "torch.where"),
    "random": (lambda: between(lambda y: y + torch.rand_like(y)), "self.training"),
    "memory": (lambda: between(lambda y: y + torch.empty(6)), "zeros"),
    "strides": (lambda: between(lambda y: y.as_strided(y.shape, y.stride())), "unfold"),
    "batch-norm-in-training": (lambda: ready(_InTraining()), ".eval()"),
    "recurrent-dropout-in-training": (_dropping, ".eval()"),
    "decomposed": (
        lambda: between(lambda y: _own(y, "native_layer_norm", [6], None, None, 1e-5)),
        "Export the network without that",
    ),
    "units-with-places": (lambda: between(lambda y: F.avg_pool2d(y.view(-1, 4, 9, 6), 2), 48), "view"),
    "slides-over-units": (
        lambda: between(lambda y: F.avg_pool1d(y.flatten(2).transpose(1, 2), 2), 3 * 36),
        "avg_pool1d",
    ),
    "dropout-in-eval": (lambda: between(lambda y: F.dropout(y, 0.5, training=True)), "dropout"),
    "local-response": (lambda: between(lambda y: F.local_response_norm(y, 3)), "avg_pool3d"),
    "by-value": (lambda: between(lambda y: y if y.sum() > 0 else -y), "data-dependent"),
    "by-mask": (lambda: between(lambda y: y[y > 0].sum() * y), "index"),
    "fixed-batch": (lambda: between(lambda y: y.view(len(y), -1)), "flatten(1)"),
}
