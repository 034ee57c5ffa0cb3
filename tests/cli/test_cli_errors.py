"""The command line when it is asked wrongly, fails or is stopped: one line on stderr and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from merging.cli.main import main
from merging.paths import ROOT

A, B = "fashion-mlp-128-s0", "fashion-mlp-128-s1"
FEW = ("--images", "200", "--points", "3", "--device", "cpu")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("merge", A, "nothing.pt"), "no file and no shipped checkpoint 'nothing.pt'. Shipped: fashion-mlp"),
        (("merge", A, "fashion-cnn-s0"), "Choose networks of the same structure"),
        (("merge", A, B, "--align", "magic"), "no align method 'magic'. Known: none"),
        (("merge", A, B, "--set", "align.restrts=3"), "no setting 'restrts'"),
        (("merge", A, B, "--set", "align.restarts=many"), "restarts must be a whole number"),
        (("merge", A, B, "--set", "restarts=3"), "ROLE.NAME=VALUE"),
        (("merge", A, B, "--set", "align.restarts"), "NAME=VALUE"),
        (("merge", "fashion-mpl-128-s0", B), "Did you mean fashion-mlp-128-s0?"),
        (
            ("merge", A, str(Path(__file__).parent)),
            "must hold one safetensors file, or several with their model.safetensors.index.json",
        ),
        (("merge", A, B, "--mean", ".5"), "--mean is for files"),
        (("inspect", A, "--std", ".5"), "--std is for files"),
        (("neurons", A, "--layer", "0", "--units", "0", "--mean", ".5"), "--mean is for files"),
        (("inspect", "x" * 5000), "no file and no shipped checkpoint"),
        (("inspect", A, "--data", "a" * 300), "No data set, folder or file is called"),
        (("inspect", A, "--input", "1,28,²"), "--input takes whole numbers"),
        (("inspect", A, "--input", "99999,99999,99999"), "10,000,000 values at most"),
        (("merge", A, B, "--combine", "ties"), "name the base with --base"),
        (("study", "why", A, B, "--combine", "ties"), "name the base with --base"),
        (("study", "landscape", A, B, "--other", A), "is one of the merged networks"),
        (("compare", A, B, "--combine", "average,ties"), "name the base with --base"),
        (("compare", A, B, "--align", ""), "--align takes methods separated by commas"),
        (("similarity", A, B, "--layers", "", "--images", "200"), "Layers of A: layers.0, layers.1"),
        (("train", "fashion-cnn-s0", "--epochs", "1"), "--epochs can be given only with --architecture"),
        (("curve", A, "fashion-mlp-512-s0", "--images", "200"), "128"),
        (
            ("curve", A, B, "--images", "200", "--points", "3", "--out", "curve.xls"),
            ".csv, .json, .html, .svg, .pdf or .png",
        ),
        (("similarity", A, B, "--layers", "layers.99", "--images", "200"), "layers.99"),
        (("neurons", A, "--layer", "layers.99"), "layers.99"),
        (("neurons", A, "--layer", "layers.0", "--units", "500", "--steps", "16"), "0 to 127"),
        (("train", "no-such-net"), "no shipped checkpoint is called 'no-such-net'"),
        (("train", "--architecture", "mlp", "--config", "depth=3"), "mlp"),
        (("train", "--architecture", "mlp", "--config", "widths=99999999"), "numbers from 0 to 8192"),
        (("train", "--architecture", "mlp", "--config", "widths=8,", "--out", "."), "it is a folder"),
        (("train", "--architecture", "mlp", "--config", "widths=8,", "--out", f"{__file__}/x"), "a file is in its way"),
        (("examples", "--out", __file__), "a file is in its way"),
        *(  # said before the networks are looked for, let alone worked on
            ((*command, "--out", f"{__file__}/x.csv"), "a file is in its way")
            for command in (
                ("merge", "none", "none"),
                ("curve", "none", "none"),
                ("similarity", "none", "none"),
                ("study", "why", "none", "none"),
                ("neurons", "none", "--layer", "none"),
                ("compare", "none", "none"),
                ("zip", "none", "none", "--until", "none"),
            )
        ),
        (("examples", "--out", str(Path(__file__).parent)), "which is not a run and would be lost"),
        (("inspect", str(Path(__file__))), "not a known kind of checkpoint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_wish_is_one_line_that_says_what_to_do_and_exit_code_2(capsys, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["dance"], "'dance'"),
        (["merge"], "required: A, B."),
        (["merge", A], "required: B."),
        (["neurons", A], "required: --layer."),
        (["merge", A, B, "--images", "0"], "--images: takes a whole number from 100 to 60000; got '0'"),
        (["merge", A, B, "--points", "x"], "--points: takes an odd number from 3 to 101; got 'x'"),
        (["curve", A, B, "--points", "10"], "--points: takes an odd number from 3 to 501; got '10'"),
        (["compare", A, B, "--seeds", "0"], "--seeds: takes a whole number from 1 to 100; got '0'"),
        (["zip", A, B, "--until", "layers.0", "--seed", "-1"], "--seed: takes a whole number from 0 to 2147483647"),
        (["curve", A, B, "--threads", "99999999"], "--threads: takes a whole number from 0 to 1024"),
        (["train", "--architecture", "mlp", "--epochs", "0"], "--epochs: takes a whole number from 1 to"),
        (["merge", A, B, "--mean", "a"], "--mean: takes one number per channel, separated by commas, such as 0.5"),
        (["neurons", A, "--layer", "layers.0", "--steps", "0"], "--steps: takes a whole number from 1 to 4096"),
        (["neurons", A, "--layer", "layers.0", "--units", "²"], "--units: takes numbers and ranges such as 0,1,5-8"),
        (["neurons", A, "--layer", "layers.0", "--units", "1,5-2"], "such as 0,1,5-8; got '1,5-2'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_one_line_too(capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "--help" in err
    assert words in err


def test_failures_end_with_1_and_no_traceback(capsys, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("an error of the program's own")

    monkeypatch.setattr("merging.cli.commands.stock.methods.run", broken)
    code, _, err = run(capsys, "methods")
    assert code == 1
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert "--debug" in err
    code, _, err = run(capsys, "methods", "--debug")
    assert (code, "Traceback" in err) == (1, True)


def test_what_cannot_be_written_is_said(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(capsys, "merge", A, B, *FEW, "--out", tmp_path / "file")
    assert (code, "cannot be written" in err, "Traceback" in err) == (2, True, False)


def test_a_curve_is_not_measured_as_another_combination_than_asked_for(capsys):
    code, out, err = run(capsys, "curve", A, B, "--recipe", "ties")
    assert (code, out, "use `merge`" in err) == (2, "", True)


def test_images_that_do_not_fit_are_said(capsys):
    code, _, err = run(capsys, "similarity", "fashion-small-s0", "cifar-cnn-s0", "--images", "200")
    assert (code, "need images of size" in err) == (2, True)


def test_an_interrupted_command_ends_with_130(capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("merging.cli.commands.stock.zoo.shipped", interrupted)
    code, _, err = run(capsys, "zoo")
    assert (code, err) == (130, "error: interrupted\n")


def test_it_runs_as_a_module_and_a_closed_pipe_is_no_error(tmp_path):
    command = f'"{sys.executable}" -m merging zoo --json | head -c 10'
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:1], done.stderr) == (0, "[", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("command", ["zoo", "zoo --json", "zoo --help", "--version"])
def test_a_full_disk_is_one_sentence_and_exit_code_1(command):
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "merging", *command.split()]
        done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: The results cannot be written to standard output: No space left on device.")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("nowhere", ["2>/dev/full", "2>&-", "--debug 2>/dev/full"])
def test_an_error_that_nobody_can_read_keeps_its_exit_code(nowhere):
    command = f'"{sys.executable}" -m merging inspect no-such-net {nowhere}'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


def test_a_closed_output_is_no_error():
    done = subprocess.run(["bash", "-c", f'"{sys.executable}" -m merging zoo >&-'], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_results_go_to_stdout_also_where_a_terminal_shows_bars():
    ours, theirs = pytest.importorskip("pty").openpty()
    with os.fdopen(theirs, "w") as terminal:
        words = [sys.executable, "-m", "merging", "inspect", A, "--json"]
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal)
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert json.loads(done.stdout)["architecture"] == "mlp"
    assert "verifying" in shown
    assert "fashion-mnist" not in shown


def test_an_output_never_replaces_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    from merging.zoo.catalogue import find_entry, shipped_file

    files = [tmp_path / name for name in ("merge.safetensors", "aligned.safetensors")]
    contents = [shipped_file(find_entry(name).sha256).read_bytes() for name in (A, B)]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for out in (tmp_path, tmp_path / "link"):
        for more in ((), ("--streamed",)):
            code, _, err = run(capsys, "merge", *files, "--out", out, *more, *FEW[:4])
            assert code == 2 and "is an input" in err
    shutil.copytree(tmp_path, folder := tmp_path.with_name("folder"), symlinks=True)
    (folder / "aligned.safetensors").unlink()
    for command, out in (("merge", folder), ("compare", folder / "merge.safetensors")):
        code, _, err = run(capsys, command, folder, files[1], "--out", out, *FEW[:4])
        assert code == 2 and "is an input" in err
    (tmp_path / "nets.py").write_text("def make(): ...")
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "zip", *files, "--architecture", "nets:make", "--until", "1", "--out", "nets.py")
    assert code == 2 and "is an input" in err
    code, _, err = run(capsys, "zip", *files, "--until", "layers.0", "--out", files[0], "--images", "200")
    assert code == 2 and "is an input" in err
    assert [file.read_bytes() for file in files] == contents


def test_a_command_can_be_run_twice_with_one_output(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(capsys, "curve", A, B, *FEW, "--out", "curve.csv")[0] == 0
        merged = run(capsys, "merge", A, B, *FEW, "--align", "weight-matching", "--out", "weight-matching")
        assert merged[0] == 0


@pytest.mark.parametrize("way", ["a link to nothing", "a folder's file that is a folder", "a pipe"])
def test_an_impossible_output_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str], way):
    out = tmp_path / "out"
    if way == "a link to nothing":
        out.symlink_to(tmp_path / "nowhere" / "x")
    else:
        out.mkdir()
        (out / "report.json").mkdir() if "folder" in way else os.mkfifo(out / "report.json")
    code, said, err = run(capsys, "merge", A, B, *FEW, "--out", out)
    assert (code, said) == (2, "")
    assert "cannot be written" in err
    assert "aligning" not in err


def test_a_table_is_written_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = run(capsys, "compare", A, B, *FEW, "--out", tmp_path / "table.json")
    assert code == 2 and "the table is written as .csv" in err


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from merging.cli.files import write
    from merging.errors import InvalidRequest

    file = write(tmp_path / "report.json", b"old")

    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InvalidRequest, match="No space left"):
        write(file, b"new")
    monkeypatch.undo()
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]
