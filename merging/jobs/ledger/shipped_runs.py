"""The finished runs that come with the program (assets/runs): read-only, so that the first screen needs no worker.

A run is a folder named by its job id with `job.json` (request, times, stages, what it made) and a file an artifact.
Artifacts too large to ship are listed with their hash and size but have no file; running the request again makes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.estimates import Past
from merging.paths import ASSETS

RUNS = ASSETS / "runs"


@dataclass(frozen=True)
class ShippedRuns:
    """The runs below a folder; none where there is no such folder."""

    folder: Path = RUNS

    @cached_property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Job id -> what its job.json says."""
        return {
            path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("*/job.json"))
        }

    @cached_property
    def _jobs(self) -> dict[str, Job]:
        return {id: _job(id, entry) for id, entry in self.entries.items()}

    def jobs(self) -> tuple[Job, ...]:
        """All of them, as finished jobs that nobody owns."""
        return tuple(self._jobs.values())

    @cached_property
    def past(self) -> tuple[Past, ...]:
        """What all of them tell of how long others take."""
        return tuple(Past(job.request, {stage: spent for stage, _, spent in job.stages}) for job in self.jobs())

    def job(self, prefix: str) -> Job | None:
        """The run whose id begins so, None where there is none or more than one."""
        found = [id for id in self.entries if id.startswith(prefix)]
        return self._jobs[found[0]] if len(found) == 1 else None

    def artifacts(self, id: str) -> dict[str, tuple[str, int]]:
        """Name -> (sha256, bytes) of all that the run made, shipped or not."""
        made = self.entries.get(id, {}).get("artifacts", {})
        return {name: (sha256, size) for name, (sha256, size) in made.items()}

    def has(self, id: str, name: str) -> bool:
        """Whether the run made it and its file is shipped."""
        return name in self.artifacts(id) and (self.folder / id / name).is_file()

    def artifact(self, id: str, name: str) -> bytes | None:
        """The bytes, None where they are not shipped. Raises MergescopeError where the file is damaged."""
        sha256, _ = self.artifacts(id).get(name, ("", 0))
        path = self.folder / id / name
        if not sha256 or not path.is_file():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MergescopeError(f"The example {id[:12]} is damaged ({name}). Install the program again.")
        return data

    def content(self, sha256: str) -> bytes | None:
        """The shipped artifact of that content, None where there is none."""
        for id, entry in self.entries.items():
            for name, (known, _) in entry["artifacts"].items():
                if known == sha256 and (self.folder / id / name).is_file():
                    return self.artifact(id, name)
        return None

    def pictures(self, question: str, units: Sequence[int]) -> dict[int, bytes]:
        """Of these units, the shipped pictures that answer the question."""
        found: dict[int, bytes] = {}
        for id in self._answers.get(question, ()):
            known = {unit: self._picture(id, unit) for unit in units}
            found |= {unit: data for unit, data in known.items() if data is not None}
        return found

    @cached_property
    def _answers(self) -> dict[str, list[str]]:
        """Question -> the runs whose pictures answer it."""
        found: dict[str, list[str]] = {}
        for id, entry in self.entries.items():
            if entry["request"]["kind"] == "pictures":
                found.setdefault(picture_question_of(entry["request"]), []).append(id)
        return found

    @cached_property
    def _read(self) -> dict[tuple[str, int], bytes | None]:
        return {}

    def _picture(self, id: str, unit: int) -> bytes | None:
        """A picture, read and checked once: a page shows a hundred, of a few kB each."""
        if (id, unit) not in self._read:
            self._read[id, unit] = self.artifact(id, f"unit-{unit}")
        return self._read[id, unit]


def picture_question(sha256: str, layer: str, settings: Mapping[str, Any], seed: int) -> str:
    """What all pictures of one layer, made in one way, have in common: a key that is equal for equal questions."""
    return json.dumps([sha256, layer, dict(settings), seed], sort_keys=True)


def picture_question_of(request: dict[str, Any]) -> str:
    """The question of a pictures request given as JSON values."""
    return picture_question(request["model"]["sha256"], request["layer"], request["settings"], request["seed"])


def _job(id: str, entry: dict[str, Any]) -> Job:
    copied = {name: entry[name] for name in ("title", "request", "created", "started", "finished")}
    stages = tuple((stage, message, seconds) for stage, message, seconds in entry["stages"])
    return Job(id, entry["request"]["kind"], state="done", fraction=1.0, stages=stages, example=True, **copied)
