"""A finished training as a model of whoever asked for it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping

from merging import results
from merging.errors import MergescopeError
from merging.work.ledger_desk import Claim
from merging.zoo.architectures.names import describe
from merging.zoo.catalogue import Entry
from merging.zoo.story import read_story

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def trained_entry(claim: Claim, artifacts: Mapping[str, bytes]) -> Entry:
    """The catalogue entry of what a train job made: its report and checkpoint are among the artifacts."""
    report, data = results.load(artifacts["report"]), artifacts["checkpoint.safetensors"]
    if not isinstance(report, results.TrainReport):
        raise MergescopeError(f"Job {claim.id[:12]} is no training.")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    story = read_story(json.loads(header.pop("__metadata__")["mergescope"]))
    told = ("architecture", "config", "dataset", "classes", "mean", "std", "seed", "epochs")
    return Entry(
        id="",
        name=report.name,
        sha256=report.checkpoint,
        **{key: getattr(story, key) for key in told},
        label=describe(story.architecture, story.config),
        accuracy=report.accuracy,
        parameters=sum(math.prod(t["shape"]) for name, t in header.items() if not name.endswith(STATISTICS)),
        bytes=len(data),
        source="trained",
        owner=claim.owner,
        created=time.time(),
    )
