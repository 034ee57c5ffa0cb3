"""start.py, run as people run it: in a folder of its own, with a virtual environment that it makes itself."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from merging.paths import ROOT

# Says what it was started with, then waits for the end of its stdin as the app does that is told that it is held;
# start.py runs it as `python -m streamlit`.
STREAMLIT = """
import os, sys
print("started", *sys.argv[1:], flush=True)
assert os.environ["MERGESCOPE_HELD"]
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C reaches the programs that the tests start, even where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def start():
    spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with start.py and requirements that need no network."""
    made = tmp_path_factory.mktemp("clone")
    shutil.copy(ROOT / "start.py", made)
    (made / "requirements.txt").write_text("# nothing\n")
    (made / "streamlit.py").write_text(STREAMLIT)
    return made


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "start.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_it_installs_once_and_again_when_the_requirements_change(folder):
    first = run(folder, "setup")
    assert (first.returncode, first.stderr) == (0, "")
    assert "virtual environment" in first.stdout
    assert "Installing requirements.txt" in first.stdout
    second = run(folder, "setup")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    (folder / "requirements.txt").write_text("# nothing either\n")
    assert "Installing" in run(folder, "setup").stdout


def test_what_pip_cannot_install_is_one_error_that_says_what_to_do(folder):
    before = (folder / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text("./no-such-package.whl\n")
    failed = run(folder, "setup")
    (folder / "requirements.txt").write_text(before)
    assert failed.returncode == 1
    assert "error: pip could not install the packages" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr


def test_a_broken_environment_is_made_anew(folder):
    run(folder, "setup")
    (pip,) = folder.glob(".venv/[Ll]ib/**/site-packages/pip")
    shutil.rmtree(pip)  # as after an interrupt between Python and pip
    (folder / ".venv" / ".installed-requirements.txt").unlink()
    mended = run(folder, "setup")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert "Making a virtual environment" in mended.stdout
    assert pip.is_dir()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single child")
@pytest.mark.parametrize("how", ["fails", "is interrupted"])
def test_an_environment_that_is_not_finished_is_not_left(how, tmp_path):
    shutil.copy(ROOT / "start.py", tmp_path)
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    wait = "time.sleep(60)" if how == "is interrupted" else "sys.exit(1)"
    # In the place of Python's own venv, for it is found first: half of an environment, and then no more.
    half = "import pathlib, sys, time\npython = pathlib.Path(sys.argv[-1]) / 'bin' / 'python'\n"
    half += "python.parent.mkdir(parents=True)\npython.symlink_to(sys.executable)\nprint('half', flush=True)\n"
    (tmp_path / "venv.py").write_text(half + wait)
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "start.py", "setup"], cwd=tmp_path, **pipe) as process:
        while "half" not in process.stdout.readline():
            assert process.poll() is None
        if how == "is interrupted":
            os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == (130 if how == "is interrupted" else 1)
    assert ("could not make a virtual environment" in rest) == (how == "fails")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("address", ["", "192.0.2.7"])
def test_only_an_address_that_others_can_reach_is_given_to_them(start, monkeypatch, capsys, address):
    monkeypatch.setattr(start, "own_address", lambda: address)
    monkeypatch.setattr(start, "run", lambda command, held: 0)
    monkeypatch.setenv("MERGESCOPE_ADDRESS", "")
    start.serve(8950, share=True)
    said = capsys.readouterr().out
    assert os.environ["MERGESCOPE_ADDRESS"].startswith("http://192.0.2.7:89") == bool(address)
    assert ("For everybody on this local network: http://192.0.2.7:89" in said) == bool(address)
    assert ("This machine has no network address" in said) != bool(address)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single child")
@pytest.mark.parametrize("share", [False, True])
def test_it_prints_the_address_and_ends_cleanly_on_ctrl_c(folder, share):
    run(folder, "setup")
    command = [sys.executable, "start.py", "--port", "8930", *(["--share"] if share else [])]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=folder, **pipe) as process:
        lines = []
        while "started" not in "".join(lines):
            lines.append(process.stdout.readline())
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
        rest, complaints = process.communicate(timeout=20)
    said = "".join(lines)
    assert "http://localhost:893" in said
    assert ("Everybody who can reach this machine" in said) == share
    assert f"--server.address {'0.0.0.0' if share else '127.0.0.1'}" in said
    assert ("--server.allowedHosts localhost" in said) != share
    assert "has stopped" in rest
    assert process.returncode == 0
    assert "start.py" not in complaints, "start.py itself left a traceback"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for a single child")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_whoever_ends_it_ends_the_app(folder, how):
    run(folder, "setup")
    command = [sys.executable, "start.py", "--port", "8950"]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=folder, **pipe) as process:
        lines = []
        while "started" not in "".join(lines):
            lines.append(process.stdout.readline())
        process.send_signal(getattr(signal, how))  # to this one process, as a service manager does
        process.communicate(timeout=20)  # ends only when the app has closed its end too
    assert (process.returncode == 0) == (how == "SIGINT")  # which is how a person stops it


def test_an_old_python_is_named(start):
    with pytest.raises(start.StartError, match=r"Python 3\.11 or newer is needed, but this is Python 3\.8"):
        start.check_python((3, 8))
    start.check_python(sys.version_info[:2])


def test_a_taken_port_gives_the_next_free_one(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < start.free_port("127.0.0.1", port) < port + 20


def test_the_developers_requirements_follow_the_users(start):
    assert start.fingerprint("requirements.txt") != start.fingerprint("requirements-dev.txt")
    pinned = (ROOT / "requirements.txt").read_text() + (ROOT / "requirements-dev.txt").read_text()
    assert all("==" in line for line in pinned.splitlines() if line and not line.startswith("-r"))


def test_only_the_standard_library_is_imported():
    import ast

    tree = ast.parse((ROOT / "start.py").read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names
