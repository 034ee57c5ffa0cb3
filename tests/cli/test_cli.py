"""The command line, run on the real thing: the shipped small nets and few images."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from merging import load_checkpoint
from merging.cli.console import say_table
from merging.cli.main import main
from merging.methods.recipes import RECIPES
from merging.methods.registry import methods
from merging.network.permutation import named_tensors, permute_tensors
from merging.network.tracing.tracer import trace
from merging.results import reports
from merging.zoo.catalogue import find_entry, shipped, shipped_file

A, B = "fashion-mlp-128-s0", "fashion-mlp-128-s1"
IMAGES = ("--images", "200", "--device", "cpu")
FEW = ("--images", "200", "--points", "3", "--device", "cpu")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> object:
    """What --json prints, of a command that must succeed."""
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture(scope="module")
def merged(tmp_path_factory) -> Path:
    """The folder of one merge."""
    folder = tmp_path_factory.mktemp("merge")
    assert main(["merge", A, B, *FEW, "--out", str(folder), "--quiet"]) == 0
    return folder


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for command in (
        "methods",
        "inspect",
        "merge",
        "compare",
        "curve",
        "similarity",
        "neurons",
        "train",
        "zoo",
        "download",
        "examples",
    ):
        assert command in out


def test_methods_lists_all_of_the_tables(capsys):
    listed = printed(capsys, "methods")
    for role, table in methods().items():
        assert [row["key"] for row in listed[role]] == list(table)
    assert [row["key"] for row in listed["recipes"]] == list(RECIPES)
    code, out, _ = run(capsys, "methods")
    assert code == 0
    assert "--set align.restarts" in out


def test_zoo_lists_what_is_shipped(capsys):
    assert [entry["id"] for entry in printed(capsys, "zoo")] == [entry.id for entry in shipped()]
    assert "MLP 3×512" in run(capsys, "zoo")[1]


def test_inspect_shows_groups_with_their_tensors_and_axes(capsys):
    found = printed(capsys, "inspect", "fashion-resnet-s0")
    assert (found["architecture"], found["dataset"], found["parameters"]) == ("resnet", "fashion-mnist", 77_754)
    assert found["equivalence"] < 1e-6
    spec = trace(load_entry("fashion-resnet-s0"), torch.rand(2, 1, 28, 28))
    assert [(group["name"], group["units"]) for group in found["groups"]] == list(spec.sizes.items())
    code, out, _ = run(capsys, "inspect", "fashion-mlp-128-s0")
    assert code == 0
    assert "layers.0: 128 units" in out
    assert "layers.2.weight, dimension 1" in out


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def load_entry(name: str) -> torch.nn.Module:
    return load_checkpoint(shipped_file(find_entry(name).sha256)).build()


def test_merge_writes_files_that_agree_with_each_other(merged):
    assert {path.name for path in merged.iterdir()} >= {
        "merge.safetensors",
        "aligned.safetensors",
        "permutation.npz",
        "report.json",
        "curves.csv",
    }
    a, b = load_entry(A), load_entry(B)
    aligned, merge = (load_checkpoint(merged / f"{name}.safetensors").build() for name in ("aligned", "merge"))
    permutation = {name: torch.from_numpy(p) for name, p in np.load(merged / "permutation.npz").items()}
    moved = permute_tensors(named_tensors(b), trace(a, torch.rand(2, 1, 28, 28)), permutation)
    for name, tensor in named_tensors(aligned).items():
        assert torch.equal(tensor, moved[name]), name
        middle = (named_tensors(a)[name] + tensor) / 2
        assert torch.allclose(named_tensors(merge)[name], middle, atol=1e-7), name
    report = json.loads((merged / "report.json").read_text())
    assert report["equivalence"] < 1e-6
    rows = table(merged / "curves.csv")
    assert len(rows) == 2 * 2 * 3, "two paths, two splits, three lambdas"
    half = {row["path"]: float(row["loss"]) for row in rows if row["split"] == "test" and row["lambda"] == "0.5"}
    assert half["aligned"] < half["naive"] - 0.3, "matching is what makes the middle good"


def test_merge_says_the_figures_and_the_same_run_gives_the_same_bytes(capsys, merged, tmp_path):
    told = printed(capsys, "merge", A, B, *FEW, "--out", tmp_path)
    assert told["folder"] == str(tmp_path)
    assert set(told["middle"]) == {"naive", "aligned"}
    for kind in ("barrier", "barrier_above_chord"):
        assert told[kind]["aligned"]["height"] < told[kind]["naive"]["height"]
    for name in ("merge.safetensors", "aligned.safetensors", "permutation.npz", "curves.csv"):
        assert (tmp_path / name).read_bytes() == (merged / name).read_bytes(), name


def test_three_networks_and_a_base_are_merged_in_one_line(capsys, tmp_path):
    names = [f"fashion-small-{end}" for end in ("base", "s0", "s1")]
    few = (*IMAGES, "--out", tmp_path, "--quiet")
    found = printed(capsys, "merge", *names, "--align", "none", *few)
    assert set(found["scores"]) == {"A", "B", "C", "naive", "merge"}
    assert found["scores"]["merge"] == found["scores"]["naive"]
    assert found["middle"] == {}
    experts = ("--base", names[0], "--recipe", "task-arithmetic", "--set", "combine.scale=0.5")
    summed = printed(capsys, "merge", *names[1:], *experts, *few, "--points", "3")
    base, merged = (
        named_tensors(load_checkpoint(path).build())
        for path in (shipped_file(find_entry(names[0]).sha256), tmp_path / "merge.safetensors")
    )
    experts = [named_tensors(load_checkpoint(shipped_file(find_entry(name).sha256)).build()) for name in names[1:]]
    for name, start in base.items():
        assert torch.allclose(merged[name], start + 0.5 * sum(own[name] - start for own in experts), atol=1e-6)
    assert summed["scores"]["A"]["test"]["accuracy"] > 0.85


def test_settings_and_recipes_reach_the_methods(capsys, tmp_path):
    chosen = ("--recipe", "naive", "--correct", "repair", "--set", "correct.images=150", "--seed", "3")
    told = printed(capsys, "merge", "fashion-small-s0", "fashion-small-s1", *FEW, *chosen, "--out", tmp_path)
    request = json.loads((tmp_path / "report.json").read_text())["request"]
    assert (request["align"], request["correct"], request["seed"]) == ("none", "repair", 3)
    assert request["settings"]["correct"]["images"] == 150
    assert all(group["moved"] == 0 for group in told["groups"].values())
    assert "corrected" in told["middle"]


def test_curve_writes_csv_json_and_html(capsys, tmp_path):
    for ending in ("csv", "json", "html"):
        path = tmp_path / f"curve.{ending}"
        told = printed(capsys, "curve", A, B, *FEW, "--out", path)
        assert told["lambdas"] == [0, 0.5, 1]
        assert path.stat().st_size > 100
    assert [float(row["loss"]) for row in table(tmp_path / "curve.csv")] == told["loss"]
    assert json.loads((tmp_path / "curve.json").read_text()) == told
    assert "plotly" in (tmp_path / "curve.html").read_text("utf-8")[:100_000].lower()
    matched = printed(capsys, "curve", A, B, *FEW, "--align", "weight-matching")
    assert matched["loss"][1] < told["loss"][1]
    assert matched["ends"][0] == told["ends"][0]


def test_similarity_of_a_net_with_itself_is_one_on_the_diagonal(capsys, tmp_path):
    few = ("--images", "200", "--out", tmp_path / "map.csv", "--layers", "layers.0, layers.3")
    code, out, err = run(capsys, "similarity", A, A, *few, "--json")
    assert (code, err) == (0, f"note: {A} and {A} are the same network.\n")
    told = json.loads(out)
    assert told["row_layers"] == ["layers.0", "layers.3"]
    assert np.diag(told["values"]) == pytest.approx([1, 1])
    assert (tmp_path / "map.csv").read_text().startswith("A \\ B,layers.0,layers.3")


def test_similarity_from_minibatches_says_so(capsys):
    asked = ("similarity", A, B, "--images", "203", "--layers", "layers.1", "--treatment", "flattened")
    mini = ("--minibatch", "50")
    exact, found, other = (printed(capsys, *asked, *more) for more in ((), mini, (*mini, "--seed", "1")))
    assert (found["estimator"], found["images"]) == ("debiased, minibatches of 50", 200)
    assert found["values"][0] == pytest.approx(exact["values"][0], abs=0.05)
    assert found["values"] != other["values"]


def test_neurons_writes_the_pictures_that_a_worker_makes(capsys, tmp_path):
    told = printed(capsys, "neurons", A, "--layer", "layers.0", "--units", "2,5-6", "--steps", "16", "--out", tmp_path)
    assert [picture["unit"] for picture in told["pictures"]] == [2, 5, 6]
    for picture in told["pictures"]:
        with Image.open(picture["file"]) as image:
            assert (image.size, image.mode) == ((28, 28), "L")


def test_train_makes_a_checkpoint_that_the_other_commands_read(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = (
        "--architecture",
        "mlp",
        "--config",
        "widths=8,",
        "--epochs",
        "1",
        "--seed",
        "4",
        "--out",
        "small.safetensors",
    )
    told = printed(capsys, "train", *wanted)
    assert told["accuracy"] > 0.3
    found = printed(capsys, "inspect", "small.safetensors")
    assert (found["label"], found["seed"], found["epochs"]) == ("MLP 1×8", 4, 1)


def test_a_table_is_as_wide_as_its_cells(capsys):
    say_table(("a", "long head"), [("wide cell", 1), ("x", 22)])
    assert capsys.readouterr().out == "a          long head\nwide cell  1\nx          22\n"


def test_the_report_is_the_one_that_pages_read(merged):
    report = json.loads((merged / "report.json").read_text())
    assert set(report) == set(reports.MergeReport.__dataclass_fields__)


def test_networks_of_different_classes_share_a_trunk_and_keep_their_heads(capsys, tmp_path):
    heads = ("fashion-head-low", "fashion-head-high")
    out = tmp_path / "zipped.safetensors"
    told = printed(capsys, "zip", *heads, "--until", "features.4", *IMAGES, "--out", out)
    alone, (cut,) = told["unmerged"]["heads"], told["zipped"]
    assert min(alone.values()) > 0.85
    assert 0.4 < cut["heads"]["A"] <= alone["A"] + 0.05 and cut["together"] > 0.3 and 0.5 < cut["share"] < 1
    assert out.stat().st_size > 10_000
    program = tmp_path / "zipped.pt2"
    assert printed(capsys, "zip", *heads, "--until", "features.4", *IMAGES, "--out", program) == told
    assert torch.export.load(program).module()(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    same = printed(capsys, "zip", "fashion-small-s0", "fashion-small-s1", *IMAGES)
    assert [cut["until"] for cut in same["zipped"]] == ["features.2", "features.5", "pool"]
    assert "together" not in same["unmerged"]  # of the same classes, which head answers is not known
    code, text, _ = run(capsys, "zip", *heads, "--until", "features.4", *IMAGES)
    assert code == 0
    assert all(words in text for words in ("all together", "unmerged", "Sharing the layers (up to features.4) lowers"))
    assert not {"until", "share"} & set(told["unmerged"]) and told["notes"]["images"] == 200
    code, text, err = run(capsys, "zip", *heads, "--until", "features.4", *IMAGES, "--out", tmp_path)
    assert (code, text, "cannot be written" in err) == (2, "", True)  # before any work
    code, _, err = run(capsys, "zip", *heads, *IMAGES, "--classes", "Bag")
    assert (code, "--classes was given 1 times for 2 networks" in err) == (2, True)
    code, _, err = run(capsys, "zip", *heads, *IMAGES, "--classes", "Bag,Sneaker", "--classes", "Bag,Sneaker")
    assert (code, "Network A has 5 outputs, but 2 classes are named" in err) == (2, True)
    code, _, err = run(capsys, "zip", *heads, *IMAGES, "--out", out)
    assert (code, "with --until" in err) == (2, True)
    code, _, err = run(capsys, "zip", *heads, "--until", "classifier", *IMAGES)
    assert (code, "cannot be mixed" in err) == (2, True)
    code, _, err = run(capsys, "zip", *heads, "--until", "features.4", *IMAGES, "--data", "mnist")
    assert (code, "not on this machine" in err) == (2, True)
    code, _, err = run(capsys, "zip", *heads, "--until", "features.4", *IMAGES, "--set", "choose=true")
    assert (code, "no common loss" in err) == (2, True)
    assert out.stat().st_size < 250_000  # a trunk and two heads, not three networks


def test_a_comparison_says_which_methods_its_images_tell_apart(capsys):
    code, out, _ = run(capsys, "compare", A, B, "--align", "none,weight-matching", "--images", "500", "--points", "3")
    assert code == 0
    assert re.search(r"weight-matching · average · none is best here: .* on 500 test images", out)
