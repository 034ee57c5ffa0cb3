"""Partial zip: a shared trunk with every model's own head."""

import copy

import pytest
import torch

from merging.batch_norm import reset_batch_norm
from merging.data import as_batches
from merging.errors import InvalidRequest, UnknownLayer
from merging.graph import export
from merging.partial_zip import partial_zip, partial_zips
from merging.permutation import named_tensors
from tests.pairs import blobs, make, trained, twin


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_of_a_net_and_its_twin_every_head_answers_as_before_wherever_the_trunk_ends(kind: str) -> None:
    """BatchNorm statistics are measured anew, in trunk and heads, and so are those of the whole net measured anew."""
    net = trained(kind, 0)
    other, _ = twin(kind, net, 5)
    data, images = as_batches(blobs(300)).sized(300), blobs(40, seed=2).images  # one batch: their order plays no part
    with torch.no_grad():
        expected = reset_batch_norm(net, data)(images)
        for zipped in partial_zips([net, other], data):
            answers = zipped(images)
            torch.testing.assert_close(answers[:, :5], expected, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(answers[:, 5:], expected, rtol=1e-3, atol=1e-3)


def test_heads_keep_what_they_know_better_than_one_merged_head() -> None:
    pair, test = [trained("mlp", 0), trained("mlp", 1)], blobs(500, seed=3)
    zipped = partial_zip(pair, "2", blobs(300))
    with torch.no_grad():
        for number in range(2):
            own = zipped(test.images)[:, 5 * number : 5 * number + 5].argmax(1)
            assert float((own == test.labels).float().mean()) > 0.8


def test_three_models_share_a_trunk_and_are_left_as_they_are() -> None:
    nets = [make("mlp", seed) for seed in range(3)]
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    zipped = partial_zip(nets, "2", blobs(200))
    assert zipped(blobs(10).images).shape == (10, 15)
    assert all(
        torch.equal(a, b)
        for old, net in zip(before, nets, strict=True)
        for a, b in zip(old.values(), net.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_resuming_from_a_layers_own_value_is_the_whole_run(kind: str) -> None:
    net, images = make(kind, 0), blobs(20).images
    graph = export(net, images[:2])
    tensors = named_tensors(net)
    output, kept = graph.run(tensors, images, keep=[layer.node for layer in graph.layers])
    names = ["3.conv1", "4.conv2"] if kind == "residual" else []
    inside = {graph.layer(name).node for name in names}
    for layer in graph.layers:
        if layer.node not in inside and layer.kind in ("linear", "pool", "sum"):
            assert torch.allclose(graph.resume(tensors, images, layer.node, kept[layer.node]), output)
    for node in inside:
        with pytest.raises(InvalidRequest, match="also reads what comes before"):
            graph.resume(tensors, images, node, kept[node])


def test_a_cut_inside_a_block_and_an_unknown_layer_are_refused() -> None:
    nets = [make("residual", 0), make("residual", 1)]
    with pytest.raises(UnknownLayer):
        partial_zip(nets, "nonsense", blobs(100))
    with pytest.raises(InvalidRequest, match="also reads what comes before"):
        partial_zip(nets, "3.conv1", blobs(100))
    with pytest.raises(InvalidRequest, match="cannot be mixed"):
        partial_zip([make("mlp", 0), make("mlp", 1)], "5", blobs(100))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_every_place_for_the_end_of_the_trunk_is_cut_as_if_asked_for_alone(kind: str) -> None:
    pair, images = [make(kind, 0), make(kind, 1)], blobs(20).images
    zips = list(partial_zips(pair, blobs(200)))
    names = [zipped.until.name for zipped in zips]
    assert len(names) == len(set(names)) >= 2
    for zipped in (zips[0], zips[-1]):
        with torch.no_grad():
            assert torch.equal(zipped(images), partial_zip(pair, zipped.until.name, blobs(200))(images))
