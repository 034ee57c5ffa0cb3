"""Manipulation lab: changes that alter CKA while the network's outputs stay the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merging.results.saving import saved
from merging.settings import setting
from merging.studies.registry import Number, Subject, study


@saved
@dataclass(frozen=True)
class Lab:
    """Effect on CKA of three changes that leave the classifier's output unchanged: "classes", "image", "unit".

    Attributes:
        strength: (S,), see `analysis.similarity.manipulation`.
        cka, neighbours, procrustes, accuracy, moved: name of the change -> (S,), as in `manipulation.Trail`.
        limit: name of the change -> CKA at infinite strength, in closed form.
        layer: name of the classifier.
        net: key of the network.
        classes: number of classes whose images are moved.
        unit: number of the unit that is scaled.
        features: number of the classifier's inputs.
        images: number of test images.
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
    """Network, and the classes and the unit that are changed."""

    net: str = setting("A", choices=("A", "B", "merge"), label="Network", help="Network whose classifier is used.")
    classes: int = setting(5, low=1, high=1000, label="Classes moved", help="Number of classes to move together.")
    unit: int = setting(-1, low=-1, high=100_000, label="Unit scaled", help="-1 takes the unit that varies most.")
    images: int = setting(1000, low=100, high=4000, label="Images", help="Test images.")


@study(
    "lab",
    label="Manipulation lab",
    summary="Change CKA without changing any output: shift the features of classes or of one image, or scale a unit.",
    source="Davari et al.: Reliability of CKA as a Similarity Measure in Deep Learning (ICLR 2023)",
    settings=LabSettings,
    page="similarity",
    places=(
        "net",
        "classes",
        "unit",
    ),
    numbers={
        "moved": Number(
            "CKA of A's features before and after moving classes far", lambda found: float(found.limit["classes"])
        ),
    },
)
def lab(subject: Subject, settings: LabSettings) -> Lab:
    """Apply all three changes to one network.

    Raises UnsupportedOperation if the network does not end in a linear layer with a nontrivial null space, and
    InvalidSetting for a unit that does not exist.
    """
    import torch

    from merging.analysis.similarity.manipulation import classifier_of, rescale_unit, translate
    from merging.errors import InvalidSetting

    data = subject.images(settings.images)
    classifier = classifier_of(subject.graph, subject.nets[settings.net], data)
    features, classes = classifier.inputs.shape[1], len(classifier.weight)
    if settings.unit >= features:
        raise InvalidSetting(
            f"{classifier.layer} has {features} inputs, 0 to {features - 1}; there is no input {settings.unit}."
        )
    unit = settings.unit if settings.unit >= 0 else int(classifier.inputs.var(0).argmax())
    count = min(settings.classes, classes - 1)
    image = torch.zeros_like(classifier.labels, dtype=torch.bool)
    image[0] = True
    trails = {"classes": translate(classifier, classifier.labels < count, subject.seed)}
    subject.report("studying", 0.4, "one image")
    trails["image"] = translate(classifier, image, subject.seed)
    subject.report("studying", 0.7, "one unit")
    trails["unit"] = rescale_unit(classifier, unit)
    return Lab(
        strength=trails["unit"].strength,
        cka={name: trail.cka for name, trail in trails.items()},
        neighbours={name: trail.neighbours for name, trail in trails.items()},
        procrustes={name: trail.procrustes for name, trail in trails.items()},
        accuracy={name: trail.accuracy for name, trail in trails.items()},
        moved={name: trail.moved for name, trail in trails.items()},
        limit={name: trail.limit for name, trail in trails.items()},
        layer=classifier.layer,
        net=settings.net,
        classes=count,
        unit=unit,
        features=features,
        images=data.count,
    )
