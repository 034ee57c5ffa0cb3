"""A process that has imported a slow module, such as one that needs torch, and forks a child for every run of it.

Both sides are in this file: `ForkServer` in the program, `serve` in the process that it starts. A child is a copy of a
process that has read no untrusted data, and runs share nothing. Linux only; torch-free by itself.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import NoReturn, TextIO

from merging.paths import child_environment

CAN_FORK = sys.platform == "linux"
IDLE = 600.0  # seconds without a run after which the process ends and frees its memory (220 MB with torch)
TRIES = 2  # the process may end, after IDLE seconds, in the moment in which it is asked
STARTING = 120.0  # seconds in which the process must fork a child, having imported the module


class ForkServer:
    """Runs `main(folder)` of one module in children of a process that has imported the module."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def prepare(self) -> None:
        """Start the process, if it does not run; it imports the module meanwhile."""
        with self._lock:
            self._start()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self._control = self._process = None

    def run(self, folder: Path, seconds: float) -> int:
        """Run `main(folder)` with the current environment; return the exit code, or minus the signal that ended it.

        Raises TimeoutError, after the child was killed, if it took more than `seconds`, and ProcessLookupError if the
        process forks no child.
        """
        for _ in range(TRIES):
            answers, asked = self._ask(folder)
            with closing(answers), answers.makefile() as lines:
                try:
                    child = _line(lines)
                except TimeoutError:  # it hangs
                    child = ""
                if not child:
                    self._leave(asked)
                    continue
                answers.settimeout(seconds)  # from now on, as the import does not count
                code = ""
                try:
                    code = _line(lines)
                    return int(code or 1)
                finally:
                    if not code:  # it took too long, or is not watched any more
                        with suppress(ProcessLookupError):
                            os.kill(int(child), signal.SIGKILL)
        raise ProcessLookupError(f"The process that runs {self.module} forks no child.")

    def _ask(self, folder: Path) -> tuple[socket.socket, socket.socket]:
        """Ask for a child; return the socket on which its process id and then its exit code arrive, each in a line.

        The other socket is the one on which it was asked for.
        """
        answers, theirs = socket.socketpair()
        with self._lock, theirs:
            control = self._start()
            with suppress(OSError):  # the process has just ended: no line arrives
                socket.send_fds(control, [b"run"], [theirs.fileno()])
        answers.settimeout(STARTING)  # a process that hangs reads nothing either
        with suppress(OSError):
            answers.sendall((json.dumps({"folder": str(folder), "environment": dict(os.environ)}) + "\n").encode())
        return answers, control

    def _leave(self, control: socket.socket) -> None:
        """End the process at this socket, which has ended, is about to, or hangs."""
        with self._lock:
            if self._control is control:
                control.close()
                self._control = None
                if self._process is not None:
                    self._process.kill()
                    self._process.wait()

    def _start(self) -> socket.socket:
        """Start the process, if it does not run; return the socket on which it is asked."""
        if self._control is not None:
            if self._process is not None and self._process.poll() is None:
                return self._control
            self._control.close()
        if self._process is not None:  # no zombie stays
            self._process.kill()
            self._process.wait()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "merging.zoo.forking", self.module, str(theirs.fileno())],
                env=child_environment(OMP_NUM_THREADS="1"),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        return self._control


def _line(lines: TextIO) -> str:
    """The next line; "" if the other side has ended."""
    with suppress(ConnectionError):
        return lines.readline()
    return ""


def serve(module: str, control: socket.socket) -> None:
    """Fork a child for every message, until the other side has gone or was silent for IDLE seconds."""
    importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no parent waits for the watchers
    control.settimeout(IDLE)
    while True:
        try:
            message, handles, _, _ = socket.recv_fds(control, 16, 1)
        except TimeoutError:
            return
        if not message:
            return
        if os.fork() == 0:
            try:
                control.close()
                _watch(module, socket.socket(fileno=handles[0]))
            finally:
                os._exit(1)
        os.close(handles[0])


def _watch(module: str, answers: socket.socket) -> NoReturn:
    """Fork the child that runs the module, and tell its process id and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order = json.loads(answers.makefile().readline())
    child = os.fork()
    if child == 0:
        code = 1  # of an error
        try:
            answers.close()
            os.environ.clear()
            os.environ.update(order["environment"])
            code = sys.modules[module].main(Path(order["folder"]))
        finally:
            os._exit(code)
    answers.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    answers.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
