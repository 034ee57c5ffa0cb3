"""Small networks around one operator each, by name: `OPERATORS`, name -> (factory, sizes of their groups by hand)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.net_parts import Forward, Net, between, ready


def hidden(run: Callable[[Forward, Tensor], Tensor], shape: tuple[int, ...] = (6,), **parts: nn.Module | Tensor) -> Net:
    """A linear layer `wide` of 6 inputs and 5 units, and whatever `run` makes of it."""
    return ready(Forward(run, wide=nn.Linear(6, 5), **parts), shape)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def pair(y: Tensor) -> Tensor:
    """Two different tensors of the same units."""
    return torch.stack([y, y.sin()], 1)


def transformer_network() -> Net:
    """A spatial transformer: a layer makes the grid that the pictures are read at."""
    find = nn.Sequential(nn.Flatten(1), nn.Linear(192, 7), nn.ReLU(), nn.Linear(7, 6))

    def run(m: Forward, x: Tensor) -> Tensor:
        grid = F.affine_grid(m.find(x).view(-1, 2, 3), x.shape, align_corners=False)
        return m.head(m.conv(F.grid_sample(x, grid, align_corners=False)).relu().mean((2, 3)))

    return ready(Forward(run, find=find, conv=nn.Conv2d(3, 5, 3), head=nn.Linear(5, 3)))


def shifted_in_time() -> Net:
    """A temporal shift: some channels move to the place before, some stay."""
    return between(lambda y: torch.cat([y[:, :2].roll(1, 2), y[:, 2:]], 1))


def looked_up() -> Net:
    """Channels read and written by fixed index along their places, and by the place of a maximum."""

    def run(y: Tensor) -> Tensor:
        top = y.argmax(2, keepdim=True)
        read = y.gather(2, top) + torch.zeros_like(y).scatter(2, top, 1.0) * y.index_select(3, torch.tensor([5]))
        return read.index_add(2, torch.tensor([0, 2]), y[:, :, :2]).index_fill(3, torch.tensor([1]), 0.5)

    return between(run)


def normalised_by_hand() -> Net:
    """Weights by size, by rank and by their norm."""

    def run(y: Tensor) -> Tensor:
        y = F.normalize(y, dim=1) + F.rms_norm(y, (6,)) + y / torch.linalg.matrix_norm(y)[..., None, None]
        low, high = y.aminmax(dim=1, keepdim=True)
        spread, mean = torch.std_mean(y, dim=1, keepdim=True)
        return (y - low) / (high - low) + (y - mean) / spread + y.quantile(0.3, dim=1, keepdim=True)

    return between(run)


def many_functions() -> Net:
    """Element by element, with one tensor or two, under the other names that torch gives them too."""

    def run(y: Tensor) -> Tensor:
        z = torch.multiply(torch.subtract(y, y.sin()), torch.divide(y, 2)) + torch.clip(torch.absolute(y), 0.1, 2)
        z = z + torch.special.expit(y) + torch.erfinv(y.tanh()) + torch.asinh(y) + torch.lgamma(y.abs() + 1)
        z = z + torch.logaddexp(y, y.cos()) + torch.hypot(y, z) + y.lerp(z, 0.3) + torch.addcmul(y, y, z)
        z = z * ((y > 0) & (y < 1) | torch.isfinite(z)) + torch.complex(y, z).angle() + torch.polar(z, y).real
        return z + torch.where(torch.ones(6, 6).tril().bool(), y, 0.0)

    return between(run)


ATTENTION_PARTS = {"q": (6, 12), "k": (6, 6), "v": (6, 6), "out": (12, 6), "head": (6, 3)}


def grouped_queries() -> Net:
    """Attention whose two heads of keys and values are read by two heads of queries each."""

    def run(m: Forward, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (-1, 3)).transpose(1, 2) for part in (m.q, m.k, m.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return m.head((m.out(y.transpose(1, 2).flatten(2)) + x @ m.stream).mean(1))

    parts = {name: nn.Linear(*sizes) for name, sizes in ATTENTION_PARTS.items()}
    return ready(Forward(run, **parts, stream=weight(6, 6)), (5, 6))


def written_in_place() -> Net:
    """Some channels scaled through a view, some places overwritten, a new tensor filled part by part."""

    def run(y: Tensor) -> Tensor:
        y = y.clone()
        y[:, :2].mul_(2.0)
        y[:, :, 1:] = y[:, :, :-1].sin()
        z = torch.zeros_like(y)
        z[:, :, :, ::2] = y[:, :, :, 1::2]
        return z.relu_().add_(y.tanh())

    return between(run)


def heads_of_three() -> Net:
    """Attention whose projection holds query, key and value of each head side by side."""

    def run(m: Forward, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).unflatten(2, (2, 10)).transpose(1, 2).split([3, 3, 4], dim=3)
        return m.head(m.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).mean(1))

    parts = {"qkv": nn.Linear(6, 20), "out": nn.Linear(8, 6), "head": nn.Linear(6, 3)}
    return ready(Forward(run, **parts), (5, 6))


def resized_places() -> Net:
    """Patches with an embedding of their places, kept as a small picture and enlarged."""

    def run(m: Forward, x: Tensor) -> Tensor:
        return m.head((m.patch(x) + F.interpolate(m.places, (4, 4), mode="bicubic")).relu().mean((2, 3)))

    parts = {"patch": nn.Conv2d(3, 6, 2, 2), "places": weight(1, 6, 3, 3), "head": nn.Linear(6, 3)}
    return ready(Forward(run, **parts))


def rotary(form: str) -> Net:
    """Attention with rotary positions, in halves, in interleaved pairs by strides, or as complex numbers."""
    angles = torch.outer(torch.arange(5.0), 10.0 ** -torch.arange(2.0))

    def turn(x: Tensor) -> Tensor:
        if form == "complex":
            turned = torch.view_as_complex(x.unflatten(-1, (2, 2))) * torch.polar(torch.ones_like(angles), angles)
            return torch.view_as_real(turned).flatten(-2).type_as(x)
        if form == "halves":
            a, b = x.chunk(2, -1)
            twice = torch.cat([angles, angles], -1)
            return x * twice.cos().type_as(x) + torch.cat([-b, a], -1) * twice.sin().type_as(x)
        a, b, cos, sin = x[..., ::2], x[..., 1::2], angles.cos().type_as(x), angles.sin().type_as(x)
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

    def run(m: Forward, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (2, 4)).transpose(1, 2) for part in (m.q, m.k, m.v))
        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        return m.head(m.out(y.transpose(1, 2).flatten(2)).mean(1))

    sizes = {"q": (6, 8), "k": (6, 8), "v": (6, 8), "out": (8, 6), "head": (6, 3)}
    return ready(Forward(run, **{name: nn.Linear(*size) for name, size in sizes.items()}), (5, 6))


def _statistics_of_the_batch() -> Net:
    norm = nn.BatchNorm2d(5, track_running_stats=False)
    return ready(nn.Sequential(nn.Conv2d(3, 5, 3), norm, nn.ReLU(), nn.Flatten(1), nn.Linear(180, 3)))


def _prototypes(m: Forward, x: Tensor) -> Tensor:
    y = m.wide(x).relu()
    cosine = F.cosine_similarity(y[:, None], m.w[None], dim=-1)
    return cosine - torch.cdist(y, m.w) - F.pairwise_distance(y, y.sin())[:, None]


def _contracted(m: Forward, x: Tensor) -> Tensor:
    y = torch.einsum("...ij,jk->...ik", x, m.a).relu()  # tokens (n, 7, 5)
    y = torch.einsum("...i,i...->...", torch.einsum("...ij,kj->k...i", y, m.b), m.c[:, None])
    return y.transpose(0, 1)


OPERATORS: dict[str, tuple[Callable[[], Net], list[int]]] = {
    "max-of-units": (lambda: between(lambda y: y.max(1).values, 36), [6]),
    "min-of-places": (lambda: between(lambda y: y * y.min(2, keepdim=True)[0]), [6]),
    "place-of-maximum": (lambda: between(lambda y: y * y.max(2, keepdim=True).indices), [6]),
    "median-and-mode": (lambda: between(lambda y: y - y.median(1, keepdim=True)[0] + y.mode(1, keepdim=True)[0]), [6]),
    "sorted-units": (lambda: between(lambda y: y.sort(dim=1).values), [6]),
    "largest-units": (lambda: between(lambda y: torch.cat([y.topk(2, 1)[0], y.kthvalue(1, 1, True)[0]], 1), 108), [6]),
    "sum-so-far": (lambda: between(lambda y: y.cumsum(2) + y.flip(3).cummax(3)[0] + y.logcumsumexp(2)), [6]),
    "differences": (lambda: between(lambda y: y.diff(dim=2), 180), [6]),
    "windows": (lambda: between(lambda y: y.unfold(2, 3, 2).unfold(3, 2, 2), 6 * 36), [6]),
    "windows-of-units": (lambda: between(lambda y: y.unfold(1, 2, 2).amax(-1), 108), [3, 2]),
    "unfold-and-fold": (lambda: between(lambda y: F.fold(F.unfold(y, 2).tanh(), (6, 6), 2)), [6]),
    "pixels-to-channels": (lambda: between(lambda y: F.pixel_unshuffle(y, 2)), [6]),
    "unpooled": (lambda: between(lambda y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2)), [6]),
    "resized": (lambda: between(lambda y: F.interpolate(y, (3, 3), mode="bilinear", antialias=True), 54), [6]),
    "padded": (lambda: between(lambda y: F.pad(F.pad(y, (1, 1, 1, 1), "circular"), (1, 0, 0, 1), "reflect"), 486), [6]),
    "fourier": (lambda: between(lambda y: torch.fft.rfft2(y).abs() + torch.fft.fft(y)[..., :4].real, 144), [6]),
    "lower-triangle": (lambda: between(lambda y: y.tril() + torch.diag_embed(y.triu(1).diagonal(0, 2, 3))), [6]),
    "every-second": (lambda: between(lambda y: y[:, 1::2] * y[:, ::2], 108), [3]),
    "repeated-in-a-row": (lambda: between(lambda y: y.repeat_interleave(2, 1).unflatten(1, (6, 2)).sum(2)), [6]),
    "stacks": (lambda: between(lambda y: torch.dstack(torch.hsplit(torch.hstack([y, y.cos()]), 2)), 432), [6]),
    "turned": (lambda: between(lambda y: y.mT.movedim((1, 2), (3, 1)).swapaxes(1, 2)), [6]),
    "grid-of-places": (lambda: between(lambda y: y * torch.meshgrid(*[torch.arange(6)] * 2, indexing="xy")[0]), [6]),
    "looked-up": (looked_up, [6]),
    "normalised-by-hand": (normalised_by_hand, [6]),
    "many-functions": (many_functions, [6]),
    "shifted-in-time": (shifted_in_time, [2, 4]),
    "spatial-transformer": (transformer_network, [7, 5]),
    "batch-statistics": (_statistics_of_the_batch, [5]),
    "bilinear": (
        lambda: hidden(
            lambda m, x: m.head(m.mix(m.wide(x), m.narrow(x)).relu()),
            narrow=nn.Linear(6, 4),
            mix=nn.Bilinear(5, 4, 7),
            head=nn.Linear(7, 3),
        ),
        [5, 4, 7],
    ),
    "prototypes": (lambda: hidden(_prototypes, w=weight(3, 5)), [5]),
    "einsum-with-dots": (
        lambda: ready(Forward(_contracted, a=weight(6, 5), b=weight(4, 5), c=weight(7)), (7, 6)),
        [5],
    ),
    "products-in-batches": (
        lambda: hidden(
            lambda m, x: torch.tensordot(
                torch.baddbmm(m.bias, pair(m.wide(x)), m.mix.expand(x.shape[0], -1, -1)).relu(),
                m.head,
                dims=([1, 2], [1, 0]),
            ),
            bias=weight(4),
            mix=weight(1, 5, 4),
            head=weight(4, 2, 3),
        ),
        [5, 4],
    ),
    "grouped-queries": (grouped_queries, [2, 2, 3, 3, 6]),
    "written-in-place": (written_in_place, [2, 4]),
    "heads-of-three": (heads_of_three, [2, 3, 4, 6]),
    "resized-places": (resized_places, [6]),
    "pointwise-over-units": (
        lambda: hidden(
            lambda m, x: m.head(m.mix(pair(m.wide(x))).relu().flatten(1)),
            mix=nn.Conv1d(2, 3, 1),
            head=nn.Linear(15, 3),
        ),
        [5, 3],
    ),
    "rotary-halves": (partial(rotary, "halves"), [2, 4, 6]),
    "rotary-pairs": (partial(rotary, "pairs"), [2, 4, 6]),
    "rotary-complex": (partial(rotary, "complex"), [2, 4, 6]),
    "spectral-norm": (
        lambda: ready(
            nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3)), (6,)
        ),
        [5],
    ),
}
