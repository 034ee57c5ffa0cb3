"""Outcome of a job. Any exception inside a job is turned into an outcome here, in the program's only broad `except`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from merging.errors import MergescopeError, reason_of_system
from merging.jobs.ledger.store import Content
from merging.paths import without_folders
from merging.progress import Progress


@dataclass(frozen=True)
class Outcome:
    """Result of a job.

    Attributes:
        artifacts: name -> content; {} for a failed job.
        error: {"kind", "text"} and sometimes "details" of a failed job, None after success.
        members: job id -> its outcome, for jobs that were done together; {} for one job.
    """

    artifacts: Mapping[str, Content] = field(default_factory=dict)
    error: dict[str, str] | None = None
    members: Mapping[str, Outcome] = field(default_factory=dict)

    def of(self, job: str) -> Outcome:
        """The outcome of one of the jobs that were done together, or of the only one."""
        none = {"kind": "MergescopeError", "text": "The worker returned nothing for this job. Submit it again."}
        return self.members.get(job, Outcome(error=none)) if self.members else self


def attempt(work: Callable[[Progress], Mapping[str, Content] | Outcome], report: Progress) -> Outcome:
    """Run `work(report)`, which returns artifacts or an outcome.

    A MergescopeError keeps its text; other errors are described by `unexpected`.
    """
    reached = "loading"

    def noted(stage: str, fraction: float | None = None, message: str = "") -> None:
        nonlocal reached
        reached = stage
        report(stage, fraction, message)

    try:
        result = work(noted)
        return result if isinstance(result, Outcome) else Outcome(result)
    except MergescopeError as error:
        return Outcome(error={"kind": type(error).__name__, "text": without_folders(str(error))})
    except Exception as error:  # noqa: BLE001 (allowed only here: whatever goes wrong, a job must end with a reason)
        return Outcome(error=unexpected(error, reached))


def unexpected(error: BaseException, stage: str) -> dict[str, str]:
    """Describe an unexpected error by a text for the user and details for a developer."""
    kind, details = type(error).__name__, without_folders("".join(traceback.format_exception(error)))
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        text = f"The worker ran out of memory in stage {stage}. Choose fewer images or units, or a smaller network."
        return {"kind": kind, "text": text, "details": details}
    reason = reason_of_system(error)
    if reason is not None:
        return {"kind": kind, "text": f"{reason} (in stage {stage}).", "details": details}
    what = f"Something went wrong inside the program ({kind} in stage {stage})."
    return {"kind": kind, "text": f"{what} Copy the details into a bug report.", "details": details}
