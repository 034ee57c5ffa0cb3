"""What a merge from files is made of: slices, graphs without weights, proofs by layers, tensors moved and written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.graph.graph import export
from merging.network.graph.weightless_graph import export_weightless
from merging.network.lazy_tensors import HeldTensors, LazyTensors, MovedTensors
from merging.network.permutation import Axis, Group, PermutationSpec, named_tensors, permute_tensors
from merging.network.tracing.layered_proof import change_by_layers, exact_tensors, permuted_tensors
from merging.network.tracing.tracer import trace_graph
from merging.zoo.architectures import build
from merging.zoo.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from merging.zoo.checkpoints.metadata import Story, clean_name
from merging.zoo.checkpoints.sliced_checkpoint import open_sliced
from merging.zoo.checkpoints.streamed_writing import checkpoint_chunks
from tests.pipeline.pairs import NETS, net, saved, sharded

KNOWN = ("name", "architecture", "config", "dataset", "classes", "mean", "std", "seed", "sha256", "epochs", "renamed")
FOUND = ("was", "weights", "aside", "why")
LIBRARY = ["torchvision/squeezenet1_0", "torchvision/shufflenet_v2_x0_5"]


def assert_sliced_as_whole(path: Path, **known: object) -> None:
    """A checkpoint read by slices is the one that is read whole, and is named by the same hash."""
    whole, sliced = load_checkpoint(path, **known), open_sliced(path, **known)
    assert {key: getattr(sliced.checkpoint, key) for key in (*KNOWN, *FOUND)} == {
        key: getattr(whole, key) for key in (*KNOWN, *FOUND)
    }
    assert list(sliced.tensors) == list(whole.state)
    for name, tensor in whole.state.items():
        assert sliced.tensors[name].dtype == tensor.dtype
        assert torch.equal(sliced.tensors[name], tensor), name
    assert sliced.sha256() == hashlib.sha256(whole.to_bytes()).hexdigest()
    built, lean = whole.build(), sliced.build()
    assert [*dict(lean.named_parameters())] == [*dict(built.named_parameters())]
    assert all(parameter.is_meta for parameter in lean.parameters())
    buffers = dict(lean.named_buffers())
    assert all(torch.equal(buffers[name], tensor) for name, tensor in built.named_buffers())


@pytest.mark.parametrize("kind", NETS)
def test_a_file_is_read_by_slices_as_it_is_read_whole(tmp_path: Path, kind: str) -> None:
    assert_sliced_as_whole(saved(tmp_path, kind, 0, dataset="fashion-mnist" if kind == "mlp" else "", epochs=3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_foreign_names_types_and_shards_are_read_by_slices_as_whole(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {f"module.{k}": t.to(dtype) if t.is_floating_point() else t for k, t in net("cnn", 0).state_dict().items()}
    file = tmp_path / "net.safetensors"
    safetensors.torch.save_file(state, file)
    known = {"architecture": "cnn", "config": {"in_shape": [1, 12, 12]}}
    assert_sliced_as_whole(file, **known)
    assert_sliced_as_whole(sharded(tmp_path / "shards", state), **known)


def test_one_of_two_networks_in_a_file_is_read_by_slices_as_whole(tmp_path: Path) -> None:
    states = {who: net("cnn", seed).state_dict() for seed, who in enumerate(("student", "teacher"))}
    both = {f"{who}.{name}": tensor for who, state in states.items() for name, tensor in state.items()}
    file = tmp_path / "two.safetensors"
    safetensors.torch.save_file(both, file)
    for who in ("student", "teacher"):
        assert_sliced_as_whole(file, architecture="cnn", config={"in_shape": [1, 12, 12]}, weights=who)


@pytest.mark.parametrize("cut", [3, 300, -3])
def test_a_damaged_file_is_refused_as_it_is_whole(tmp_path: Path, cut: int) -> None:
    file = saved(tmp_path, "cnn", 0)
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(CheckpointError) as mine:
        open_sliced(file)
    with pytest.raises(CheckpointError) as theirs:
        load_checkpoint(file)
    assert str(mine.value) == str(theirs.value)


def test_two_folders_of_shards_are_two_networks(tmp_path: Path) -> None:
    folders = [sharded(tmp_path / str(seed), net("cnn", seed).state_dict()) for seed in (0, 1)]
    known = {"architecture": "cnn", "config": {"in_shape": [1, 12, 12]}}
    hashes = [load_checkpoint(folder, **known).sha256 for folder in folders]
    assert hashes[0] != hashes[1] == load_checkpoint(folders[1], **known).sha256


@given(
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=5),
    kinds=st.lists(st.sampled_from([torch.float32, torch.int64, torch.bool, torch.complex64]), min_size=5, max_size=5),
    name=st.text(max_size=8),
)
@settings(deadline=None)
def test_pieces_written_one_by_one_are_the_file_written_at_once(
    shapes: list[list[int]], kinds: list[torch.dtype], name: str
) -> None:
    state = {f"layer-{n % 2}.w{n}": torch.ones(s).to(kinds[n]) for n, s in enumerate(shapes)}
    names = {"layer-0.w0": "theirs.w"}
    written = save_checkpoint(state, architecture="mlp", config={"widths": [3]}, name=name, names=names)
    described = {key: torch.empty_like(tensor, device="meta") for key, tensor in state.items()}
    story = Story(clean_name(name), "mlp", {"widths": [3]})
    asked: list[str] = []

    def made(key: str) -> Tensor:
        asked.append(key)
        return state[key]

    assert b"".join(checkpoint_chunks(described, LazyTensors(tuple(state), made), story, names)) == written
    assert sorted(asked) == sorted(state)


@pytest.mark.parametrize("kind", [*NETS, *LIBRARY])
def test_a_graph_without_weights_is_the_network_s(tmp_path: Path, kind: str) -> None:
    architecture, config = NETS.get(kind, (kind, {"classes": 5}))
    file = tmp_path / "net.safetensors"
    file.write_bytes(save_checkpoint(build(architecture, config, seed=1), architecture=architecture, config=config))
    example = torch.rand(2, *config.get("in_shape", (3, 32, 32)))
    whole = export(load_checkpoint(file).build(), example)
    lean = export_weightless(open_sliced(file).build(), example)
    assert lean.signature == whole.signature
    assert (lean.record, lean.images, lean.layers) == (whole.record, whole.images, whole.layers)
    assert trace_graph(lean) == trace_graph(whole)


def test_tied_weights_are_refused_by_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_sliced(saved(tmp_path, "mlp", 0))

    def tied(*given: object, **more: object) -> torch.nn.Module:
        made = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        made[1].weight = made[0].weight
        return made

    monkeypatch.setattr("merging.zoo.checkpoints.sliced_checkpoint.build", tied)
    with pytest.raises(UnsupportedOperation, match="tied"):
        opened.build()


def test_a_proof_by_layers_finds_a_wrong_permutation(tmp_path: Path) -> None:
    model = net("resnet20", 0)
    example = torch.rand(2, 3, 8, 8)
    graph = export(model, example)
    spec = trace_graph(graph)
    exact = exact_tensors(model, named_tensors(model), 0)
    change, outputs = change_by_layers(graph, exact, spec, spec.random(1), example)
    assert change < 1e-12
    assert torch.allclose(outputs.float(), model(example), atol=1e-4)
    first, *others = spec.groups
    wrong = PermutationSpec((replace(first, axes=first.axes[:1]), *others))
    turned = {group.name: torch.arange(group.size).roll(1) for group in spec.groups}
    assert change_by_layers(graph, exact, spec, turned, example)[0] < 1e-12
    assert change_by_layers(graph, exact, wrong, turned, example)[0] > 1e-3


def test_tensors_permuted_one_by_one_are_those_permuted_together() -> None:
    model = net("cnn", 0)
    spec = trace_graph(export(model, torch.rand(2, 1, 12, 12)))
    together = permute_tensors(named_tensors(model), spec, spec.random(4))
    one_by_one = permuted_tensors(named_tensors(model), spec, spec.random(4))
    assert all(torch.equal(one_by_one[name], tensor) for name, tensor in together.items())


@given(seed=st.integers(0, 10_000))
@settings(deadline=None)
def test_moving_indices_is_moving_tensors(seed: int) -> None:
    """Groups on both dimensions, in blocks, behind an offset, and one inside another."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {"w": torch.rand(9, 12, generator=generator), "b": torch.rand(6, generator=generator)}
    heads = Group("heads", 3, (Axis("w", 1, block=4),))
    inside = Group("inside", 4, tuple(Axis("w", 1, offset=4 * head) for head in range(3)))
    rows = Group("rows", 6, (Axis("w", 0, offset=2), Axis("b", 0)))
    held: HeldTensors | MovedTensors = HeldTensors(tensors)
    moved = MovedTensors(tensors, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    for number in torch.randint(3, (8,), generator=generator).tolist():
        group = (heads, inside, rows)[number]
        order = torch.randperm(group.size, generator=generator)
        held, moved = held.moved(group, order), moved.moved(group, order)
    assert list(moved) == list(tensors)
    assert all(torch.equal(held[name], moved[name]) for name in tensors)
