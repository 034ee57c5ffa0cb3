"""Small networks that read tokens, by name: `TOKENS`, name -> (factory, sizes of their groups by hand)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.nets.net_parts import Forward, Net, read_tokens

VOCABULARY, LENGTH = 11, 5


def bag(mode: str, flat: bool = False) -> Net:
    """The sum, mean or maximum of the tokens' vectors, then an MLP; flat: the bags as one list with their starts."""

    def run(m: Forward, x: Tensor) -> Tensor:
        y = m.bag(x.flatten(), torch.arange(0, x.numel(), x.shape[1])) if flat else m.bag(x)
        return m.head(m.hidden(y).relu())

    parts = {"bag": nn.EmbeddingBag(VOCABULARY, 6, mode=mode), "hidden": nn.Linear(6, 5), "head": nn.Linear(5, 3)}
    return read_tokens(Forward(run, **parts), LENGTH, VOCABULARY)


def classifier(kind: str) -> Net:
    """Embedding, a recurrent layer in both directions, a classifier of its mean output."""

    def run(m: Forward, x: Tensor) -> Tensor:
        return m.head(m.layer(m.embedding(x))[0].mean(1))

    layer = getattr(nn, kind)(6, 5, batch_first=True, bidirectional=True)
    parts = {"embedding": nn.Embedding(VOCABULARY, 6, padding_idx=0), "layer": layer, "head": nn.Linear(10, 3)}
    return read_tokens(Forward(run, **parts), LENGTH, VOCABULARY)


class Block(nn.Module):
    """A pre-norm block of a GPT: causal attention of two heads, then an MLP with GELU, both added to the stream."""

    def __init__(self, width: int, heads: int, by_hand: bool) -> None:
        super().__init__()
        self.heads, self.by_hand = heads, by_hand
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        length, width = x.shape[1:]
        parts = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        if self.by_hand:
            later = torch.ones(length, length).triu(1).bool()
            scores = (q @ k.transpose(-2, -1) * (width / self.heads) ** -0.5).masked_fill(later, -torch.inf)
            y = scores.softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(-1, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Token and place embeddings, blocks, a norm, and logits of the next token by the token embedding itself."""

    def __init__(self, width: int = 8, heads: int = 2, blocks: int = 2, by_hand: bool = False) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(Block(width, heads, by_hand) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def gpt(by_hand: bool = False) -> Net:
    """A GPT of two blocks with random weights, and two rows of tokens."""
    return read_tokens(Gpt(by_hand=by_hand), LENGTH, VOCABULARY)


TOKENS: dict[str, tuple[Callable[[], Net], list[int]]] = {
    **{f"bag-{mode}": (partial(bag, mode), [6, 5]) for mode in ("sum", "mean", "max")},
    "bag-of-starts": (partial(bag, "sum", flat=True), [6, 5]),
    "tokens-lstm": (partial(classifier, "LSTM"), [6, 5, 5]),
    "tokens-gru": (partial(classifier, "GRU"), [6, 5, 5]),
    "gpt": (gpt, [8, 2, 4, 4, 16, 2, 4, 4, 16]),
    "gpt-by-hand": (partial(gpt, by_hand=True), [8, 2, 4, 4, 16, 2, 4, 4, 16]),
}
