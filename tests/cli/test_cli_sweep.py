"""`sweep` and the parts of `train` that it stands on: kept epochs and a network to start from."""

from __future__ import annotations

import csv
import json
import os

import pytest
from safetensors.torch import load

from merging.cli.commands.sweep import sweep_request
from merging.cli.main import main, parser
from merging.zoo.checkpoints.checkpoint import load_checkpoint

NET = ["--architecture", "mlp", "--data", "fashion-mnist"]


def words(*arguments) -> list[str]:
    return [str(argument) for argument in arguments]


def test_a_sweep_prints_means_and_is_not_done_again(tmp_path, capsys):
    asked = ["sweep", *NET, "--config", "widths=8,8", "--axis", "width=4,8", "--groups", 1, "--epochs", 1, "--quiet"]
    asked += ["--set", "share=0.1", "--images", 200, "--points", 3, "--jobs", 1, "--folder", tmp_path / "kept"]
    assert main(words(*asked, "--out", tmp_path / "rows.csv")) == 0
    said = capsys.readouterr().out
    assert "Loss barrier above the mean" in said and "Naive average" in said
    with (tmp_path / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["width"] for row in rows] == ["4", "8"] and all(row["state"] == "done" for row in rows)
    files = sorted(path.stat().st_mtime for path in (tmp_path / "kept" / "store").rglob("*") if path.is_file())
    assert main(words(*asked, "--json", "--out", tmp_path / "again.csv")) == 0
    assert [row["values"] for row in json.loads(capsys.readouterr().out)["rows"]] == [[4], [8]]
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "rows.csv").read_bytes()
    assert files == sorted(path.stat().st_mtime for path in (tmp_path / "kept" / "store").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--axis", "width"), "takes NAME=VALUE"),
        (("--axis", "width=4", "--axis", "width=8"), "the same axis"),
        (("--axis", "hue=1"), "no axis 'hue'"),
        (("--axis", "width=4,x"), "'x' is not a whole number"),
        (("--axis", "width=4", "--align", "magic"), "magic"),
        (("--axis", "width=4", "--out", "rows.txt"), "suffix"),
        (("--axis", "width=4", "--set", "part=1"), "its own part"),
        (("--axis", "width=4", "--config", "widths=8"), "takes a list of widths"),
        (("--axis", "lambda=0,0.5,1", "--measure", "barrier_mean"), "no value per lambda"),
        (("--axis", "width=4", "--measure", "landscape.lowest"), "--study landscape"),
        (("--axis", "networks=3,4", "--measure", "barrier_mean"), "Choose accuracy"),
    ],
)
def test_an_impossible_sweep_is_refused_before_anything_is_written(tmp_path, capsys, monkeypatch, given, said):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *NET, "--config", "widths=8,", *given]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_epochs_are_kept_beside_the_network_and_another_training_starts_from_one(tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    small = ["train", *NET, "--config", "widths=8,", "--set", "share=0.1", "--quiet"]
    assert main(words(*small, "--epochs", 2, "--keep", "0,1", "--out", first)) == 0
    kept = load_checkpoint(tmp_path / "a-epoch-1.safetensors")
    assert kept.epochs == 1 and (tmp_path / "a-epoch-0.safetensors").is_file()
    again = ["--set", "lr=0.000001", "--set", "optimiser=sgd", "--epochs", 1]
    assert main(words(*small, *again, "--start", tmp_path / "a-epoch-1.safetensors", "--out", second)) == 0
    moved = load_checkpoint(second).state["layers.0.weight"] - kept.state["layers.0.weight"]
    assert 0 < float(moved.abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--keep", "9"), "epochs from 0 to 4"),
        (("--keep", "x"), "epochs from 0"),
        (("--keep", "9" * 5000), "epochs from 0 to 4"),
        (("--start", "fashion-cnn-s0"), "another structure"),
    ],
)
def test_what_cannot_be_kept_or_started_from_is_refused(tmp_path, capsys, given, said):
    out = tmp_path / "a.safetensors"
    assert main(words("train", *NET, "--config", "widths=8,", *given, "--out", out)) == 2
    assert said in capsys.readouterr().err and not out.exists()


def test_a_training_replaces_nothing_that_it_reads_and_no_device(tmp_path, capsys):
    net, pipe = tmp_path / "a-epoch-1.safetensors", tmp_path / "pipe"
    small = ["train", *NET, "--config", "widths=8,", "--set", "share=0.05", "--epochs", 2, "--quiet"]
    assert main(words(*small, "--out", net)) == 0
    before = net.read_bytes()
    for out in (net, tmp_path / "a.safetensors"):
        assert main(words(*small, "--start", net, "--keep", 1, "--out", out)) == 2
        assert "is an input, and" in capsys.readouterr().err
    (tmp_path / "b.resume").mkdir()
    for out, more, said in ((tmp_path / "b", ["--resume"], "folder"), (tmp_path / ("c" * 256), [], "too long")):
        assert main(words(*small, *more, "--out", out)) == 2
        assert said in capsys.readouterr().err
    for out, more in ((".", ["--resume"]), ("/", ["--keep", 0]), ("", ["--resume"])):
        assert main(words(*small, *more, "--out", out)) == 2
        assert "cannot be written: it is a folder" in capsys.readouterr().err
    (tmp_path / "lr0.resume").write_text("the state of another training")
    for name in ("d.safetensors", "lr0.01", "lr0.02"):
        assert main(words(*small, "--resume", "--keep", 0, "--out", tmp_path / name)) == 0
        (tmp_path / name).unlink()
    assert {one.name for one in tmp_path.glob("*epoch-0*")} == {
        *("d-epoch-0.safetensors", "lr0.01-epoch-0", "lr0.02-epoch-0")
    }
    for one in (*tmp_path.glob("*epoch-0*"), tmp_path / "lr0.resume"):
        one.unlink()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert main(words(*small, "--out", pipe)) == 0
    assert pipe.is_fifo() and load(os.read(reader, 10_000_000))
    os.close(reader)
    assert net.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-epoch-1.safetensors", "b.resume", "pipe"]


def test_a_method_that_is_named_twice_is_done_once():
    options = parser().parse_args(
        [
            "sweep",
            "--architecture",
            "mlp",
            "--config",
            "widths=8,",
            "--axis",
            "width=4,8",
            "--align",
            "none, weight-matching,none",
        ]
    )
    assert sweep_request(options).aligns == ("none", "weight-matching")
