"""Checkpoints: what is sane comes back exactly, what is not is one clear error and nothing is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from merging.errors import CheckpointError, MergescopeError, UnknownArchitecture
from merging.paths import ROOT
from merging.zoo import catalogue, disposable
from merging.zoo.architectures import build
from merging.zoo.architectures.names import NONLINEARITIES, RELU
from merging.zoo.checkpoints import sandbox
from merging.zoo.checkpoints.checkpoint import load_bytes, load_checkpoint, save_checkpoint
from merging.zoo.checkpoints.convert import convert_bytes
from merging.zoo.datasets.facts import FACTS
from tests.zoo.hostile import hostile, mlp, saved, story

MARK = Path("mergescope-was-opened")
CASES = hostile(str(MARK))
MLP = {"architecture": "mlp"}  # what the tensors alone do not tell: that ReLU stands between the layers


@pytest.mark.parametrize("name", CASES)
def test_hostile_files_are_one_error_that_says_what_was_found(name):
    data, words = CASES[name]
    with pytest.raises((CheckpointError, UnknownArchitecture), match=words) as refused:
        convert_bytes(data, MLP)
    text = str(refused.value)
    assert "weights_only" not in text, "torch's advice to switch the protection off reached a person"
    assert len(text) < 500
    assert text.isprintable()
    assert not MARK.exists()


WRAPPED = {
    "plain": mlp(),
    "state_dict": {"state_dict": mlp(), "epoch": 3, "best": 0.5, "lr": [0.1]},
    "model_state_dict": {"model_state_dict": mlp(), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "model": {"model": mlp()},
    "DataParallel": {"state_dict": {f"module.{name}": value for name, value in mlp().items()}},
    "compiled": {f"_orig_mod.{name}": value for name, value in mlp().items()},
    "parameters": {name: nn.Parameter(value) for name, value in mlp().items()},
    "flat storage": dict(zip(mlp(), torch.randn(163).split([128, 8, 24, 3]), strict=True)),
}
WRAPPED["flat storage"] = {name: value.view(mlp()[name].shape) for name, value in WRAPPED["flat storage"].items()}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_usual_wrappings_are_taken_off(wrapping):
    found = load_bytes(convert_bytes(saved(WRAPPED[wrapping]), MLP)[0])
    assert found.config == {"in_shape": [1, 4, 4], "classes": 3, "widths": [8]}
    inner = WRAPPED[wrapping]
    for key in ("state_dict", "model_state_dict", "model"):
        inner = inner.get(key, inner)
    assert torch.equal(found.state["layers.0.weight"], next(v for k, v in inner.items() if k.endswith("fc1.weight")))


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32_and_say_so(kind):
    state = {name: value.to(getattr(torch, kind)) for name, value in mlp().items()}
    for data in (saved(state), safetensors.torch.save(state)):
        converted, facts = convert_bytes(data, MLP)
        assert facts["was"] == (kind,)
        found = load_bytes(converted)
        assert found.state["layers.0.weight"].dtype == torch.float32
        assert torch.equal(found.state["layers.0.weight"], state["fc1.weight"].float())


def test_a_permuted_layout_keeps_its_numbers():
    weight = torch.randn(16, 8).t()  # dense, but not contiguous
    assert torch.equal(
        load_bytes(convert_bytes(saved(mlp(**{"fc1.weight": weight})), MLP)[0]).state["layers.0.weight"], weight
    )


def test_tied_tensors_stand_under_all_their_names_and_come_back_tied():
    shared = torch.randn(4, 4)
    state = {"layers.0.weight": shared, "layers.0.bias": torch.zeros(4), "layers.2.weight": shared}
    state |= {"layers.2.bias": torch.zeros(4)}
    config = {"in_shape": [1, 2, 2], "classes": 4, "widths": [4]}
    data = save_checkpoint(state, architecture="mlp", config=config)
    assert safetensors.torch.load(data).keys() == state.keys()  # any module of the person's own loads it strictly
    found = load_bytes(data).state
    assert found["layers.0.weight"].data_ptr() == found["layers.2.weight"].data_ptr()
    assert torch.equal(found["layers.2.weight"], shared)


def test_save_and_load_give_the_checkpoint_back_and_the_same_bytes():
    model = build("cnn", {"widths": [4, 8], "norm": "batch"}, (0.3,), (0.2,), seed=5)
    facts = {"architecture": "cnn", "config": {"widths": [4, 8], "norm": "batch"}, "dataset": "fashion-mnist"}
    facts |= {"classes": FACTS["fashion-mnist"].classes, "mean": (0.3,), "std": (0.2,), "seed": 5, "epochs": 2}
    data = save_checkpoint(model, name="mine", **facts)
    assert data == save_checkpoint(model.state_dict(), name="mine", **facts)
    found = load_bytes(data)
    assert found.name == "mine"
    assert {key: getattr(found, key) for key in facts} == facts
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(found.build()(images), model(images))
    assert not found.build().training


@pytest.mark.parametrize("entry", catalogue.shipped(), ids=lambda entry: entry.id)
def test_every_shipped_checkpoint_loads_as_its_entry_says(entry):
    found = load_checkpoint(catalogue.shipped_file(entry.sha256))
    for key in ("name", "sha256", "architecture", "config", "dataset", "classes", "mean", "std", "seed", "epochs"):
        assert getattr(found, key) == getattr(entry, key), key
    assert sum(parameter.numel() for parameter in found.build().parameters()) == entry.parameters


def test_a_torch_file_goes_through_a_process_of_its_own(tmp_path):
    path = tmp_path / "my net.pt"
    path.write_bytes(saved({"state_dict": {name: value.half() for name, value in mlp().items()}}))
    found = load_checkpoint(path, mean=[0.5], std=[0.25], **MLP)
    assert (found.name, found.architecture, found.mean, found.std) == ("my net", "mlp", (0.5,), (0.25,))
    converted = sandbox.convert(path.read_bytes(), name="../mine,\n80/20 split", dataset="", **MLP)
    entry = catalogue.uploaded(converted.facts, converted.data, owner="me", created=1.0)
    assert entry.name == "../mine,80/20 split"  # as it was typed, but for what cannot be printed; never used as a path
    assert (entry.label, entry.parameters, entry.source) == ("MLP 1×8", 163, "uploaded")
    assert converted.facts["renamed"]["fc1.weight"] == "layers.0.weight"
    assert load_bytes(converted.data).sha256 == entry.sha256


@pytest.mark.parametrize("key", NONLINEARITIES)
def test_a_person_says_the_nonlinearity_that_no_state_dict_tells(key):
    config = {"widths": [8], "in_shape": [1, 3, 3], "classes": 4, "nonlinearity": key}
    net = build("mlp", config)
    data, facts = convert_bytes(
        safetensors.torch.save(net.state_dict()), {"config": {"nonlinearity": key}}
    )  # decides all
    images = torch.rand(5, 1, 3, 3)
    assert torch.equal(load_bytes(data).build()(images), net(images))
    assert ("nonlinearity" in facts["config"]) == (key != RELU)
    assert facts["label"] == ("MLP 1×8" if key == RELU else f"MLP 1×8, {NONLINEARITIES[key]}")


def test_a_net_that_cannot_have_another_nonlinearity_says_what_it_can():
    data = safetensors.torch.save(build("resnet20", {}).state_dict())
    with pytest.raises(UnknownArchitecture, match="nonlinearity of resnet20 is one of relu, gelu"):
        load_bytes(data, architecture="resnet20", config={"nonlinearity": "cubic"})


def test_a_hostile_file_is_refused_through_the_process_too(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="does not hold that many numbers"):
        sandbox.convert(CASES["expanded view"][0])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "missing.pt")
    monkeypatch.setattr(disposable, "PATIENCE", 0.001)
    with pytest.raises(CheckpointError, match="stopped"):
        sandbox.convert(saved(mlp()), seconds=1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux enforces the memory limit")
def test_the_reading_process_cannot_take_more_memory_than_its_limit():
    limited = "from merging.zoo.disposable import limit_process\nlimit_process(5 * 10**8, 50)"
    program = f"import torch\n{limited}\nprint(len(bytearray(10**9)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert "MemoryError" in done.stderr
    assert done.returncode != 0


def test_a_dataset_gives_classes_and_statistics():
    state = build("mlp", {"widths": [8]}).state_dict()
    found = load_bytes(safetensors.torch.save(state), dataset="mnist", **MLP)
    assert (found.classes, found.mean) == (FACTS["mnist"].classes, FACTS["mnist"].mean)
    with pytest.raises(CheckpointError, match="no data set 'imagenet'"):
        load_bytes(safetensors.torch.save(state), dataset="imagenet", **MLP)
    with pytest.raises(CheckpointError, match="takes 1 channels"):
        load_bytes(safetensors.torch.save(state), dataset="cifar-10", **MLP)


def test_the_callers_name_wins_and_a_files_own_name_wins_over_its_path(tmp_path):
    model = build("mlp", {"widths": [8]})
    named = save_checkpoint(model, name="in the file", architecture="mlp", config={"widths": [8]})
    assert load_bytes(named).name == load_bytes(named, name="").name == "in the file"
    assert load_bytes(named, name="mine").name == "mine"
    for data, wanted in ((named, "in the file"), (safetensors.torch.save(model.state_dict()), "on disk")):
        (tmp_path / "on disk.safetensors").write_bytes(data)
        assert load_checkpoint(tmp_path / "on disk.safetensors", **MLP).name == wanted


@pytest.mark.parametrize(
    ("mean", "std"), [([float("nan")], [1.0]), ([0.0], [float("inf")]), ([0.5], [0.0]), ([0.5], [-0.25])]
)
def test_numbers_that_no_image_can_be_normalised_by_are_refused_in_words(mean, std):
    with pytest.raises(CheckpointError, match="finite numbers, and std above 0"):
        load_bytes(safetensors.torch.save(build("mlp", {"widths": [8]}).state_dict()), mean=mean, std=std, **MLP)


def test_a_net_of_ones_own_is_built_by_its_factory():
    model = nn.Linear(3, 2)
    data = safetensors.torch.save(model.state_dict())
    own = {"architecture": "torch.nn:Linear", "config": {"in_features": 3, "out_features": 2}}
    assert torch.equal(load_bytes(data, **own).build()(torch.ones(1, 3)), model(torch.ones(1, 3)))
    with pytest.raises(UnknownArchitecture, match="cannot be imported"):
        load_bytes(data, architecture="no.such:thing").build()
    with pytest.raises(UnknownArchitecture, match=r"weight is \(2, 3\) instead of \(2, 9\)"):
        load_bytes(data, architecture="torch.nn:Linear", config={"in_features": 9, "out_features": 2}).build()
    with pytest.raises(UnknownArchitecture, match="unexpected keyword argument"):
        load_bytes(data, architecture="torch.nn:Linear", config={"width": 9}).build()


def test_a_factory_of_torchvision_is_found_whatever_build_of_torch_there_is():
    """In a process that has not imported torchvision yet: alone, the published wheel cannot beside a CPU-only torch."""
    program = (
        "import safetensors.torch as st, torch\n"
        "from merging.zoo.checkpoints.checkpoint import load_bytes\n"
        "from merging.zoo.torchvision_import import imported\n"
        "assert 'torchvision' not in __import__('sys').modules\n"
        "own = {'architecture': 'torchvision.models:squeezenet1_1', 'config': {'num_classes': 3}}\n"
        "try: load_bytes(st.save({'x': torch.zeros(1, 1)}), **own).build()\n"
        "except Exception as error: print(type(error).__name__, 'it lacks' in str(error))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["UnknownArchitecture", "True"], done.stderr


def test_bytes_of_a_torch_file_are_never_unpickled_here():
    with pytest.raises(MergescopeError, match="not a safetensors"):
        load_bytes(saved(mlp()))


GOOD = (saved(mlp()), safetensors.torch.save(mlp()), story(architecture="mlp", config={"widths": [8]}))


@settings(max_examples=150)
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_file_with_wrong_bytes_is_read_or_refused_but_never_anything_else(good, wrong):
    damaged = bytearray(good)
    for where, value in wrong:
        damaged[int(where**2 * len(good))] = value  # the square: more often near the start, where the structure is
    try:
        data, _ = convert_bytes(bytes(damaged), MLP)
    except MergescopeError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in load_bytes(data).state.values())


@pytest.mark.parametrize("mark", [b"\x80\x03", b"PK", b"\x1f\x8b"], ids=["pickle", "zip", "gzip"])
def test_a_safetensors_file_is_told_by_its_header_whatever_its_first_bytes_look_like(mark):
    """They are the header's length, which blanks at its end may make any number."""
    state, length = build("mlp", {"widths": [8]}).state_dict(), int.from_bytes(mark, "little")
    plain = safetensors.torch.save(state)
    was = int.from_bytes(plain[:8], "little")
    padded = length.to_bytes(8, "little") + plain[8 : 8 + was].ljust(length) + plain[8 + was :]
    assert padded.startswith(mark)
    assert load_bytes(padded, **MLP).config["widths"] == [8]
    assert convert_bytes(padded, MLP)[1]["format"] == "safetensors"


def test_a_file_that_was_saved_without_checksums_is_read(tmp_path):
    net = build("mlp", {"widths": [8], "in_shape": [1, 4, 4], "classes": 3})
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(net.state_dict(), tmp_path / "net.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    kept = load_checkpoint(tmp_path / "net.pt", architecture="mlp", config={"in_shape": [1, 4, 4]}).state
    assert all(torch.equal(kept[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("aliases", [{"a": {}}, {"a": []}, {"a": 1}, {"a": None}, ["a"], "a", {"a": "gone"}])
def test_tied_tensors_that_are_none_are_refused_in_words(aliases):
    with pytest.raises(CheckpointError, match="tied tensors"):
        load_bytes(story(aliases=aliases))
