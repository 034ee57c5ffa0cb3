"""The command line when it is asked wrongly, fails or is stopped: one line on stderr and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from merging.cli import main

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
        (("merge", A, "fashion-cnn-s0"), "only networks of one structure can be merged"),
        (("merge", A, B, "--align", "magic"), "no align method 'magic'. Known: none"),
        (("merge", A, B, "--set", "align.restrts=3"), "no setting 'restrts'"),
        (("merge", A, B, "--set", "align.restarts=many"), "restarts must be a whole number"),
        (("merge", A, B, "--set", "restarts=3"), "ROLE.NAME=VALUE"),
        (("merge", A, B, "--set", "align.restarts"), "NAME=VALUE"),
        (("merge", A, B, "--images", "5"), "images must be a whole number from 100"),
        (("merge", A, B, "--points", "1000"), "points must be a whole number from 3 to 101"),
        (("merge", A, B, "--points", "10"), "points must be odd"),
        (("merge", A, B, "--seed", "-1"), "seed must be"),
        (("train", "fashion-cnn-s0", "--epochs", "1"), "--epochs belong to --architecture"),
        (("curve", A, "fashion-mlp-512-s0", "--images", "200"), "128"),
        (("curve", A, B, "--images", "200", "--points", "3", "--out", "curve.xls"), ".csv, .json or .html"),
        (("similarity", A, B, "--layers", "layers.99", "--images", "200"), "layers.99"),
        (("neurons", A, "--layer", "layers.99"), "layers.99"),
        (("neurons", A, "--layer", "layers.0", "--units", "500", "--steps", "16"), "0 to 127"),
        (("train", "no-such-net"), "no shipped checkpoint is called 'no-such-net'"),
        (("train", "--architecture", "mlp", "--config", "depth=3"), "mlp"),
        (("examples", "--out", str(Path(__file__).parent)), "which is no run and would be lost"),
        (("inspect", str(Path(__file__))), "no checkpoint that is known here"),
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


@pytest.mark.parametrize("arguments", [[], ["dance"], ["merge", A], ["merge", A, B, "--points", "x"], ["neurons", A]])
def test_a_wrong_command_line_is_one_line_too(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "--help" in err


def test_failures_end_with_1_and_no_traceback(capsys, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("an error of the program's own")

    monkeypatch.setattr("merging.cli.methods.run", broken)
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


def test_fewer_threads_than_none_are_refused(capsys):
    code, _, err = run(capsys, "curve", A, B, "--images", "200", "--threads", "-4")
    assert (code, "--threads takes" in err) == (2, True)


def test_units_that_are_no_range_and_images_that_do_not_fit_are_said(capsys):
    with pytest.raises(SystemExit, match="2"):
        run(capsys, "neurons", A, "--layer", "layers.0", "--units", "5-2")
    assert "names no unit" in capsys.readouterr().err
    code, _, err = run(capsys, "similarity", "fashion-small-s0", "cifar-cnn-s0", "--images", "200")
    assert (code, "take images of" in err) == (2, True)


def test_an_interrupted_command_ends_with_130(capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("merging.cli.zoo.shipped", interrupted)
    code, _, err = run(capsys, "zoo")
    assert (code, err) == (130, "error: interrupted\n")


def test_it_runs_as_a_module_and_a_closed_pipe_is_no_error(tmp_path):
    root = Path(__file__).resolve().parents[1]
    command = f'"{sys.executable}" -m merging zoo --json | head -c 10'
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:1], done.stderr) == (0, "[", "")
