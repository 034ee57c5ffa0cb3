"""Finished runs that are shipped with the program (assets/runs), so that the first page needs no worker.

A run is a folder named by its job id, with `job.json` (request, times, stages, artifacts) and one file per artifact.
The files are never changed. Artifacts that are too large to ship are listed with their hashes and sizes but have no
files; running the request again creates them.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from merging.errors import MergescopeError
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.estimates import Past
from merging.paths import ASSETS
from merging.zoo.catalogue import Preset, find_entry

RUNS = ASSETS / "runs"


@dataclass(frozen=True)
class ShippedRuns:
    """The runs in a folder; none if the folder is missing."""

    folder: Path = RUNS

    @cached_property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Job id -> contents of its job.json."""
        return {
            path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("*/job.json"))
        }

    @cached_property
    def _jobs(self) -> dict[str, Job]:
        return {id: _job(id, entry) for id, entry in self.entries.items()}

    @cached_property
    def _ids(self) -> list[str]:
        return sorted(self.entries)

    def jobs(self) -> tuple[Job, ...]:
        """All runs, as finished jobs without an owner."""
        return tuple(self._jobs.values())

    @cached_property
    def past(self) -> tuple[Past, ...]:
        """Durations of all runs, for forecasts."""
        return tuple(Past(job.request, {stage: spent for stage, _, spent in job.stages}) for job in self.jobs())

    def job(self, prefix: str) -> Job | None:
        """The only run whose id begins with `prefix`, None if there are none or several."""
        first = bisect_left(self._ids, prefix)
        matches = [id for id in self._ids[first : first + 2] if id.startswith(prefix)]
        return self._jobs[matches[0]] if len(matches) == 1 else None

    def of_pair(self, pair: Preset) -> Job | None:
        """The run that merges this pair by the pair's methods, None if there is none."""
        hashes = {find_entry(pair.a).sha256, find_entry(pair.b).sha256}
        methods = {"align": pair.align, "combine": pair.combine, "correct": pair.correct}
        for job in self.jobs():
            asked = job.request
            if asked["kind"] != "merge" or {model["sha256"] for model in asked["models"]} != hashes:
                continue
            if all(asked[role] == key for role, key in methods.items()):
                return job
        return None

    def artifacts(self, id: str) -> dict[str, tuple[str, int]]:
        """Name -> (sha256, bytes) of all artifacts of the run, shipped or not."""
        by_name = self.entries.get(id, {}).get("artifacts", {})
        return {name: (sha256, size) for name, (sha256, size) in by_name.items()}

    def has(self, id: str, name: str) -> bool:
        """Whether the run has this artifact and its file is shipped."""
        return name in self.artifacts(id) and (self.folder / id / name).is_file()

    def artifact(self, id: str, name: str) -> bytes | None:
        """Bytes of an artifact, None if it is not shipped. Raises MergescopeError if the file is damaged."""
        sha256, _ = self.artifacts(id).get(name, ("", 0))
        path = self.folder / id / name
        if not sha256 or not path.is_file():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise MergescopeError(f"The example {id[:12]} is damaged ({name}). Install the program again.")
        return data

    @cached_property
    def hashes(self) -> set[str]:
        """SHA-256 hashes of all artifacts of the runs, shipped or not."""
        return {sha256 for entry in self.entries.values() for sha256, _ in entry["artifacts"].values()}

    def content(self, sha256: str) -> bytes | None:
        """The shipped artifact with this hash, None if there is none."""
        for id, entry in self.entries.items():
            for name, (content_hash, _) in entry["artifacts"].items():
                if content_hash == sha256 and (self.folder / id / name).is_file():
                    return self.artifact(id, name)
        return None

    def pictures(self, question: str, units: Sequence[int]) -> dict[int, bytes]:
        """Unit -> its picture with the key `question` (see `picture_question`), for units with a shipped picture."""
        by_unit: dict[int, bytes] = {}
        for id in self._answers.get(question, ()):
            candidates = {unit: self._picture(id, unit) for unit in units}
            by_unit |= {unit: data for unit, data in candidates.items() if data is not None}
        return by_unit

    @cached_property
    def _answers(self) -> dict[str, list[str]]:
        """Key of `picture_question` -> ids of the runs that hold pictures with this key."""
        answers: dict[str, list[str]] = {}
        for id, entry in self.entries.items():
            if entry["request"]["kind"] == "pictures":
                answers.setdefault(picture_question_of(entry["request"]), []).append(id)
        return answers

    @cached_property
    def _read(self) -> dict[tuple[str, int], bytes | None]:
        return {}

    def _picture(self, id: str, unit: int) -> bytes | None:
        """A picture; each file is read and checked only once, because a page shows a hundred pictures of a few kB."""
        if (id, unit) not in self._read:
            self._read[id, unit] = self.artifact(id, f"unit-{unit}")
        return self._read[id, unit]


def picture_question(sha256: str, layer: str, settings: Mapping[str, Any], seed: int) -> str:
    """Key shared by all pictures of one layer of a network that were made with the same settings and seed."""
    return json.dumps([sha256, layer, dict(settings), seed], sort_keys=True)


def picture_question_of(request: dict[str, Any]) -> str:
    """Key (see `picture_question`) of a pictures request, which is given as JSON values."""
    return picture_question(request["model"]["sha256"], request["layer"], request["settings"], request["seed"])


def _job(id: str, entry: dict[str, Any]) -> Job:
    copied = {name: entry[name] for name in ("title", "request", "created", "started", "finished")}
    stages = tuple((stage, message, seconds) for stage, message, seconds in entry["stages"])
    return Job(id, entry["request"]["kind"], state="done", fraction=1.0, stages=stages, example=True, **copied)
