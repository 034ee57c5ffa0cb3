"""Small networks that cannot be followed, by name, each with the operator or words that its refusal must name."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.nets import Net, between


def _written_through() -> Net:
    def run(y: Tensor) -> Tensor:
        y[:, :2].mul_(2.0)
        return y.relu()

    return between(run)


REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "sort": (lambda: between(lambda y: y.sort(dim=1).values), "sort"),
    "cumsum": (lambda: between(lambda y: y.cumsum(1)), "cumsum"),
    "argmax": (lambda: between(lambda y: y * y.argmax(1, keepdim=True)), "argmax"),
    "roll": (lambda: between(lambda y: y.roll(1, dims=1)), "roll"),
    "flip": (lambda: between(lambda y: y.flip(1)), "flip"),
    "fft": (lambda: between(lambda y: torch.fft.fft(y, dim=1).real), "fft"),
    "every-second-channel": (lambda: between(lambda y: y[:, ::2], 3 * 36), "slice"),
    "units-with-places": (lambda: between(lambda y: F.avg_pool2d(y.view(-1, 4, 9, 6), 2), 48), "view"),
    "slides-over-units": (
        lambda: between(lambda y: F.avg_pool1d(y.flatten(2).transpose(1, 2), 2), 3 * 36),
        "avg_pool1d",
    ),
    "written-through-a-view": (_written_through, "mul_"),
    "dropout-in-eval": (lambda: between(lambda y: F.dropout(y, 0.5, training=True)), "dropout"),
    "local-response": (lambda: between(lambda y: F.local_response_norm(y, 3)), "avg_pool3d"),
    "by-value": (lambda: between(lambda y: y if y.sum() > 0 else -y), "data-dependent"),
    "by-mask": (lambda: between(lambda y: y[y > 0].sum() * y), "index"),
    "fixed-batch": (lambda: between(lambda y: y.view(len(y), -1)), "flatten(1)"),
}
