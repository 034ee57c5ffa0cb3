"""The process that forks reading processes: runs share nothing, are ended by the clock, and hold no other one up."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from merging.errors import MergescopeError
from merging.paths import ROOT
from merging.zoo import forking
from merging.zoo.disposable import run_disposable
from merging.zoo.forking import CAN_FORK, ForkServer

MODULE = """
import json, os, time
from pathlib import Path
seen = []
def main(folder):
    order = json.loads((folder / "order.json").read_text())
    seen.append(folder.name)
    (folder / "seen.json").write_text(json.dumps([seen, os.environ.get("ASKED"), os.getpid(), os.getppid()]))
    if order.get("raise"):
        raise SystemError
    if order.get("signal"):
        os.kill(os.getpid(), order["signal"])
    if order.get("kill_watcher"):
        os.kill(os.getppid(), 9)
    time.sleep(order.get("sleep", 0))
    return order.get("code", 0)
"""
pytestmark = pytest.mark.skipif(not CAN_FORK, reason="children are forked on Linux only")


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Run an order in a forked child; gives its exit code and what it saw."""
    (tmp_path / "forked_reader.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = ForkServer("forked_reader")

    def run(name, seconds=60.0, **order):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "order.json").write_text(json.dumps(order))
        code = server.run(folder, seconds)
        return code, json.loads((folder / "seen.json").read_text())

    run.server = server
    yield run
    server.close()


def test_runs_share_nothing_and_see_the_environment_of_the_moment(ask, monkeypatch):
    monkeypatch.setenv("ASKED", "first")
    assert ask("a")[1][:2] == [["a"], "first"]
    monkeypatch.setenv("ASKED", "second")
    assert ask("b")[1][:2] == [["b"], "second"]


@pytest.mark.parametrize(
    ("order", "code"),
    [({}, 0), ({"code": 3}, 3), ({"raise": True}, 1), ({"signal": signal.SIGKILL}, -9), ({"signal": 24}, -24)],
)
def test_the_exit_code_is_that_of_the_child(ask, order, code):
    assert ask("run", **order)[0] == code


def test_the_clock_ends_one_that_waits_for_ever_and_the_next_runs(ask):
    with pytest.raises(TimeoutError):
        ask("slow", seconds=1.0, sleep=60)
    assert ask("next")[0] == 0


def test_several_run_at_the_same_time(ask):
    ask("first")
    begin = time.monotonic()
    threads = [threading.Thread(target=ask, args=(f"{number}",), kwargs={"sleep": 1.0}) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begin < 4.0


def test_a_process_that_was_killed_or_that_was_idle_too_long_is_started_again(ask):
    ask("before")
    os.kill(ask.server._process.pid, signal.SIGKILL)  # not waited for: the next run may still find it
    assert ask("after")[0] == 0
    ask.server._process.terminate()
    ask.server._process.wait()
    assert ask("at last")[0] == 0


def test_a_module_that_cannot_be_imported_forks_no_child(tmp_path):
    server = ForkServer("merging.zoo.no_such_module")
    with pytest.raises(ProcessLookupError):
        server.run(tmp_path, 60.0)
    server.close()


def test_a_process_that_hangs_is_replaced(ask, monkeypatch):
    ask("before")
    monkeypatch.setattr(forking, "STARTING", 3.0)
    hanging = ask.server._process
    hanging.send_signal(signal.SIGSTOP)
    assert ask("after")[0] == 0
    assert hanging.wait(5) == -signal.SIGKILL


def test_without_a_process_that_forks_the_module_is_run_by_itself(tmp_path):
    (tmp_path / "order.json").write_text("{}")
    server = ForkServer("merging.zoo.no_such_module")
    dead = MergescopeError("dead")
    with pytest.raises(MergescopeError, match="dead"):  # by Python itself, which knows no such module either
        run_disposable("merging.zoo.no_such_module", tmp_path, 5, dead, dead, server=server)
    run_disposable("json.tool", tmp_path / "order.json", 5, dead, dead, server=server)


def test_a_child_whose_watcher_is_killed_ends(ask, tmp_path):
    assert ask("run", kill_watcher=True, sleep=60)[0] == 1
    child = json.loads((tmp_path / "run" / "seen.json").read_text())[2]
    end = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_files_of_the_current_folder_are_not_run(tmp_path):
    """A folder of downloads may hold a json.py beside the network that is read."""
    for name in ("json", "secrets", "torch", "numpy", "merging"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    program = f"""
import sys
sys.path[:] = [path for path in sys.path if path not in ("", {str(tmp_path)!r})] + [{str(ROOT)!r}]
from pathlib import Path
from merging.errors import MergescopeError
from merging.zoo.disposable import run_disposable
from merging.zoo.forking import ForkServer
none = MergescopeError("none")
for server in (ForkServer("tests.zoo.forms"), None):
    try:
        run_disposable("merging.zoo.no_such_module", Path("."), 5, none, none, server=server)
    except MergescopeError:
        print("read", flush=True)
"""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout == "read\nread\n", done.stderr
    assert not (tmp_path / "ran").exists()


def test_the_process_ends_with_the_program_that_started_it():
    program = (
        "from merging.zoo.forking import ForkServer; server = ForkServer('json'); server.prepare();"
        "print(server._process.pid, flush=True); import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{int(done.stdout)}"):
        assert time.monotonic() < end
        time.sleep(0.05)
