"""Networks that read tokens: integers stay integers, from the data to the proof, and positions have labels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.layer_values import textbook_cka
from merging.analysis.layer_survey import analyse
from merging.analysis.path.evaluation import evaluate
from merging.analysis.path.interpolation import interpolate
from merging.analysis.path.predictions import answers
from merging.analysis.similarity.cka import cka
from merging.errors import IncompatibleModels, UnsupportedOperation
from merging.network.data import Batches, as_batches
from merging.network.graph.graph import export
from merging.network.graph.image_axes import ImageAxis
from merging.network.graph.tokens import random_tokens, token_range
from merging.network.permutation import named_tensors, permute
from merging.network.tracing.proof import proof_inputs
from merging.network.tracing.tracer import trace, verify
from merging.pipeline.merge import merge, output_difference
from tests.nets.net_parts import Forward, ready

VOCABULARY, LENGTH = 13, 6


class Words(nn.Module):
    """A classifier of sentences: an embedding, the mean over the words, an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 8)
        self.hidden, self.head = nn.Linear(8, 10), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(self.words(x).mean(1)).relu())


class Gpt(nn.Module):
    """A causal block of attention and an MLP, and logits of the next token at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, 8), nn.Embedding(LENGTH, 8)
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        self.head = nn.Linear(8, VOCABULARY, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("order", torch.arange(LENGTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stream = self.words(x) + self.places(self.order[: x.shape[1]])
        q, k, v = (t.unflatten(2, (2, 4)).transpose(1, 2) for t in self.qkv(self.norm(stream)).chunk(3, -1))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        stream = stream + self.out(seen.transpose(1, 2).flatten(2))
        return self.head(stream + self.mlp(stream))


def net(kind: type[nn.Module], seed: int) -> nn.Module:
    return ready(kind(), seed=seed)[0]


def tokens(count: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(VOCABULARY, size=(count, LENGTH)))


def sentences(kind: type[nn.Module], count: int = 40) -> Batches:
    x = tokens(count)
    return as_batches((x, x.roll(-1, 1) if kind is Gpt else x.sum(1) % 3), 16)


@pytest.mark.parametrize("align", ["weight-matching", "activation-matching", "straight-through"])
@pytest.mark.parametrize("kind", [Words, Gpt])
def test_token_networks_merge_and_a_twin_merges_into_the_net(kind: type[nn.Module], align: str) -> None:
    first, data = net(kind, 0), sentences(kind)
    spec = trace(first, tokens(2))
    twin = permute(first, spec, spec.random(3))
    settings = {"align": {"steps": 2}} if align == "straight-through" else {}
    result = merge([first, twin], align=align, data=data, settings=settings)
    assert result.notes["equivalence"] < 1e-9
    assert result.notes["trace"]["error"] < 1e-9
    torch.testing.assert_close(result.merged(tokens()), first(tokens()), rtol=1e-4, atol=1e-4)
    other = merge([first, net(kind, 1)], align=align, example=tokens(2), data=data, settings=settings)
    assert output_difference(net(kind, 1), other.aligned[1], tokens()) < 1e-9


@pytest.mark.parametrize("kind", [Words, Gpt])
def test_curves_and_similarity_of_token_networks(kind: type[nn.Module]) -> None:
    a, b, data = net(kind, 0), net(kind, 1), sentences(kind)
    curve = interpolate(a, b, data, points=3)
    logits = a(tokens()).detach().double().flatten(0, -2)
    assert curve.loss[0] == pytest.approx(float(F.cross_entropy(logits, data.labels.flatten())), rel=1e-6)
    assert curve.accuracy[0] == pytest.approx(float((logits.argmax(1) == data.labels.flatten()).double().mean()))
    found = cka(a, b, tokens())
    features = [[model.words(x[None]).mean((0, 1)).double().detach().numpy() for x in tokens()] for model in (a, b)]
    assert found.values[0, 0] == pytest.approx(textbook_cka(*map(np.stack, features)), abs=1e-4)
    assert np.diag(cka(a, a, tokens(), treatment="flattened", minibatch=8).values) == pytest.approx(1, abs=1e-6)


def test_units_of_a_token_network_are_looked_into() -> None:
    a, b = net(Gpt, 0), net(Gpt, 1)
    graph, spec = export(a, tokens(2)), trace(a, tokens(2))
    nets = {"A": named_tensors(a), "pi(B)": named_tensors(b)}
    found = analyse(graph, nets, spec.identity(), spec, sentences(Gpt))
    assert {layer.images for layer in found.units} == {40}
    assert graph.layer("mlp.1").images == ImageAxis(0)
    assert graph.layer("mlp.1").positions == (LENGTH,)


@pytest.mark.parametrize("kind", [Words, Gpt])
def test_a_wrong_spec_of_a_token_network_is_caught(kind: type[nn.Module]) -> None:
    model = net(kind, 0)
    spec = trace(model, tokens(2))
    assert verify(model, spec, tokens(2)[:1]) < 1e-9
    group = spec.groups[0]
    wrong = type(spec)((type(group)(group.name, group.size, group.axes[1:]), *spec.groups[1:]))
    assert verify(model, wrong, torch.zeros(2, LENGTH, dtype=torch.int64)) > 1e-3


def test_tokens_stay_integers_and_bytes_stay_pictures() -> None:
    batches = as_batches((tokens().to(torch.int32).numpy(), np.zeros(40, dtype=np.int64)))
    images, _ = next(iter(batches.on_model(net(Words, 0).double())))
    assert images.dtype == torch.int64
    assert torch.equal(images, tokens())
    assert as_batches((tokens().to(torch.uint8), torch.zeros(40, dtype=torch.int64))).example().dtype == torch.float32
    assert as_batches((tokens() > 3, torch.zeros(40, dtype=torch.int64))).example().dtype == torch.float32


TABLES = {
    "one table": (lambda m, x: m.words(x).mean(1), (0, 13)),
    "the smallest of two": (lambda m, x: (m.words(x) + m.few(x.flip(1))).mean(1), (0, 4)),
    "places do not count": (lambda m, x: (m.words(x) + m.few(torch.arange(4))).mean(1), (0, 13)),
    "one-hot": (lambda m, x: F.one_hot(x, 5).float().mean(1) @ m.words.weight[:5], (0, 5)),
    "indexing": (lambda m, x: m.words.weight[x].mean(1), (0, 13)),
    "bag": (lambda m, x: F.embedding_bag(x, m.few.weight), (0, 4)),
    "after arithmetic": (lambda m, x: m.words(x + 2).mean(1), (1, 4)),
    "as numbers": (lambda m, x: x.double().to(m.words.weight).repeat(1, 2), (1, 4)),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_tokens_that_a_network_takes_are_read_from_its_tables(name: str) -> None:
    run, expected = TABLES[name]
    parts = {"words": nn.Embedding(13, 8), "few": nn.Embedding(4, 8), "head": nn.Linear(8, 3)}
    model, _ = ready(Forward(lambda m, x: m.head(run(m, x)), **parts))
    example = torch.tensor([[1, 2, 3, 1], [3, 3, 2, 1]])
    graph = export(model, example)
    assert graph.tokens == token_range(graph.nodes, graph.input, graph.record.values, example) == expected
    drawn = random_tokens((50, 4), expected, example, 0)
    assert (int(drawn.min()), int(drawn.max())) == (expected[0], expected[1] - 1)
    model(drawn)
    assert export(ready(nn.Linear(4, 3))[0], torch.zeros(2, 4)).tokens is None
    assert torch.equal(proof_inputs(model, example, 7, graph), proof_inputs(model, example, 7))


def test_a_forward_pass_that_names_a_precision_is_proven_by_its_graph() -> None:
    parts = {"hidden": nn.Linear(VOCABULARY, 8), "head": nn.Linear(8, 3)}
    model, _ = ready(Forward(lambda m, x: m.head(m.hidden(F.one_hot(x, 13).float().mean(1)).relu()), **parts))
    with pytest.raises(RuntimeError, match="dtype"):
        copy.deepcopy(model).double()(tokens(2))
    assert verify(model, trace(model, tokens(2)), tokens(2)) < 1e-12


def test_classes_may_be_in_the_second_dimension() -> None:
    a = net(Gpt, 0)
    data = sentences(Gpt)
    second = Forward(lambda m, x: m.net(x).movedim(2, 1), net=a)
    assert evaluate(second, data) == evaluate(a, data)
    square = Forward(lambda m, x: m.net(x)[..., :LENGTH], net=a)
    with pytest.raises(IncompatibleModels, match="in the last dimension or in the second"):
        evaluate(square, (tokens(), tokens() % LENGTH))


def test_labels_that_do_not_fit_the_answers_are_refused_in_words() -> None:
    with pytest.raises(IncompatibleModels, match=r"\(\d+, 6, 13\), and the labels have shape \(\d+,\).*Give labels of"):
        evaluate(net(Gpt, 0), (tokens(), tokens()[:, 0]))
    with pytest.raises(IncompatibleModels, match=r"returns shape \(\d+, 3\), and the labels have shape \(\d+, 6\)"):
        evaluate(net(Words, 0), (tokens(), tokens() % 3))
    with pytest.raises(IncompatibleModels, match="several per image"):
        answers([net(Gpt, 0)], sentences(Gpt))
    with pytest.raises(IncompatibleModels, match=r"float32.*|does not run on these inputs.*integers are tokens"):
        evaluate(nn.Linear(LENGTH, 3), (tokens(), tokens()[:, 0] % 3))


@pytest.mark.parametrize(
    ("output", "words", "line"),
    [
        (lambda y: {"loss": y.sum(), "logits": y}, "a dict with the keys 'loss', 'logits'", "['logits']"),
        (lambda y: (y, y), "a tuple of 2", "[0]"),
    ],
)
def test_an_output_that_is_no_logits_is_named_with_the_line_that_helps(output, words: str, line: str) -> None:
    model = Forward(lambda m, x: output(m.net(x)), net=net(Words, 0)).eval()
    with pytest.raises(UnsupportedOperation) as refusal:
        trace(model, tokens(2))
    with pytest.raises(IncompatibleModels) as refused:
        evaluate(model, (tokens(), tokens()[:, 0] % 3))
    for text in (str(refusal.value), str(refused.value)):
        assert f"returns {words}" in text
        assert f"`return self.net(x){line}`" in text
