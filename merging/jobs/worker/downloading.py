"""Download of a data set in a separate process on the dispatcher's machine. It can be stopped at any time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import IO, Any

from merging.jobs.outcome import Outcome
from merging.paths import child_environment

LAST = 300  # largest number of characters of a failed download's message


@dataclass(frozen=True)
class Download:
    """A running download."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, dataset: str) -> Download:
        """Start the download."""
        command = [sys.executable, "-P", "-m", "merging.jobs.worker.download", dataset]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return cls(subprocess.Popen(command, env=child_environment(), **pipes))

    def outcome(self) -> Outcome | None:
        """Outcome of the download, None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        message = _read(self.process.stderr)
        if code == 0:
            return Outcome()
        lines = message.split("\n") if message.startswith("Traceback") else []
        words = " ".join((lines[-2] if len(lines) > 1 else message).split())
        text = words[:LAST] or f"The download ended with exit code {code}. Try again."
        return Outcome(error={"kind": "DataUnavailable", "text": text, "details": message})

    def stop(self) -> None:
        """Stop the download at once."""
        self.process.kill()
        self.process.wait()
        _read(self.process.stderr)


def _read(stream: IO[str] | None) -> str:
    if stream is None:
        return ""
    with stream:
        return stream.read()
