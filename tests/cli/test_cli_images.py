"""Own images on the command line: at a path, in a zip, as arrays, or kept under a name."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from merging.cli.main import main
from merging.zoo.datasets import own
from tests.zoo.image_files import folder, png, zipped

NAMES = ("one", "two", "three")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Images of three classes as a folder, a zip and an .npz, and two networks trained on them."""
    place = tmp_path_factory.mktemp("cli images")
    labels = np.arange(150) % 3
    images = np.random.default_rng(0).integers(0, 120, (150, 6, 6), np.uint8)
    images[np.arange(150), 1 + labels, 1 + labels] = 255
    files = {f"{NAMES[label]}/{at}.png": png(images[at]) for at, label in enumerate(labels)}
    folder(place / "dots", files)
    zipped(place / "dots.zip", files)
    order = [NAMES[label] for label in labels]
    classes = sorted(NAMES)
    np.savez(place / "dots.npz", images=images, labels=[classes.index(n) for n in order], classes=np.array(classes))
    for seed in (0, 1):
        out = place / f"net{seed}.safetensors"
        options = ["--architecture", "mlp", "--config", "widths=12,", "--epochs", "12", "--seed", str(seed)]
        assert main(["train", *options, "--data", str(place / "dots"), "--out", str(out), "--quiet"]) == 0
    return place


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGESCOPE_HOME", str(tmp_path / "home"))
    return tmp_path


def nets(place: Path) -> tuple[Path, Path]:
    return place / "net0.safetensors", place / "net1.safetensors"


def test_a_network_trained_on_own_images_says_which(place, capsys, home):
    code, out, _ = run(capsys, "inspect", nets(place)[0], "--json")
    answer = json.loads(out)
    assert code == 0 and answer["classes"] == ["one", "three", "two"] and own.is_own(answer["dataset"])
    assert answer["config"]["in_shape"] == [1, 6, 6] and answer["mean"] != [0.0]


@pytest.mark.parametrize("kind", ["dots", "dots.zip", "dots.npz"])
def test_a_merge_measures_on_images_at_a_path(place, capsys, home, kind):
    code, out, err = run(
        capsys, "merge", *nets(place), "--data", place / kind, "--points", 3, "--out", home / "run", "--json"
    )
    assert code == 0, err
    answer = json.loads(out)
    assert answer["scores"]["A"]["test"]["accuracy"] > 0.8
    assert "120 training and 30 test images of 1×6×6, 3 classes; mean 0.2" in err
    assert "80% of each class are for training and 20% for testing" in err
    request = json.loads((home / "run" / "report.json").read_text())["request"]
    assert request["dataset"] == json.loads(run(capsys, "inspect", nets(place)[0], "--json")[1])["dataset"]
    assert own.own_datasets("the command line") == ()  # nothing is kept


@pytest.mark.parametrize(
    "command",
    [("curve", "--points", "3"), ("similarity",), ("study", "why", "--images", "100"), ("zip",), ("compare",)],
)
def test_every_command_that_takes_data_takes_a_path(place, capsys, home, command):
    name, *more = command
    before = [more.pop(0)] if name == "study" else []
    code, out, err = run(capsys, name, *before, *nets(place), *more, "--data", place / "dots.npz", "--json")
    assert code == 0, err
    assert json.loads(out)


@pytest.mark.parametrize("command", [("study", "along"), ("similarity",), ("curve", "--points", "3")])
def test_json_on_the_screen_and_a_file_are_both_given(place, capsys, home, command):
    name, *more = command
    before = [more.pop(0)] if name == "study" else []
    out = home / f"{name}.json"
    code, text, err = run(
        capsys, name, *before, *nets(place), *more, "--data", place / "dots.npz", "--json", "--out", out
    )
    assert code == 0, err
    assert json.loads(text) and out.stat().st_size > 0


def test_images_are_kept_under_a_name_listed_used_and_removed(place, capsys, home):
    code, out, err = run(capsys, "data", "add", place / "dots.zip", "--name", "my dots")
    assert code == 0 and "my dots (own-" in out and "three  40     10" in out and "drawn with seed 0" in err
    code, out, _ = run(capsys, "data", "list", "--json")
    listed = {entry["label"]: entry for entry in json.loads(out)}
    assert (listed["my dots"]["train"], listed["my dots"]["place"], listed["MNIST"]["train"]) == (120, "own", 60_000)
    assert "my dots" in run(capsys, "data", "list")[1]
    code, _, err = run(capsys, "merge", *nets(place), "--points", 3, "--out", home / "run")  # known by their own data
    assert code == 0, err
    with (home / "run" / "curves.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "test"}
    for name in ("my dots", listed["my dots"]["name"]):
        assert run(capsys, "curve", *nets(place), "--points", 3, "--data", name)[0] == 0
    code, out, _ = run(capsys, "data", "remove", "my dots")
    assert code == 0 and "is removed" in out
    code, _, err = run(capsys, "curve", *nets(place), "--points", 3)
    assert code == 2 and "are not on this machine: give --data" in err


def test_size_and_channels_are_chosen_when_images_are_kept(place, capsys, home):
    code, out, _ = run(
        capsys, "data", "add", place / "dots", "--size", "8x9", "--colour", "colour", "--private", "--json"
    )
    kept = json.loads(out)
    assert code == 0 and kept["facts"]["shape"] == [3, 8, 9]
    assert not own.find_own(kept["id"]).visible("somebody on a page")


MISUSES = [
    (("data", "add"), "takes a path"),
    (("data", "list", "x"), "takes no further argument"),
    (("data", "list", "--name", "x"), "--name can be given only to `data add`"),
    (("data", "add", "dots", "--size", "big"), "height x width"),
    (("data", "add", "nowhere"), "There is nothing at nowhere"),
    (("data", "add", "dots", "--name", "mnist"), "must differ from built-in names"),
    (("data", "remove", "x"), "You have no images of your own called 'x'"),
    (
        ("curve", "net0.safetensors", "net1.safetensors", "--data", "birds"),
        "No data set, folder or file is called 'birds'",
    ),
    (("curve", "net0.safetensors", "net1.safetensors", "--data", "own-000000000000"), "were deleted"),
    (("curve", "net0.safetensors", "net1.safetensors", "--data", "net0.safetensors"), "a zip archive nor an .npz"),
    (("curve", "net0.safetensors", "net1.safetensors", "--data", "fashion-mnist"), "need images of size 1×6×6|1×28×28"),
]


@pytest.mark.parametrize("arguments, words", MISUSES)
def test_what_names_no_images_is_refused_with_code_2(place, capsys, home, monkeypatch, arguments, words):
    monkeypatch.chdir(place)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and any(word in err for word in words.split("|"))


def test_a_name_that_is_a_file_too_is_asked_about(place, capsys, home, monkeypatch):
    monkeypatch.chdir(place)
    assert run(capsys, "data", "add", "dots")[0] == 0
    code, _, err = run(capsys, "curve", *nets(place), "--points", 3, "--data", "dots")
    assert code == 2 and "dots is both a stored data set and a path. Write ./dots for the path, own-" in err
    assert run(capsys, "curve", *nets(place), "--points", 3, "--data", "./dots")[0] == 0


def test_networks_that_take_another_size_say_how_to_bring_the_images(place, capsys, home):
    assert run(capsys, "data", "add", place / "dots", "--name", "large", "--size", "12x12")[0] == 0
    code, _, err = run(capsys, "merge", *nets(place), "--data", "large")
    assert (
        code == 2 and "images of size 1×6×6, but large has 1×12×12. Upload the images again with the size 6x6." in err
    )
