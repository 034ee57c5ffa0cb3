"""All errors that users can see. Pages and the command line show only the texts of these errors, verbatim.

    MergescopeError
    ├── UnsupportedOperation     tracing met an operation without a rule; the text names node, operation and remedy
    ├── NotEquivalent            a permutation of units changed the outputs: the merge stops without a result
    ├── IncompatibleModels       the networks cannot be merged: different graphs, widths or classes
    ├── InvalidSetting           a setting is unknown, of the wrong type or out of its bounds
    ├── InvalidRequest           a request exceeds a limit or names something that does not exist
    │   └── TooManyJobs          the user has reached the limit of open jobs: try again later
    ├── UnknownLayer             the network has no such layer or unit
    ├── UnknownArchitecture      no architecture has that name or fits the tensors
    │   └── AmbiguousCheckpoint  several known networks fit the tensors: the user must choose one
    ├── CheckpointError          a checkpoint file is damaged, malicious or of the wrong kind
    ├── DataUnavailable          the images that a step needs are damaged or not on this machine
    ├── HomeUnusable             the folder in which runs are stored cannot be created, read or written
    ├── Cancelled                the user cancelled the work
    ├── DeadlineExceeded         the job exceeded its time limit
    └── WorkerLost               the worker process died, and so did the one that retried the job

The code that raises an error states the fact. The code that shows it (page, command line, job) adds the context. Every
text says what is wrong and what to do about it. `reason_of_system` says what the operating system refused.
"""

import errno
import sqlite3
from typing import Any

NOT_PERMITTED = (
    "The program has no permission to read or write a file that it needs: "
    "give read and write access to the user who runs the program"
)
REASONS = {  # errors of the operating system whose cause the user can remove
    errno.ENOSPC: "The disk is full: free some space, then try again",
    errno.EDQUOT: "The disk quota is used up: free some space, then try again",
    errno.EROFS: "The disk is mounted read-only: mount it with write access, then try again",
    errno.ENAMETOOLONG: "A path is too long for this machine: shorten it, or MERGESCOPE_HOME or MERGESCOPE_DATA",
    errno.EACCES: NOT_PERMITTED,
    errno.EPERM: NOT_PERMITTED,
    errno.EIO: "The disk failed to read or write: see the system log, then try again",
    errno.EMFILE: "Too many files are open: close other programs, or raise the limit (ulimit -n)",
    errno.ENFILE: "Too many files are open: close other programs, or raise the limit (ulimit -n)",
    errno.ENOMEM: "The machine has no memory left: close other programs, or choose fewer images or a smaller network",
}

REFUSED_BY_SQLITE = {
    "disk is full": errno.ENOSPC,
    "readonly": errno.EACCES,
    "unable to open": errno.EACCES,
    "disk I/O": errno.EIO,
}


class MergescopeError(Exception):
    """Base of all errors of this program. `str(error)` is one or two sentences for the user."""


class UnsupportedOperation(MergescopeError):
    """Tracing met an operation that has no rule."""


class NotEquivalent(MergescopeError):
    """A permutation changed the outputs of a network, which it must not do."""


class IncompatibleModels(MergescopeError):
    """The networks cannot be merged with each other."""


class InvalidSetting(MergescopeError):
    """A setting is unknown, of the wrong type or out of bounds."""


class InvalidRequest(MergescopeError):
    """A request exceeds a limit or names something that does not exist."""


class TooManyJobs(InvalidRequest):
    """The user has reached the limit of open jobs. The request can be repeated later."""


class UnknownLayer(MergescopeError):
    """The network has no such layer or unit."""


class UnknownArchitecture(MergescopeError):
    """No known architecture has that name or fits the tensors."""


class AmbiguousCheckpoint(UnknownArchitecture):
    """Several known networks fit the tensors.

    Attributes:
        candidates: one `zoo.checkpoints.candidates.Candidate` per network.
        why: a sentence about what the tensors alone do not determine.
    """

    def __init__(self, text: str, candidates: tuple[Any, ...] = (), why: str = "") -> None:
        super().__init__(text)
        self.candidates, self.why = candidates, why


class CheckpointError(MergescopeError):
    """A checkpoint file is damaged, malicious or of the wrong kind."""


class DataUnavailable(MergescopeError):
    """The images that a step needs are damaged or not on this machine."""


class HomeUnusable(MergescopeError):
    """The folder in which runs are stored cannot be created, read or written."""


class Cancelled(MergescopeError):
    """The user cancelled the work."""


class DeadlineExceeded(MergescopeError):
    """The job exceeded its time limit."""


class WorkerLost(MergescopeError):
    """The worker process died."""


def reason_of_system(error: BaseException) -> str | None:
    """What the operating system refused and the step that helps; None for other errors."""
    if isinstance(error, sqlite3.OperationalError):
        number = next((number for words, number in REFUSED_BY_SQLITE.items() if words in str(error)), None)
    else:
        number = error.errno if isinstance(error, OSError) else None
    return REASONS.get(number) if number is not None else None
