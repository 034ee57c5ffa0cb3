"""Fetching a data set in a process of its own, on the machine that keeps the images: it can be stopped at any time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import IO

from merging.jobs.outcome import Outcome

LAST = 300  # characters of what a failed download said


@dataclass(frozen=True)
class Download:
    """A download on its way."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, dataset: str) -> Download:
        """Begin to fetch the data set."""
        command = [sys.executable, "-m", "merging.jobs.worker.download", dataset]
        return cls(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))

    def outcome(self) -> Outcome | None:
        """What came of it, None while it goes on."""
        code = self.process.poll()
        if code is None:
            return None
        said = _read(self.process.stderr)
        if code == 0:
            return Outcome()
        lines = said.split("\n") if said.startswith("Traceback") else []
        words = " ".join((lines[-2] if len(lines) > 1 else said).split())
        text = words[:LAST] or f"The download ended with code {code}. Try again."
        return Outcome(error={"kind": "DataUnavailable", "text": text, "details": said})

    def kill(self) -> None:
        """Stop it at once."""
        self.process.kill()
        self.process.wait()
        _read(self.process.stderr)


def _read(stream: IO[str] | None) -> str:
    if stream is None:
        return ""
    with stream:
        return stream.read()
