"""How long work tells where it is. torch-free."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback of long work. It may raise Cancelled, which ends the work."""

    def __call__(self, stage: str, fraction: float | None = None, message: str = "") -> None:
        """Tell the progress.

        Args:
            stage: one lower-case word or two, such as "matching".
            fraction: share of that stage that is done, 0 to 1; None where it is not known.
            message: words for a person.
        """


def no_progress(stage: str, fraction: float | None = None, message: str = "") -> None:
    """Ignore the progress."""
