"""The border of a job: whatever happens inside, an outcome comes out. The program's one broad `except` is here."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from merging.errors import MergescopeError
from merging.jobs.ledger.store import Content
from merging.progress import Progress

REASONS = {  # of the system's errors, those that a person can do something about
    errno.ENOSPC: "The disk is full: free some space, then run it again",
    errno.EDQUOT: "The disk quota is used up: free some space, then run it again",
    errno.EROFS: "The disk cannot be written to: it is mounted read-only",
    errno.EACCES: "The program may not write or read one of its own files: let the user who runs it write there",
    errno.EPERM: "The program may not write or read one of its own files: let the user who runs it write there",
    errno.EIO: "The disk has failed to read or write: look at the system's log, then run it again",
    errno.EMFILE: "Too many files are open: close other programs, or raise the limit (ulimit -n)",
    errno.ENFILE: "Too many files are open: close other programs, or raise the limit (ulimit -n)",
    errno.ENOMEM: "The machine has no memory left: close other programs, or ask for less",
}


@dataclass(frozen=True)
class Outcome:
    """artifacts: name -> content, where it went well.  error: {"kind", "text"} and perhaps "details", if not."""

    artifacts: Mapping[str, Content] = field(default_factory=dict)
    error: dict[str, str] | None = None


def attempt(work: Callable[[Progress], Mapping[str, Content]], report: Progress) -> Outcome:
    """Run `work(report)`. Our own errors keep their words; any other becomes a sentence with stage and details."""
    reached = "loading"

    def noted(stage: str, fraction: float | None = None, message: str = "") -> None:
        nonlocal reached
        reached = stage
        report(stage, fraction, message)

    try:
        return Outcome(work(noted))
    except MergescopeError as error:
        return Outcome(error={"kind": type(error).__name__, "text": str(error)})
    except Exception as error:  # noqa: BLE001 (the one border: a job must end with a reason, whatever went wrong)
        return Outcome(error=unexpected(error, reached))


def unexpected(error: BaseException, stage: str) -> dict[str, str]:
    """An error that nobody foresaw, in words for a person and with details for whoever mends it."""
    kind, details = type(error).__name__, "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        text = f"The worker ran out of memory in stage {stage}. Ask for fewer images or units, or use a smaller net."
        return {"kind": kind, "text": text, "details": details}
    if isinstance(error, OSError) and error.errno in REASONS:
        return {"kind": kind, "text": f"{REASONS[error.errno]} (in stage {stage}).", "details": details}
    what = f"Something went wrong inside the program ({kind} in stage {stage})."
    return {"kind": kind, "text": f"{what} Copy the details into a report of the error.", "details": details}
