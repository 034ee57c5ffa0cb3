"""A merge from files to a file: bit for bit the ordinary one, right or refused, with few tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import merging
from merging.errors import (
    AmbiguousCheckpoint,
    Cancelled,
    CheckpointError,
    IncompatibleModels,
    InvalidRequest,
    InvalidSetting,
    NotEquivalent,
    UnknownArchitecture,
)
from merging.network.permutation import named_tensors
from merging.pipeline.from_files import merge_files
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.checkpoints.example import example_images
from tests.pipeline.pairs import NETS, net, pair, saved, sharded

FILES = ("aligned.safetensors", "merge.safetensors", "naive.safetensors")
QUICK = {"restarts": 2}


def ordinary(a: Path, b: Path, wishes: Mapping[str, Any], seed: int, **more: Any) -> merging.MergeResult:
    """The same merge with both networks in memory."""
    models = [load_checkpoint(path).build() for path in (a, b)]
    known = load_checkpoint(a)
    example = example_images(known.architecture, known.config, known.dataset, len(known.mean))
    return merging.merge(models, example=example, settings={"align": wishes}, seed=seed, **more)


def loaded(folder: Path, name: str) -> dict[str, Tensor]:
    return named_tensors(load_checkpoint(folder / f"{name}.safetensors").build())


def assert_same(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert list(mine) == list(theirs)
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name


RANDOM, CUT = {"restarts": 3, "start": "random"}, {"restarts": 1, "sweeps": 1}


@pytest.mark.parametrize(
    ("kind", "wishes", "seed"),
    [("mlp", QUICK, 0), ("mlp", RANDOM, 7), ("mlp", CUT, 1), ("cnn", RANDOM, 2), ("resnet20", RANDOM, 3)],
)
def test_the_merge_is_the_ordinary_one_bit_for_bit(
    tmp_path: Path, kind: str, wishes: dict[str, Any], seed: int
) -> None:
    two = pair(tmp_path, kind)
    mine = merge_files(*two, tmp_path, settings=wishes, seed=seed)
    theirs = ordinary(*two, wishes, seed)
    permutation = theirs.alignment.permutations[1]
    assert list(mine.permutation) == list(permutation)
    assert all(torch.equal(mine.permutation[group], permutation[group]) for group in permutation)
    assert any(not torch.equal(p, torch.arange(len(p))) for p in permutation.values())
    assert_same(loaded(tmp_path, "merge"), named_tensors(theirs.merged))
    assert_same(loaded(tmp_path, "aligned"), named_tensors(theirs.aligned[1]))
    assert mine.notes == theirs.notes


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), share=st.floats(-0.5, 1.5))
def test_any_seed_and_any_weights_give_the_ordinary_merge(tmp_path: Path, seed: int, share: float) -> None:
    a, b = (saved(tmp_path, "mlp", seed + number) for number in (0, 1))
    merge_files(a, b, tmp_path, settings=QUICK, seed=seed, weights=(1 - share, share))
    merged = ordinary(a, b, QUICK, seed, weights=(1 - share, share)).merged
    assert_same(loaded(tmp_path, "merge"), named_tensors(merged))


def test_an_end_is_that_network_bit_for_bit(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "cnn")
    merge_files(a, b, tmp_path, settings=QUICK, weights=(1, 0))
    assert_same(loaded(tmp_path, "merge"), named_tensors(load_checkpoint(a).build()))
    merge_files(a, b, tmp_path, settings=QUICK, weights=(0, 1))
    assert_same(loaded(tmp_path, "merge"), loaded(tmp_path, "aligned"))


def test_the_files_load_with_safetensors_alone_and_say_what_they_are(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "cnn")
    merge_files(a, b, tmp_path / "out", settings=QUICK)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    plain = safetensors.torch.load_file(tmp_path / "out" / "merge.safetensors")
    known = load_checkpoint(tmp_path / "out" / "merge.safetensors")
    assert plain.keys() == net("cnn", 0).state_dict().keys()
    assert all(torch.equal(plain[name], known.state[name]) for name in plain)
    assert (known.architecture, known.config, known.mean) == ("cnn", NETS["cnn"][1], (0.5,))
    assert known.name == "Merge of cnn 0 + cnn 1"


@pytest.mark.parametrize("half", [False, True])
def test_shards_half_precision_and_a_persons_own_names(tmp_path: Path, half: bool) -> None:
    known = {"architecture": "resnet20", "config": {"in_shape": [3, 8, 8]}, "mean": (0.5,), "std": (0.25,)}
    states = [net("resnet20", seed).state_dict() for seed in (0, 1)]
    if half:
        states = [{name: t.half() if t.is_floating_point() else t for name, t in own.items()} for own in states]
    wrapped = [{f"module.{name}": tensor for name, tensor in own.items()} for own in states]
    folders = [sharded(tmp_path / str(seed), own) for seed, own in enumerate(wrapped)]
    merge = merge_files(*folders, tmp_path / "out", known=known, settings=QUICK)
    models = [load_checkpoint(folder, **known).build() for folder in folders]
    example = example_images("resnet20", known["config"], "", 1)
    theirs = merging.merge(models, example=example, settings={"align": QUICK})
    assert_same(loaded(tmp_path / "out", "merge"), named_tensors(theirs.merged))
    assert merge.notes == theirs.notes


def broken(folder: Path, name: str, number: float) -> Path:
    """A checkpoint with one number in place of another."""
    file = saved(folder, "cnn", 1)
    known = load_checkpoint(file)
    known.state[name].view(-1)[0] = number
    file.write_bytes(known.to_bytes())
    return file


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["features.0.weight", "features.1.running_var"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, name: str, number: float) -> None:
    a, b = saved(tmp_path, "cnn", 0), broken(tmp_path, name, number)
    with pytest.raises(CheckpointError, match=f"{name} holds NaN, infinity"):
        merge_files(a, b, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_structures_are_refused_as_in_the_ordinary_way(tmp_path: Path) -> None:
    a, b = saved(tmp_path, "cnn", 0), saved(tmp_path, "mlp", 1)
    example = torch.rand(2, 1, 8, 8)
    with pytest.raises(IncompatibleModels) as mine:
        merge_files(a, b, tmp_path / "out", example=example)
    with pytest.raises(IncompatibleModels) as theirs:
        merging.merge([load_checkpoint(path).build() for path in (a, b)], example=example)
    assert str(mine.value) == str(theirs.value)


def test_other_normalisations_are_refused_as_in_the_ordinary_way(tmp_path: Path) -> None:
    a, b = saved(tmp_path, "cnn", 0), saved(tmp_path, "cnn", 1, mean=(0.4,))
    with pytest.raises(IncompatibleModels) as mine:
        merge_files(a, b, tmp_path / "out")
    with pytest.raises(IncompatibleModels) as theirs:
        ordinary(a, b, QUICK, 0)
    assert str(mine.value) == str(theirs.value)


def test_a_dead_network_proves_nothing(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "mlp")
    known = load_checkpoint(b)
    known.state["layers.4.weight"].copy_(torch.eye(5, 9) * 0 + torch.tensor([0.0] * 8 + [1e-30]))
    known.state["layers.2.weight"][8] = 0
    known.state["layers.2.bias"][8] = -1
    b.write_bytes(known.to_bytes())
    with pytest.raises(NotEquivalent):
        merge_files(a, b, tmp_path / "out", settings=QUICK)
    assert not (tmp_path / "out").exists()


def test_files_that_are_read_whole_are_refused_with_the_reason(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "cnn")
    pickle = tmp_path / "b.pt"
    torch.save(load_checkpoint(b).state, pickle)
    with pytest.raises(CheckpointError, match="only safetensors files"):
        merge_files(a, pickle, tmp_path / "out")
    with pytest.raises(CheckpointError, match="only safetensors files"):
        merge_files(a, b, tmp_path / "out", known={"architecture": "package.module:factory"})
    with pytest.raises(CheckpointError, match="cannot be read"):
        merge_files(a, tmp_path / "gone.safetensors", tmp_path / "out")


def test_the_door_asks_what_it_asks_of_whole_files(tmp_path: Path) -> None:
    files = []
    for seed in (0, 1):
        files.append(tmp_path / f"{seed}.safetensors")
        safetensors.torch.save_file(net("resnet20", seed).state_dict(), files[-1])
    with pytest.raises(AmbiguousCheckpoint) as mine:
        merge_files(*files, tmp_path / "out")
    with pytest.raises(AmbiguousCheckpoint) as theirs:
        load_checkpoint(files[0])
    assert mine.value.candidates == theirs.value.candidates
    with pytest.raises(UnknownArchitecture):
        merge_files(*files, tmp_path / "out", known={"architecture": "mlp"})


def test_settings_and_weights_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "mlp")
    with pytest.raises(InvalidSetting):
        merge_files(a, b, tmp_path / "out", settings={"restarts": 0})
    with pytest.raises(InvalidRequest, match="sum to 1"):
        merge_files(a, b, tmp_path / "out", weights=(0.7, 0.7))


@pytest.mark.parametrize("stage", ["loading", "tracing", "matching", "verifying", "saving"])
@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
def test_an_interrupted_merge_leaves_nothing(tmp_path: Path, stage: str, error: type[BaseException]) -> None:
    a, b = pair(tmp_path, "mlp")
    before = sorted(tmp_path.rglob("*"))

    def report(now: str, fraction: float | None = None, message: str = "") -> None:
        if now == stage and (stage != "saving" or (fraction or 0) > 0.5):  # two networks are written by then
            raise error("stop")

    with pytest.raises(error):
        merge_files(a, b, tmp_path / "out", settings=QUICK, report=report)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_is_cut_off_while_it_is_merged_leaves_an_older_result_alone(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "mlp")
    merge_files(a, b, tmp_path / "out", settings=QUICK)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def report(now: str, fraction: float | None = None, message: str = "") -> None:
        if now == "saving":
            b.write_bytes(b.read_bytes()[:-40])

    with pytest.raises(CheckpointError, match=r"can no longer be read.*Import the file again"):
        merge_files(a, b, tmp_path / "out", settings=QUICK, seed=5, report=report)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    a, b = pair(tmp_path, "mlp")
    (tmp_path / "file").write_text("here")
    with pytest.raises(InvalidRequest, match="cannot be written"):
        merge_files(a, b, tmp_path / "file" / "out", settings=QUICK)


def test_statistics_of_zero_are_proved_as_they_are(tmp_path: Path) -> None:
    """Random numbers in their place would be below 0, and outputs no numbers."""
    two = pair(tmp_path, "cnn")
    for path in two:
        checkpoint = load_checkpoint(path)
        state = {key: t * 0 if key.endswith("running_var") else t for key, t in checkpoint.state.items()}
        path.write_bytes(replace(checkpoint, state=state).to_bytes())
    mine, theirs = merge_files(*two, tmp_path, settings=QUICK), ordinary(*two, QUICK, 0)
    assert mine.notes["equivalence"] == theirs.notes["equivalence"] < 1e-9
    assert_same(loaded(tmp_path, "merge"), named_tensors(theirs.merged))
