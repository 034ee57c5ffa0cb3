"""Partial zip: a shared trunk with every model's own head."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from merging.errors import IncompatibleModels, InvalidRequest, UnknownLayer
from merging.network.batch_norm import reset_batch_norm
from merging.network.data import as_batches
from merging.network.graph.graph import export
from merging.network.permutation import named_tensors
from merging.pipeline.partial_zip import partial_zip, partial_zips
from tests.nets.pairs import blobs, make, trained, twin


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


class Branches(nn.Module):
    """Two branches side by side: a cut behind their concatenation would need the units of both."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(11, 5)
        self.left, self.right = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(torch.cat([self.left(x), self.right(x)], 1).relu().mean((2, 3)))


class Norms(nn.Module):
    """Two BatchNorms that read one value, one that serves twice, and one that keeps no statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.other = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.left, self.right = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1)
        self.twice, self.free, self.head = (
            nn.BatchNorm2d(6),
            nn.BatchNorm2d(6, track_running_stats=False),
            nn.Linear(6, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = self.twice(self.left(self.norm(x))) + self.twice(self.right(self.other(x)))
        return self.head(self.free(x.relu()).mean((2, 3)))


@pytest.mark.parametrize("kind", [Branches, Norms])
def test_a_net_zipped_with_itself_is_itself_with_branches_and_with_norms_of_every_kind(kind: type[nn.Module]) -> None:
    torch.manual_seed(3)
    net = kind()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    net.eval()
    data = as_batches(blobs(300)).sized(300)
    zips = partial_zips([net, copy.deepcopy(net)], data)
    names = [layer.name for layer, _ in zips.places]
    assert names and not any(name.startswith("forward:cat") for name in names)
    images = blobs(40, seed=2).images
    with torch.no_grad():
        expected = zips.alone[0](images)
        for zipped in zips:
            answers = zipped(images)
            torch.testing.assert_close(answers[:, :5], expected, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(answers[:, 5:], expected, rtol=1e-3, atol=1e-3)


def test_nets_in_double_precision_read_images_in_single() -> None:
    nets = [make("cnn", seed).double() for seed in (0, 1)]
    for zipped in partial_zips(nets, blobs(200)):
        assert zipped(blobs(10).images.double()).dtype == torch.float64


def test_a_cut_behind_a_concatenation_is_refused() -> None:
    nets = [Branches().eval(), Branches().eval()]
    after = [layer.name for layer in export(nets[0], blobs(4).images).layers if layer.kind == "activation"][-1]
    with pytest.raises(InvalidRequest, match="cannot be mixed"):
        partial_zip(nets, after, blobs(100))


def test_heads_may_have_different_numbers_of_outputs() -> None:
    """As a net of as many outputs with the further ones left out; zipped with its twin, it answers as before."""
    net = trained("cnn", 0)
    other, _ = twin("cnn", net, 5)
    few = copy.deepcopy(other)
    few[-1] = nn.Linear(18, 3)
    with torch.no_grad():
        few[-1].weight.copy_(other[-1].weight[:3])
        few[-1].bias.copy_(other[-1].bias[:3])
    data, images = as_batches(blobs(300)).sized(300), blobs(40, seed=2).images
    for nets, first in (([net, few], 5), ([few, net], 3)):
        zips = partial_zips(nets, data)
        with torch.no_grad():
            expected = torch.cat([model(images) for model in zips.alone], 1)
            assert expected.shape == (40, 8)
            for zipped in zips:
                torch.testing.assert_close(zipped(images), expected, rtol=1e-3, atol=1e-3)
                assert zipped.heads[0]["10/weight"].shape[0] == first


def test_networks_that_differ_in_more_than_their_outputs_are_refused() -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 21), nn.ReLU(), nn.Linear(21, 5))
    same = nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 7))
    less = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 6))
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 20), nn.Tanh(), nn.Linear(20, 7))
    capped = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU6(), nn.Linear(24, 20), nn.ReLU6(), nn.Linear(20, 7))
    larger = nn.Sequential(nn.Flatten(), nn.Linear(192, 24), nn.ReLU(), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 5))
    known = make("mlp", 0)
    with pytest.raises(IncompatibleModels, match="only \\(images, classes\\) can be zipped"):
        partial_zips([known, nn.Sequential(*known[:-1], nn.Linear(20, 1), nn.Flatten(0)).eval()], blobs(100))
    for pair in ([known, wide], [same, less], [known, other], [known, capped], [known, larger]):
        with pytest.raises(IncompatibleModels, match="one structure"):
            partial_zips([net.eval() for net in pair], blobs(100))


@pytest.mark.parametrize(("until", "folds"), [("1", False), ("2", True), ("4", True)])
def test_the_share_counts_what_a_head_reads_unless_its_weights_take_it_in(until: str, folds: bool) -> None:
    nets = [make("mlp", 0), make("mlp", 1)]
    zipped = partial_zip(nets, until, blobs(200))
    held = {
        name: sum(t.numel() for t in part.parameters()) for name, part in zipped.named_children() if name != "reads"
    }
    reads = 0 if folds else sum(read.numel() for read in zipped.reads)
    whole = 2 * sum(p.numel() for p in nets[0].parameters())
    assert zipped.share(nets) == pytest.approx((sum(held.values()) + reads) / whole)


def test_the_share_counts_reads_before_a_shortcut_and_no_batch_norm_statistics() -> None:
    nets = [make("residual", 0), make("residual", 1)]
    zipped = partial_zip(nets, "2", blobs(200))  # the stem's output, which the first block's shortcut carries on
    every = [dict(net.named_parameters()) for net in nets]
    behind = sum(p.numel() for own in every for name, p in own.items() if name[0] not in "01")
    before = sum(p.numel() for name, p in every[0].items() if name[0] in "01")
    reads = sum(read.numel() for read in zipped.reads)
    whole = sum(p.numel() for own in every for p in own.values())
    assert zipped.share(nets) == pytest.approx((before + behind + reads) / whole)


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
        with pytest.raises(InvalidRequest, match="also read earlier values"):
            graph.resume(tensors, images, node, kept[node])


def test_a_cut_inside_a_block_and_an_unknown_layer_are_refused() -> None:
    nets = [make("residual", 0), make("residual", 1)]
    with pytest.raises(UnknownLayer):
        partial_zip(nets, "nonsense", blobs(100))
    with pytest.raises(InvalidRequest, match="also read earlier values"):
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


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_a_saved_zip_is_run_by_torch_alone_on_any_number_of_images(kind: str) -> None:
    zipped = next(iter(partial_zips([trained(kind, 0), trained(kind, 1)], blobs(200))))
    net = torch.export.load(io.BytesIO(zipped.program(blobs(200).example()))).module()
    for count in (1, 7):
        images = blobs(200).images[:count]
        assert torch.equal(net(images), zipped(images))
