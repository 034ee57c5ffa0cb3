"""Small networks whose values hold images and tokens in many orders: `NETWORKS`, (seed) -> (network, two inputs)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from merging.zoo.torchvision_import import torchvision
from tests.nets.nets import residual

Net = tuple[nn.Module, Tensor]


class Encoder(nn.Module):
    """nn.TransformerEncoder over 6 tokens of 7 numbers, batch first or second, the mean of its tokens."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Linear(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x)
        if self.batch_first:
            return self.head(self.encoder(tokens).mean(1))
        return self.head(self.encoder(tokens.transpose(0, 1)).mean(0))


class Mixer(nn.Module):
    """A block of an MLP-Mixer: one MLP over the places, one over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2 = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.LayerNorm(6)
        self.places = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 4))
        self.channels = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.places(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)
        tokens = tokens + self.channels(self.norm2(tokens))
        return self.head(tokens.mean(1))


def drawn(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> Callable[[int], Net]:
    """The network with random weights, norm parameters and statistics, and two random inputs of this shape."""

    def build(seed: int) -> Net:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = make().eval()
            with torch.no_grad():
                for name, tensor in (*net.named_parameters(), *net.named_buffers()):
                    if name.endswith("running_var"):
                        tensor.uniform_(0.5, 1.5)
                    elif tensor.is_floating_point() and (tensor.ndim <= 1 or not tensor.any()):
                        tensor.add_(0.2 * torch.randn_like(tensor))
            return net, torch.randn(2, *shape)

    return build


def classifier(build: Callable[[int], Net], fill: float) -> Net:
    """The network with all weights alike, so that nothing can be told from its outputs."""
    net, example = build(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(fill)
    return net, example


def _plain() -> nn.Module:
    first = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    second = [nn.Conv2d(6, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)]
    return nn.Sequential(*first, *second)


def _vit() -> nn.Module:
    return torchvision.models.VisionTransformer(8, 4, 2, 2, 8, 12, num_classes=3)


def _swin() -> nn.Module:
    return torchvision.models.SwinTransformer([2, 2], 8, [2, 2], [2, 2], [2, 2], num_classes=3)


NETWORKS: dict[str, Callable[[int], Net]] = {
    "vit": drawn(_vit, (3, 8, 8)),
    "swin": drawn(_swin, (3, 16, 16)),
    "encoder": drawn(lambda: Encoder(batch_first=True), (6, 7)),
    "encoder, batch second": drawn(lambda: Encoder(batch_first=False), (6, 7)),
    "plain": drawn(_plain, (3, 8, 8)),
    "resnet": drawn(lambda: residual()[0], (3, 8, 8)),
    "mixer": drawn(Mixer, (3, 8, 8)),
}
