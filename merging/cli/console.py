"""Output of the commands: text, tables and JSON to stdout; progress and errors to stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_gathered: ContextVar[io.StringIO | None] = ContextVar("gathered", default=None)


@contextmanager
def results_apart() -> Iterator[io.StringIO]:
    """Collect the results; they are written once the progress bars have stopped drawing on the same terminal.

    All other text that is printed meanwhile, for example by a user's own network, goes to stderr, because stdout is
    reserved for results.
    """
    buffer = io.StringIO()
    token = _gathered.set(buffer)
    try:
        with redirect_stdout(sys.stderr):
            yield buffer
    finally:
        _gathered.reset(token)


class Unread(Exception):
    """The results could not be written. reason: the system's message; "" if the reader, such as `head`, ended."""

    def __init__(self, error: OSError) -> None:
        self.reason = "" if isinstance(error, BrokenPipeError) else error.strerror or str(error)
        super().__init__(self.reason)


def hand_over(text: str) -> None:
    """Write text to stdout and flush it: a full disk or a closed pipe raises Unread here, not OSError at exit."""
    if sys.stdout is None:  # the calling program closed stdout
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports the error again at exit
        raise Unread(error) from error


def say(text: str = "") -> None:
    """Add a line of text to the results."""
    (_gathered.get() or sys.stdout).write(f"{text}\n")


def say_note(text: str) -> None:
    """Write one line that begins with "note:" to stderr."""
    _tell(f"note: {text}")


def say_error(text: str) -> None:
    """Write one line that begins with "error:" to stderr, with further lines of the text, such as a list, below it."""
    first, *listed = text.split("\n")
    _tell("\n".join([f"error: {' '.join(first.split())}", *(f"  {' '.join(line.split())}" for line in listed)]))


def _tell(line: str) -> None:
    with suppress(OSError):  # if stderr is closed, only the exit code can report an error
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def say_json(value: Any) -> None:
    """Add a value as JSON to the results."""
    say(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def say_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Add a table to the results. Each column is as wide as its widest cell; the last column is not padded."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class Bars:
    """Progress callback that draws one bar per stage on stderr, if stderr is a terminal."""

    def __init__(self, *, shown: bool) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._progress = Progress(*columns, console=console, disable=not (shown and console.is_terminal))
        self._stages: dict[str, TaskID] = {}
        self._last = ""

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(self._last)
        self._progress.stop()

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Show the progress of a stage. fraction: 0..1; None if unknown."""
        if stage != self._last:
            self._finish(self._last)
            self._last = stage
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=None if fraction is None else 1.0, said="")
        total = None if fraction is None else 1.0
        self._progress.update(self._stages[stage], total=total, completed=fraction or 0.0, said=message)

    def _finish(self, stage: str) -> None:
        if stage in self._stages:
            self._progress.update(self._stages[stage], total=1.0, completed=1.0, said="")
