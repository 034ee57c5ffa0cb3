"""Request to merge networks. torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.base import LONG, ModelRef, Request
from merging.jobs.requests.checks import check_class_order, check_data, check_fit, check_whole, set_fields
from merging.jobs.requests.estimates import Past, same_networks, scale_stages
from merging.jobs.stages import LOADING, SAVING, Stage
from merging.methods.registry import ROLES, find, table
from merging.settings import read_settings, settings_dict
from merging.zoo.architectures.names import differ_in_width, unlike

# Stage whose duration depends on a method -> (role of the method, key of the method with which the stage does nothing).
OF_METHODS = {"matching": ("align", "none"), "combining": ("combine", "average")}
METHODS = ("align", "combine", "correct", "settings")


@dataclass(frozen=True)
class MergeRequest(Request):
    """Merge two to MOST_MODELS networks and measure the result.

    Attributes:
        models: the networks.
        align, combine, correct: keys of the methods.
        settings: {"align": {...}, "combine": {...}, "correct": {...}}, completed with the methods' defaults.
        dataset: name of the data set, "" for none.
        data_sha256: hash of the data set's images, "" if they are not available.
        images: number of images per split.
        points: number of lambdas per curve; only a merge of two models has curves.
        seed: seed of all random choices.
        base: network from which the models were trained, for methods that need it.
    """

    models: tuple[ModelRef, ...]
    align: str = "weight-matching"
    combine: str = "average"
    correct: str = "none"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    dataset: str = ""
    data_sha256: str = ""
    images: int = 2000
    points: int = 25
    seed: int = 0
    base: ModelRef | None = None
    kind: ClassVar[str] = "merge"
    plural: ClassVar[str] = "merges"
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("loading", 0.02, LOADING),
        Stage("tracing", 0.06, "Find which units can be permuted"),
        Stage("matching", 0.10, "Match B's units to A's"),
        Stage("verifying", 0.02, "Check that re-ordering units keeps B's outputs"),
        Stage("combining", 0.05, "Combine and correct"),
        Stage("curve", 0.57, "Measure the loss along the path from A to B"),
        Stage("similarity", 0.15, "Compare layers and units"),
        Stage("saving", 0.03, SAVING),
    )
    task: ClassVar[str] = "merging.jobs.tasks.merge:merge_task"
    by_button: ClassVar[bool] = True
    page: ClassVar[str] = "merge"
    page_parameter: ClassVar[str] = "run"
    VERSION: ClassVar[int] = 2

    def __post_init__(self) -> None:
        set_fields(self, models=tuple(self.models), settings=self._filled())
        self._check_models()
        a = self.models[0]
        check_data(self.dataset, self.data_sha256, required=False)
        check_fit(self.dataset, a.architecture, a.config)
        for model in self.checkpoints:
            check_class_order(self.dataset, model.classes, model.name)
        check_whole(self, "images", "points", "seed")
        if self.points % 2 == 0:
            raise InvalidRequest(f"points must be odd, so that one point is in the middle; got {self.points}.")

    def _check_models(self) -> None:
        methods = [find(role, getattr(self, role)) for role in ROLES]
        most = min(methods, key=lambda method: method.most_models)
        if not 2 <= len(self.models) <= most.most_models:
            raise InvalidRequest(f"{most.label} takes 2 to {most.most_models} models; got {len(self.models)}.")
        needs = [method.label for method in methods if method.needs_base]
        if bool(needs) != (self.base is not None):
            raise InvalidRequest(
                f"{needs[0]} merges experts of one base network. Choose the base network, too."
                if needs
                else "A base network is chosen, but no chosen method uses one. Remove it."
            )
        a, wider = self.models[0], find("align", self.align).unequal_widths and len(self.models) == 2
        for b in self.checkpoints[1:]:
            if why := unlike(a, b):
                raise InvalidRequest(f"{why} A is {a.name}, B is {b.name}.")
            same = a.architecture == b.architecture and b is not self.base
            if wider and same and differ_in_width(a.config, b.config):
                continue
            if (a.architecture, a.config) != (b.architecture, b.config):
                wide = len(self.models) == 2 and differ_in_width(a.config, b.config)
                able = [method.label for method in table("align").values() if method.unequal_widths and wide]
                raise InvalidRequest(
                    f"{a.name} is {a.label} and {b.name} is {b.label}. Choose networks of the same structure."
                    + (f" {' or '.join(able)} accepts different widths." if able else "")
                )

    def _filled(self) -> dict[str, dict[str, Any]]:
        unknown = set(self.settings) - set(ROLES)
        if unknown:
            raise InvalidSetting(
                f"Settings belong to {', '.join(ROLES)}, not to {', '.join(sorted(map(str, unknown)))}."
            )
        filled = {}
        for role in ROLES:
            method = find(role, getattr(self, role))
            filled[role] = settings_dict(read_settings(method.settings, self.settings.get(role)))
        return {role: values for role, values in filled.items() if values}

    @property
    def unequal(self) -> bool:
        """Whether the networks differ in the widths of their hidden layers."""
        return any(model.config != self.models[0].config for model in self.models)

    @property
    def checkpoints(self) -> tuple[ModelRef, ...]:
        """The models, then the base network if there is one."""
        return self.models if self.base is None else (*self.models, self.base)

    @property
    def lane(self) -> str:
        """Long."""
        return LONG

    @property
    def title(self) -> str:
        """Title of the job in lists."""
        steps = [find(role, getattr(self, role)).label for role in ROLES if (role, self.correct) != ("correct", "none")]
        return f"{' + '.join(model.name for model in self.models)}: {' › '.join(steps)}"

    def name_of(self, file: str) -> str:
        """Name of the network in a file of the result, such as "merge.safetensors"."""
        every = " + ".join(model.name for model in self.models)
        if file.startswith("aligned"):
            how = "re-ordered" if find("align", self.align).permutes else "mapped onto A's"
            return f"{self.models[1].name}, units {how}"
        return f"Plain average of {every}" if file.startswith("naive") else f"Merge of {every}"

    @property
    def data(self) -> tuple[str, str, int | None]:
        """(data set, sha256 of its images, number of images per split)."""
        return self.dataset, self.data_sha256, self.images

    @classmethod
    def stage_words(cls, request: Mapping[str, Any]) -> dict[str, str]:
        """Stage -> its description, which differs for more than two networks, as no path connects them."""
        many = len(request.get("models", ())) > 2
        return super().stage_words(request) | ({"curve": "Measure every network"} if many else {})

    @classmethod
    def likeness(cls, asked: Mapping[str, Any], past: Mapping[str, Any]) -> int:
        """2 for the same structures and methods, 1 for the same structures, 0 otherwise."""
        same = same_networks(asked, past) and bool(asked["data_sha256"]) == bool(past["data_sha256"])
        return same * (1 + all(asked[key] == past[key] for key in METHODS))

    @classmethod
    def scaled(cls, asked: Mapping[str, Any], past: Past, likeness: int) -> dict[str, float]:
        """Scale the curves by their work; if the methods differ, stages that depend on them get their usual share."""
        stages = scale_stages(past.stages, ("curve",), _measured(asked) / _measured(past.request))
        return stages if likeness > 1 else _with_usual(stages, asked)


def _with_usual(stages: Mapping[str, float], merge: Mapping[str, Any]) -> dict[str, float]:
    """Seconds per stage; stages that depend on the methods get their usual share of the whole duration."""
    usual = dict(MergeRequest.shares())
    others = {stage: spent for stage, spent in stages.items() if stage not in OF_METHODS}
    whole = sum(others.values()) / (1 - sum(usual[stage] for stage in OF_METHODS))
    idle = {stage: merge[role] == nothing for stage, (role, nothing) in OF_METHODS.items()}
    idle["combining"] &= merge["correct"] == "none"  # a correction measures the parents in this stage
    return others | {stage: 0.0 if idle[stage] else usual[stage] * whole for stage in OF_METHODS}


def _measured(merge: Mapping[str, Any]) -> float:
    """Relative work of a merge's curves: points times images times paths; a correction adds one path."""

    return merge["points"] * merge["images"] * (2 + (merge["correct"] != "none"))
