"""`merge --streamed` on the command line: the ordinary run's files and id, and when it is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merging.cli import merge_streamed
from merging.cli.main import main
from tests.pipeline.pairs import pair, saved

MADE = ("merge.safetensors", "aligned.safetensors", "naive.safetensors", "permutation.npz")
HOW = ("--device", "cpu", "--set", "align.restarts=2", "--seed", "4")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_a_streamed_run_writes_the_ordinary_run_s_files_under_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = pair(tmp_path, "cnn")
    code, plain, err = run(capsys, "merge", a, b, *HOW, "--out", tmp_path / "plain", "--json")
    assert (code, err) == (0, "")
    code, streamed, err = run(capsys, "merge", a, b, *HOW, "--streamed", "--out", tmp_path / "streamed", "--json")
    assert code == 0
    assert "tensor by tensor" in err
    assert "GB or more" in err
    for name in MADE:
        assert (tmp_path / "streamed" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
    mine, theirs = json.loads(streamed), json.loads(plain)
    assert all(mine[key] == theirs[key] for key in ("run", "equivalence", "groups", "scores"))
    reports = [json.loads((tmp_path / kind / "report.json").read_text()) for kind in ("streamed", "plain")]
    assert all(reports[0][key] == reports[1][key] for key in ("request", "layers", "notes", "units", "permutation"))
    assert "tensor by tensor" in reports[0]["missing"]


def test_the_figures_are_printed_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pair(tmp_path, "mlp")
    code, out, _ = run(capsys, "merge", a, b, *HOW, "--streamed", "--out", tmp_path / "out")
    assert code == 0
    assert "units moved" in out
    assert f"written to {tmp_path / 'out'}" in out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--align", "none"), "Weight matching and Average"),
        (("--combine", "slerp"), "Weight matching and Average"),
        (("--correct", "repair", "--data", "fashion-mnist"), "without a correction"),
        (("--architecture", "package.module:factory"), "known architecture"),
    ],
)
def test_what_cannot_be_streamed_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], told: str
) -> None:
    a, b = pair(tmp_path, "mlp")
    code, _, err = run(capsys, "merge", a, b, "--streamed", *more, "--out", tmp_path / "out")
    assert code == 2
    assert told in err
    assert "Leave --streamed out" in err
    assert not (tmp_path / "out").exists()


def test_three_networks_and_pickles_cannot_be_streamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    a, b = pair(tmp_path, "mlp")
    code, _, err = run(capsys, "merge", a, b, saved(tmp_path, "mlp", 2), "--streamed", "--align", "weight-matching")
    assert (code, "two networks" in err) == (2, True)
    torch.save({"w": torch.zeros(2, 2)}, tmp_path / "c.pt")
    code, _, err = run(capsys, "merge", a, tmp_path / "c.pt", "--streamed")
    assert (code, "another kind" in err) == (2, True)


def test_networks_of_two_kinds_are_refused_in_the_words_of_an_ordinary_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = saved(tmp_path, "mlp", 0), saved(tmp_path, "cnn", 1)
    plain = run(capsys, "merge", a, b, "--out", tmp_path / "out")
    streamed = run(capsys, "merge", a, b, "--streamed", "--out", tmp_path / "out")
    assert plain == streamed
    assert (plain[0], "networks of the same structure" in plain[2]) == (2, True)


def test_large_files_are_streamed_unless_images_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair(tmp_path, "mlp")
    size = (a.stat().st_size + b.stat().st_size) / 1e6
    monkeypatch.setenv("MERGESCOPE_STREAMED_MB", str(size))
    assert "tensor by tensor" in run(capsys, "merge", a, b, *HOW, "--out", tmp_path / "o")[2]
    assert "tensor by tensor" not in run(capsys, "merge", a, b, *HOW, "--no-streamed", "--out", tmp_path / "o")[2]
    monkeypatch.setenv("MERGESCOPE_STREAMED_MB", str(size + 1e-6))
    assert "tensor by tensor" not in run(capsys, "merge", a, b, *HOW, "--out", tmp_path / "o")[2]


@pytest.mark.parametrize("room", [True, False])
def test_large_files_with_images_are_measured_where_memory_allows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    monkeypatch.setenv("MERGESCOPE_STREAMED_MB", "0")
    monkeypatch.setattr(merge_streamed, "_free_memory", lambda: 10**12 if room else 0)
    names = ("fashion-mlp-128-s0", "fashion-mlp-128-s1")
    few = ("--data", "fashion-mnist", "--images", "100", "--points", "3")
    code, out, err = run(capsys, "merge", *names, *few, *HOW, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert ("Without --data the merge is streamed" in err) == room
    assert bool(json.loads(out)["scores"]) == room
