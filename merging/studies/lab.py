"""The manipulation lab: CKA is moved while the network keeps saying the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Subject, study


@saved
@dataclass(frozen=True)
class Lab:
    """Three changes of the classifier's input that its weights undo. names: "classes", "image", "unit".

    strength: (S,), see `analysis.similarity.manipulation`.  cka, neighbours, procrustes, accuracy, moved: name -> (S,).
    limit: name -> CKA for an endless strength, in closed form.  layer: the classifier; net: whose; classes: moved.
    """

    strength: np.ndarray
    cka: dict[str, np.ndarray]
    neighbours: dict[str, np.ndarray]
    procrustes: dict[str, np.ndarray]
    accuracy: dict[str, np.ndarray]
    moved: dict[str, np.ndarray]
    limit: dict[str, float]
    layer: str
    net: str
    classes: int
    unit: int
    features: int
    images: int


@dataclass(frozen=True)
class LabSettings:
    """Whose classifier, and what is moved."""

    net: str = setting("A", choices=("A", "B", "merge"), label="Network", help="Whose classifier is looked at.")
    classes: int = setting(5, low=1, high=1000, label="Classes moved", help="The first so many classes, together.")
    unit: int = setting(-1, low=-1, high=100_000, label="Unit scaled", help="-1 takes the one that varies most.")
    images: int = setting(1000, low=100, high=4000, label="Images", help="Test images.")


@study(
    "lab",
    label="Manipulation lab",
    summary="Move CKA as far as you like while accuracy stays: translate classes or one image, or scale one unit.",
    source="Davari et al.: Reliability of CKA as a Similarity Measure in Deep Learning (ICLR 2023)",
    settings=LabSettings,
)
def lab(subject: Subject, settings: LabSettings) -> Lab:
    """All three changes of one network. Raises UnsupportedOperation where it does not end in a linear layer, or that
    layer sees every direction; InvalidSetting for a unit that is not there."""
    import torch

    from merging.analysis.similarity.manipulation import classifier_of, rescale, translate
    from merging.errors import InvalidSetting

    data = subject.images(settings.images)
    found = classifier_of(subject.graph, subject.nets[settings.net], data)
    features, classes = found.inputs.shape[1], len(found.weight)
    if settings.unit >= features:
        raise InvalidSetting(f"{found.layer} has {features} inputs, 0 to {features - 1}; there is no {settings.unit}.")
    unit = settings.unit if settings.unit >= 0 else int(found.inputs.var(0).argmax())
    count = min(settings.classes, classes - 1)
    image = torch.zeros_like(found.labels, dtype=torch.bool)
    image[0] = True
    trails = {"classes": translate(found, found.labels < count, subject.seed)}
    subject.report("studying", 0.4, "one image")
    trails["image"] = translate(found, image, subject.seed)
    subject.report("studying", 0.7, "one unit")
    trails["unit"] = rescale(found, unit)
    return Lab(
        strength=trails["unit"].strength,
        cka={name: trail.cka for name, trail in trails.items()},
        neighbours={name: trail.neighbours for name, trail in trails.items()},
        procrustes={name: trail.procrustes for name, trail in trails.items()},
        accuracy={name: trail.accuracy for name, trail in trails.items()},
        moved={name: trail.moved for name, trail in trails.items()},
        limit={name: trail.limit for name, trail in trails.items()},
        layer=found.layer,
        net=settings.net,
        classes=count,
        unit=unit,
        features=features,
        images=data.count,
    )
