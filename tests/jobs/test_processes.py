"""The real `python -m merging.jobs`: whatever is killed, no process stays and no job is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from merging.jobs.ledger.connection import connect
from merging.jobs.ledger.ledger import Ledger
from tests.jobs.conftest import until
from tests.jobs.making import long_request, merge_request

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sessions and signals of POSIX")
ROOT = os.getcwd()


@pytest.fixture
def start(tmp_path):
    """Start the program on a ledger in `tmp_path`; what is left at the end is killed."""
    started = []

    def start(**kinds) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        command = [sys.executable, "-m", "merging.jobs", "--device", "cpu", "--threads", "1", "--jobs", "1"]
        command += ["--home", str(tmp_path), "--watch-stdin"]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=ROOT, start_new_session=True)
        started.append(program)
        return program

    yield start
    for program in started:
        if program.stdin is not None:
            program.stdin.close()
        program.kill()
        program.wait()


def sessions(of: psutil.Process) -> dict[int, list[psutil.Process]]:
    """Session -> its living processes, of the dispatchers that the program started."""
    leaders = [child.pid for child in of.children()]
    return {leader: members(leader) for leader in leaders}


def taken(ledger: Ledger, id: str) -> int:
    """How often a dispatcher took the job."""
    with connect(ledger.file) as db:
        return db.execute("SELECT run FROM jobs WHERE id = ?", (id,)).fetchone()[0]


def members(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_nothing_is_left_and_nothing_is_lost_when_processes_are_killed(start, tmp_path):
    ledger = Ledger(tmp_path)
    program = start()
    short, long = merge_request(dataset="", data_sha256=""), long_request()
    ledger.submit(short, "ann")
    ledger.submit(long, "ann")
    until(lambda: ledger.job(long.id).state == "running" and ledger.job(long.id).stage == "training", 120)
    assert ledger.job(short.id).state == "done"
    (dispatcher,) = psutil.Process(program.pid).children()
    assert len(members(dispatcher.pid)) > 5  # Ray's and the worker
    dispatcher.send_signal(signal.SIGKILL)
    until(lambda: not members(dispatcher.pid), 120)

    until(lambda: taken(ledger, long.id) == 2, 120)
    assert ledger.report(short.id) is not None
    assert ledger.job(long.id).attempts == 1  # it was not the job that ended the dispatcher
    (dispatcher,) = psutil.Process(program.pid).children()
    (vital,) = (process for process in members(dispatcher.pid) if process.name() == "gcs_server")
    vital.send_signal(signal.SIGKILL)
    until(lambda: taken(ledger, long.id) == 3, 30)  # Ray itself would wait for a minute
    (dispatcher,) = psutil.Process(program.pid).children()
    command = dispatcher.cmdline()
    scratch = Path(command[command.index("--scratch") + 1])
    assert scratch.is_dir()
    program.send_signal(signal.SIGKILL)
    until(lambda: not members(dispatcher.pid), 120)
    assert not scratch.exists()
    job = ledger.job(long.id)
    assert (job.state, job.attempts) == ("queued", 0)  # it had time to give the job back


@pytest.mark.parametrize("how", ["stdin ends", "SIGTERM", "SIGINT"])
def test_it_ends_when_asked_to(start, how):
    program = start()
    until(lambda: psutil.Process(program.pid).children(), 120)
    (dispatcher,) = psutil.Process(program.pid).children()
    if how == "stdin ends":
        program.stdin.close()
    else:
        program.send_signal(getattr(signal, how))
    assert program.wait(20) == 0
    until(lambda: not members(dispatcher.pid), 120)
