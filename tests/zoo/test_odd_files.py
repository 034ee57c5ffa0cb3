"""Files that are whole and still say something else than one takes them for: each is refused, or read right."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
import safetensors.torch
import torch

from merging.errors import CheckpointError
from merging.zoo import catalogue
from merging.zoo.architectures import build
from merging.zoo.checkpoints.checkpoint import load_bytes, save_checkpoint
from merging.zoo.checkpoints.reading.contents import contents_of
from merging.zoo.checkpoints.reading.files import read_file, read_folder
from merging.zoo.checkpoints.reading.sliced import read_sliced


def zipped(**files: bytes) -> bytes:
    """A zip of files by path; / is written as two underscores."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/") + ".safetensors", data)
    return out.getvalue()


def test_an_archive_with_two_networks_of_one_file_name_is_refused():
    a, b = (catalogue.shipped_file(catalogue.find_entry(f"fashion-small-s{n}").sha256).read_bytes() for n in (0, 1))
    for first, second in ((a, b), (b, a)):
        with pytest.raises(CheckpointError, match=r"several files called model\.safetensors"):
            read_file(zipped(a__model=first, b__model=second))
    assert len(read_file(zipped(a__model=a)).networks) == 1


def test_what_a_mac_adds_to_archives_and_folders_is_no_network(tmp_path):
    whole = catalogue.shipped_file(catalogue.find_entry("fashion-small-s0").sha256).read_bytes()
    assert len(read_file(zipped(**{"m__model": whole, "__MACOSX__m__._model": b"x"})).networks) == 1
    (tmp_path / "model.safetensors").write_bytes(whole)
    (tmp_path / "._model.safetensors").write_bytes(b"x")
    assert len(read_folder(tmp_path).networks) == 1


def test_metadata_tie_no_tensors_that_the_file_holds_with_other_numbers(tmp_path):
    entry = catalogue.find_entry("fashion-mlp-128-s0")
    raw = catalogue.shipped_file(entry.sha256).read_bytes()
    metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["mergescope"]
    tied = json.dumps({**json.loads(metadata), "aliases": {"layers.4.weight": "layers.2.weight"}})
    state = safetensors.torch.load(raw)
    with pytest.raises(CheckpointError, match=r"tie layers\.4\.weight to layers\.2\.weight.*different numbers"):
        load_bytes(safetensors.torch.save(state, {"mergescope": tied}))
    safetensors.torch.save_file(state, tmp_path / "net.safetensors", {"mergescope": tied})
    with pytest.raises(CheckpointError, match="different numbers"):
        read_sliced(tmp_path / "net.safetensors")
    state["layers.4.weight"] = state["layers.2.weight"].clone()
    assert load_bytes(safetensors.torch.save(state, {"mergescope": tied})).architecture == "mlp"


def test_a_weight_of_zeros_and_infinities_is_no_mask():
    net = build("mlp", {"widths": [8], "in_shape": [1, 4, 4], "classes": 3})
    net.layers[0].weight.data.zero_()[1] = torch.inf
    data = save_checkpoint(
        net.state_dict(), architecture="mlp", config={"widths": [8], "in_shape": [1, 4, 4], "classes": 3}
    )
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight holds infinity"):
        load_bytes(data).build()


def test_lists_that_stand_in_many_places_are_read_once():
    deep: object = [1.0]
    for _ in range(8):
        deep = [deep] * 64
    assert contents_of({"net.weight": torch.ones(2, 2), "history": deep}).networks.keys() == {""}
    many: object = {"loss": 1.0}
    for _ in range(6):
        many = [many] * 64
    with pytest.raises(CheckpointError, match="more than 200,000 entries"):
        contents_of({"net.weight": torch.ones(2, 2), "history": many})
