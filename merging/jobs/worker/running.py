"""A job, or several that are done together, that a dispatcher has started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from merging.jobs.claims import Claim
from merging.jobs.tasks.machine import Place
from merging.jobs.worker.downloading import Download
from merging.jobs.worker.ray_task import Key
from merging.jobs.worker.sweeping import Sweeping


@dataclass
class Running:
    """Running work.

    Attributes:
        key: job and number of the start, under which the work's messages come.
        claims: the jobs that the work is still for; those that were cancelled are left out.
        work: the Ray reference of its result; a Download or a Sweeping for a job that the dispatcher runs itself.
        place: where the work runs, None before its first message.
        seat: index of the row of workers that the work occupies.
        shares: (stage, share of the whole job), in order.
    """

    key: Key
    claims: tuple[Claim, ...]
    work: Any
    place: Place | None = None
    seat: int = 0
    shares: tuple[tuple[str, float], ...] = ()

    @property
    def claim(self) -> Claim:
        """The first of the jobs."""
        return self.claims[0]

    @property
    def own(self) -> Download | Sweeping | None:
        """The work if the dispatcher does it itself, otherwise None."""
        return self.work if isinstance(self.work, Download | Sweeping) else None

    @property
    def next_look(self) -> float:
        """Time of the next look at the dispatcher's own work on the monotonic clock; 0 if each step looks at it."""
        return self.work.next_look if isinstance(self.work, Sweeping) else 0.0
