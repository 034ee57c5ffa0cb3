"""The sweep of the lessons and, by default, of a class: the barrier after weight matching over the width."""

from __future__ import annotations

from merging.errors import DataUnavailable
from merging.jobs.requests.sweep import SweepRequest
from merging.zoo.datasets.fingerprint import fingerprint

DATASET = "fashion-mnist"
IMAGES = 1_000
WIDTHS = (8, 16, 32, 64, 128, 256)
GROUPS = 5  # with the widths, thirty cells: one per student


def lab_sweep() -> SweepRequest:
    """MLPs with three hidden layers, short trainings. Raises DataUnavailable if the images are not on this machine."""
    every, some = fingerprint(DATASET, None), fingerprint(DATASET, IMAGES)
    if not every or not some:
        raise DataUnavailable(f"The sweep of the lab needs {DATASET}, which is not here. Download it on Models.")
    config = {"widths": [512, 512, 512], "in_shape": [1, 28, 28], "classes": 10}
    return SweepRequest(
        "mlp", config, DATASET, every, {str(IMAGES): some}, (("width", WIDTHS),), epochs=3, groups=GROUPS, images=IMAGES
    )  # fmt: skip
