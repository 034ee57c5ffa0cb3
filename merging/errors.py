"""Every error a person can meet. A page or the command line shows these texts verbatim, and nothing else's.

    MergescopeError
    ├── UnsupportedOperation     tracing met an operation that has no rule: names the node, the operation and the remedy
    ├── NotEquivalent            permuted units changed the outputs: the merge stops before any result
    ├── IncompatibleModels       the networks cannot be merged: different graphs, widths or classes
    ├── InvalidSetting           a setting is unknown, of the wrong type or out of its bounds
    ├── InvalidRequest           a request breaks a bound of the engine or names something that does not exist
    │   └── TooManyJobs          somebody has as many open jobs as one may have: it can be asked for again later
    ├── UnknownLayer             a layer or unit that the network does not have
    ├── UnknownArchitecture      no architecture of that name, or none that fits the tensors
    │   └── AmbiguousCheckpoint  several known networks fit the tensors: the person decides
    ├── CheckpointError          a checkpoint file that is damaged, hostile or of the wrong kind
    ├── DataUnavailable          the images a step needs are not on this machine, or are damaged
    ├── HomeUnusable             the folder in which runs are kept cannot be made, read or written
    ├── Cancelled                the person asked for it
    ├── DeadlineExceeded         the job ran longer than it may
    └── WorkerLost               the worker process died, and the one retry too

Inner code states the fact; the border (page, command line, job) adds the situation. Every text says what was found
and what to do.
"""

from typing import Any


class MergescopeError(Exception):
    """Base of every error in this program; `str(error)` is one or two sentences for a person."""


class UnsupportedOperation(MergescopeError):
    """Tracing met an operation without a rule."""


class NotEquivalent(MergescopeError):
    """A permutation that must not change the outputs did."""


class IncompatibleModels(MergescopeError):
    """The networks cannot be merged with each other."""


class InvalidSetting(MergescopeError):
    """A setting is unknown, of the wrong type or out of bounds."""


class InvalidRequest(MergescopeError):
    """A request breaks a bound or names something that does not exist."""


class TooManyJobs(InvalidRequest):
    """Somebody has as many open jobs as one may have: what is asked for can be asked for again later."""


class UnknownLayer(MergescopeError):
    """The network has no such layer or unit."""


class UnknownArchitecture(MergescopeError):
    """No known architecture has that name or fits the tensors."""


class AmbiguousCheckpoint(UnknownArchitecture):
    """Several known networks fit the tensors; candidates: one per network, `zoo.checkpoints.candidates.Candidate`.

    why: what leaves them open, in words.
    """

    def __init__(self, text: str, candidates: tuple[Any, ...] = (), why: str = "") -> None:
        super().__init__(text)
        self.candidates, self.why = candidates, why


class CheckpointError(MergescopeError):
    """A checkpoint file is damaged, hostile or of the wrong kind."""


class DataUnavailable(MergescopeError):
    """The images a step needs are not on this machine, or are damaged."""


class HomeUnusable(MergescopeError):
    """The folder in which runs are kept cannot be made, read or written."""


class Cancelled(MergescopeError):
    """The person cancelled the work."""


class DeadlineExceeded(MergescopeError):
    """The job ran longer than it may."""


class WorkerLost(MergescopeError):
    """The worker process died."""
