"""Networks that read tokens: what is traced, planted permutations, a merge and its curve from tensors of tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from merging.analysis.path.interpolation import interpolate
from merging.network.data import Batches
from merging.network.graph.graph import export
from merging.network.permutation import permute
from merging.network.tracing.tracer import coverage, trace, trace_graph, verify
from merging.pipeline.merge import merge
from tests.nets.nets_of_tokens import LENGTH, TOKENS, VOCABULARY
from tests.nets.pairs import same, tensors_of


@pytest.mark.parametrize("name", ["gpt", "gpt-by-hand"])
def test_every_hidden_unit_of_a_gpt_is_in_a_group(name: str):
    graph = export(*TOKENS[name][0]())
    spec = trace_graph(graph)
    assert coverage(graph, spec) == (112, 112)  # qkv 24, out 8, up 16 and down 8 in each of two blocks
    sizes = {group.name: group.size for group in spec.groups}
    assert sizes["tokens"] == 8  # the residual stream
    assert (sizes["blocks.0.qkv[0:8]"], sizes["blocks.0.qkv[0:4]"]) == (2, 4)  # heads; what a query and a key compare
    assert sizes["blocks.0.qkv[16:20]"] == 4  # what a head gives
    assert sizes["blocks.0.up"] == 16


def test_the_embedding_that_is_the_head_too_is_one_tensor_whose_words_keep_their_order():
    spec = trace(*TOKENS["gpt"][0]())
    assert [(axis.dim, group.name) for axis, group in spec.by_parameter["tokens.weight"]] == [(1, "tokens")]
    assert "head.weight" not in spec.by_parameter
    assert [axis.dim for axis, _ in spec.by_parameter["places.weight"]] == [1]


@pytest.mark.parametrize("name", ["bag-mean", "tokens-lstm", "gpt"])
def test_a_planted_permutation_is_recovered(name: str):
    net, example = TOKENS[name][0]()
    spec = trace(net, example)
    assert verify(net, spec, example) < 1e-12
    result = merge([net, permute(net, spec, spec.random(3))], example=example)
    assert result.notes["equivalence"] < 1e-12
    assert result.notes["trace"]["permuted"] == result.notes["trace"]["units"]
    assert same(tensors_of(result.merged), tensors_of(net))


class Majority(nn.Module):
    """Embedding, LSTM, linear layer: whether more tokens of a row are above the middle of the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCABULARY, 6), nn.Linear(12, 2)
        self.layer = nn.LSTM(6, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(x))[0].mean(1))


def rows(count: int, seed: int) -> Batches:
    """Rows of tokens and the class of each."""
    tokens = torch.randint(VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return Batches(tokens, ((tokens > VOCABULARY // 2).sum(1) > LENGTH // 2).long(), size=64)


def trained(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = Majority()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(6):
        for tokens, labels in rows(512, 0):
            optimizer.zero_grad()
            cross_entropy(net(tokens), labels).backward()
            optimizer.step()
    return net.eval()


def test_trained_classifiers_of_tokens_merge_and_have_a_curve():
    pair, data, test = [trained(0), trained(1)], rows(512, 0), rows(256, 9)
    naive, aligned = (merge(pair, align=key, data=data) for key in ("none", "activation-matching"))
    assert aligned.notes["equivalence"] < 1e-12
    assert aligned.merged(data.images[:2]).shape == (2, 2)
    before, after = (interpolate(*result.aligned, test, points=3) for result in (naive, aligned))
    assert min(before.accuracy[0], before.accuracy[-1]) > 0.9
    assert after.loss[1] < before.loss[1]
