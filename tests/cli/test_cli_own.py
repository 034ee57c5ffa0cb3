"""Networks of a person's own on the command line: what they print, how they fail, and what a file does not say."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from merging.cli.main import main
from merging.cli.options import read_config
from tests.zoo.forms import fed

PROGRAM = """
import sys
from torch import nn

print("imported")

class Talking(nn.Sequential):
    def forward(self, images):
        print("run")
        return super().forward(images)

def make():
    print("made")
    return Talking(nn.Flatten(), nn.Linear(784, 12), nn.Tanh(), nn.Linear(12, 10))

def five():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.ReLU(), nn.Linear(12, 5))

def leave():
    sys.exit(3)

def divide():
    return 1 / 0

class Own(Exception):
    pass

def own():
    raise Own("of my own")
"""


FEW = ("--images", "200", "--points", "3")
TANH = ("--architecture", "mlp", "--config", "nonlinearity=tanh")  # which no state dict says


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    """Two networks as files that say nothing of themselves, and the module `talking` that makes them."""
    (tmp_path / "talking.py").write_text(PROGRAM)
    (tmp_path / "broken.py").write_text("def make(:\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit\n")
    for name in ("talking", "broken", "leaving"):  # each test imports anew
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.Tanh(), nn.Linear(12, 10))
        safetensors.torch.save_file(net.state_dict(), tmp_path / f"{seed}.safetensors")
    return [tmp_path / f"{seed}.safetensors" for seed in (0, 1)]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_what_a_network_prints_stays_out_of_the_results(capsys, files):
    own = ("--architecture", "talking:make", "--input", "1,28,28", "--json")
    code, out, err = run(capsys, "inspect", files[0], *own)
    assert code == 0
    assert json.loads(out)["architecture"] == "talking:make"
    assert {"imported", "made", "run"} <= set(err.split())


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("talking:leave", "SystemExit: 3"),
        ("talking:divide", "ZeroDivisionError: division by zero"),
        ("talking:own", "Own: of my own"),
        ("leaving:make", "SystemExit"),
        ("broken:make", "SyntaxError: invalid syntax (broken.py, line 1)"),
    ],
)
def test_a_factory_that_fails_is_named(capsys, files, factory, words):
    code, out, err = run(capsys, "inspect", files[0], "--architecture", factory, "--input", "1,28,28", "--json")
    assert (code, out) == (2, "")
    assert f"error: {factory} ended with {words}" in err


@pytest.mark.parametrize(
    "command", [["neurons", "--layer", "1"], ["compare", "1.safetensors"], ["study", "why", "1.safetensors"]]
)
def test_what_takes_no_factory_says_what_does(capsys, files, command):
    own = ("--architecture", "talking:make", *(() if "neurons" in command else ("--data", "fashion-mnist")))
    code, _, err = run(capsys, *command, files[0], *own)
    assert (code, "talking:make is a factory of your own" in err) == (2, True)


def test_heads_of_ones_own_are_told_which_classes_they_are(capsys, files):
    """A file of one's own names no classes: as many as the data set's are taken for those, fewer have to be named."""
    own = ("--architecture", "talking:five", "--data", "fashion-mnist", "--images", "200")
    for seed, path in enumerate(files):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.ReLU(), nn.Linear(12, 5))
        safetensors.torch.save_file(net.state_dict(), path)
    code, out, err = run(capsys, "zip", *files, *own)
    assert (code, out, "Network A has 5 outputs, but 10 classes are named" in err) == (2, "", True)
    low = ("--classes", "T-shirt/top, Trouser, Pullover, Dress, Coat")
    high = ("--classes", "Sandal, Shirt, Sneaker, Bag, Ankle boot")
    code, out, err = run(capsys, "zip", *files, *own, *low, *high, "--json")
    assert code == 0, err
    assert [cut["until"] for cut in json.loads(out)["zipped"]] == ["2"]


def test_a_factory_that_lacks_a_base_is_told_of_it(capsys, files):
    own = ("--architecture", "talking:make", "--data", "fashion-mnist", "--images", "200")
    code, _, err = run(capsys, "merge", *files, *own, "--combine", "ties")
    assert (code, "name the base with --base" in err) == (2, True)


@pytest.mark.parametrize("command", ["compare", "study why", "merge --align activation-matching", "curve"])
def test_files_of_an_unknown_data_set_are_answered_with_the_option(capsys, files, command):
    code, out, err = run(capsys, *command.split(), *files, *TANH)
    assert (code, out) == (2, "")
    assert "name the data set with --data" in err


def test_a_merge_that_needs_no_images_is_made_and_says_what_was_not_measured(capsys, files, tmp_path):
    code, out, err = run(capsys, "merge", *files, *TANH, "--out", tmp_path / "merged")
    assert (code, err) == (0, "")
    assert "Nothing is measured." in out
    assert "name the data set with --data" in out
    assert (tmp_path / "merged" / "merge.safetensors").is_file()


def test_a_file_given_twice_is_noted_and_merged(capsys, files, tmp_path):
    (tmp_path / "copy.safetensors").write_bytes(files[0].read_bytes())
    nets = (files[0], files[1], "copy.safetensors")
    code, _, err = run(capsys, "merge", *nets, *TANH, "--out", tmp_path / "merged")
    assert (code, err) == (0, f"note: {files[0]} and copy.safetensors are the same network.\n")


def test_a_file_that_fits_several_networks_is_a_question_and_exit_code_2(capsys, files):
    code, out, err = run(capsys, "merge", *files)
    assert (code, out) == (2, "")
    first, *lines = err.splitlines()
    assert first.startswith("error: A state dict does not say how its layers are wired.")
    assert lines == [
        "  MLP 1×12 | to be chosen: nonlinearity: relu, gelu, silu, elu, leaky_relu, tanh, sigmoid "
        "| --architecture mlp --config nonlinearity=relu"
    ]


def test_inspect_lists_the_candidates_with_their_accuracy(capsys, files):
    code, out, err = run(capsys, "inspect", files[0], "--data", "fashion-mnist", "--json")
    question = json.loads(out)
    assert code == 2
    assert len(question["candidates"]) == 7
    assert all(0 <= one["accuracy"] <= 1 for one in question["candidates"])
    assert question["why"] == "none of them is above chance on the images"
    assert err.count("--architecture mlp --config nonlinearity=") == 7


def test_inspect_says_why_a_file_is_what_it_is_and_what_it_is_worth(capsys, files):
    code, out, err = run(capsys, "inspect", files[0], *TANH, "--data", "fashion-mnist", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["why"] == "named, and its tensors have these names and shapes"
    assert told["measured"][0]["images"] == 500
    assert told["accuracy"] == told["measured"][0]["accuracy"]
    assert "WARNING" in err and "no more often than chance" in err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("False", False), ("true", True), ("None", None), ("0.1", 0.1), ("-1", -1), ("1e-6", 1e-6), ("7", 7)],
        *[("512,512", [512, 512]), ("512,", [512]), ("0.5,-1", [0.5, -1]), ("tanh", "tanh"), ("none", "none")],
        *[("'7'", "7"), ("a,b", ["a", "b"]), ("", ""), ("relu-6", "relu-6"), ("1.2.3", "1.2.3")],
    ],
)
def test_a_configuration_is_read_as_python_would(text, value):
    assert read_config([f"x={text}"]) == {"x": value}


def test_nets_of_ones_own_are_merged_by_their_factory(capsys, tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(
        "from torch import nn\n\ndef make(width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Tanh(), nn.Linear(width, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = import_module("mynets").make(12)
        safetensors.torch.save_file(net.state_dict(), tmp_path / f"{seed}.safetensors")
    own = ("--architecture", "mynets:make", "--config", "width=12")
    files = (tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    found = json.loads(run(capsys, "inspect", files[0], *own, "--input", "1,28,28", "--json")[1])
    assert [(group["name"], group["units"]) for group in found["groups"]] == [("1", 12)]
    code, out, err = run(
        capsys, "merge", *files, *own, *FEW, "--data", "fashion-mnist", "--out", tmp_path / "out", "--json"
    )
    told = json.loads(out)
    assert code == 0
    assert "no better than chance" in err, "networks that were never trained"
    assert told["equivalence"] < 1e-6
    assert set(told["middle"]) == {"naive", "aligned"}
    code, _, err = run(capsys, "merge", *files, *own, *FEW)
    assert (code, "--data" in err) == (2, True)


def test_two_networks_of_one_merge_share_the_normalisation_that_suits_both(tmp_path, capsys) -> None:
    pair = [str(tmp_path / f"{seed}.safetensors") for seed in (0, 1)]
    for seed, path in enumerate(pair):
        Path(path).write_bytes(fed(f"fashion-mlp-128-s{seed}", normalised=seed == 0))
    known = ["--architecture", "mlp", "--config", "nonlinearity=relu", "--data", "fashion-mnist"]
    assert main(["merge", *pair, *known, *FEW, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert "which gives the networks the highest total accuracy" in capsys.readouterr().err
    models = json.loads((tmp_path / "out" / "report.json").read_text())["request"]["models"]
    assert (models[0]["mean"], models[0]["std"]) == (models[1]["mean"], models[1]["std"])


@pytest.mark.parametrize("given", ["--mean", "--std"])
def test_one_of_mean_and_std_alone_is_refused(capsys, files, given):
    own = ("--architecture", "talking:make", "--input", "1,28,28")
    code, out, err = run(capsys, "inspect", files[0], *own, given, "0.3", "--json")
    assert (code, out) == (2, "")
    assert "give both, or neither" in err


def test_what_is_said_of_shipped_networks_and_an_empty_name_of_images_are_refused(capsys):
    pair = ("fashion-mlp-128-s0", "fashion-mlp-128-s1")
    code, _, err = run(capsys, "merge", *pair, "--mean", "0.3", "--std", "0.3")
    assert (code, "shipped networks state this themselves" in err) == (2, True)
    code, _, err = run(capsys, "merge", *pair, "--data", "")
    assert (code, "--data is empty" in err) == (2, True)
