"""The interface of progress callbacks for long computations. torch-free."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Callback to which a long computation reports its progress. It may raise Cancelled to stop the computation."""

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Report the progress.

        Args:
            stage: one or two lower-case words, such as "matching".
            fraction: completed share of this stage, 0 to 1; None if unknown.
            message: text for the user.
        """


def no_progress(stage: str, fraction: float | None = None, message: str = "") -> None:
    """Ignore the progress."""
