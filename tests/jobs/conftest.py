"""One local Ray for all tests of the worker, and dispatchers that run in a thread of the tests' process."""

from __future__ import annotations

import shutil
import threading
import time

import psutil
import pytest

from merging.jobs.ledger.ledger import Ledger
from merging.jobs.worker.dispatcher import Dispatcher
from merging.jobs.worker.engine import Engine, Plan
from merging.jobs.worker.supervisor import scratch_folder


@pytest.fixture(scope="session")
def engine():
    """Ray with one slot for long jobs, of one thread, and the seat for short ones, on the CPU."""
    scratch = scratch_folder()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", ".")
        engine = Engine(Plan("cpu", 1, 1), scratch)
        yield engine
        engine.stop()
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture
def dispatch(engine):
    """Call it with a ledger: a dispatcher works on it until the test ends."""
    started = []

    def start(ledger: Ledger) -> Dispatcher:
        stop = threading.Event()
        dispatcher = Dispatcher(ledger, engine, stop)
        thread = threading.Thread(target=dispatcher.run)
        thread.start()
        started.append((stop, thread))
        return dispatcher

    yield start
    for stop, _ in started:
        stop.set()
    for _, thread in started:
        thread.join(120)
        assert not thread.is_alive()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "home")


def until(true, seconds: float = 120.0):
    """Wait until `true()` is; gives its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"not so after {seconds} seconds: {true}")


def processes(name: str) -> list[psutil.Process]:
    """The living processes below this one whose title begins so: another Ray on the machine is none of ours."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title, status = " ".join(process.cmdline()), process.status()
        except psutil.NoSuchProcess:
            continue
        if title.startswith(name) and status != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
