"""Command line and Python code that reproduce a run."""

from __future__ import annotations

from typing import Any

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.zip_networks import ZipRequest
from merging.methods.registry import ROLES, find
from merging.naming import letter
from merging.settings import read_settings, settings_dict
from merging.zoo import catalogue
from merging.zoo.datasets.known import find_facts


def command(request: MergeRequest) -> str:
    """Shell command of a merge; a network that is not shipped is named by its downloaded file."""
    words = ["python -m merging merge", *(_name(model) or _file(model) for model in request.models)]
    words += [f"--base {_name(request.base) or _file(request.base)}"] if request.base else []
    words += [f"--{role} {getattr(request, role)}" for role in ROLES if getattr(request, role) != _USUAL[role]]
    for role, values in changed(request).items():
        words += [f"--set {role}.{name}={value}" for name, value in values.items()]
    words += [f"--data {request.dataset}"] if request.dataset else []
    words += [f"--images {request.images}", f"--points {request.points}", f"--seed {request.seed}"]
    return " ".join(words)


def snippet(request: MergeRequest) -> str:
    """Python code of a merge that prints its accuracy, for any folder; files of uploaded networks must be in it."""
    files = ", ".join(f'"{_name(model) or _file(model)}"' for model in request.checkpoints)
    keywords = "".join(
        f', {role}="{getattr(request, role)}"' for role in ROLES if getattr(request, role) != _USUAL[role]
    )
    keywords += f", settings={changed(request)!r}" if changed(request) else ""
    names = [*(letter(number).lower() for number in range(len(request.models))), *(["base"] if request.base else [])]
    keywords += ", base=base" if request.base else ""
    measured = bool(request.dataset and request.data_sha256)
    lines = ["from merging import evaluate, load_checkpoint, load_dataset, merge"] if measured else _WITHOUT_IMAGES
    lines = [*lines, f"{', '.join(names)} = (load_checkpoint(name).build() for name in ({files}))"]
    if measured:
        lines.append(f'images = load_dataset("{request.dataset}", {request.images})')
        keywords += ", data=images.train"
    else:
        keywords += f", example=torch.zeros(2, {', '.join(map(str, _shape(request.models[0])))})"
    lines.append(f"result = merge([{', '.join(names[: len(request.models)])}]{keywords}, seed={request.seed})")
    lines += ["print(evaluate(result.merged, images.test))"] if measured else ['print(result.notes["equivalence"])']
    return "\n".join(lines)


def zip_command(request: ZipRequest) -> str:
    """Shell command of a partial zip (ZipIt!)."""
    words = ["python -m merging zip", *(_name(model) or _file(model) for model in request.models)]
    usual = settings_dict(read_settings(find("align", "zipit").settings, {"choose": False}))
    words += [f"--set {name}={value}" for name, value in request.settings.items() if value != usual[name]]
    return " ".join([*words, f"--data {request.dataset} --images {request.images} --seed {request.seed}"])


def zip_snippet(request: ZipRequest) -> str:
    """Python code of a partial zip (ZipIt!), up to every layer in turn, for any folder with the uploaded files."""
    files = ", ".join(f'"{_name(model) or _file(model)}"' for model in request.models)
    return "\n".join(
        [
            "from merging import load_checkpoint, load_dataset",
            "from merging.pipeline.partial_zip import partial_zips",
            f'images = load_dataset("{request.dataset}", {request.images})',
            f"models = [load_checkpoint(name).build() for name in ({files})]",
            f"for zipped in partial_zips(models, images.train, settings={request.settings!r}, seed={request.seed}):",
            "    print(zipped.until.name, zipped(images.test.example()).shape)",
        ]
    )


def changed(request: MergeRequest) -> dict[str, dict[str, Any]]:
    """Role -> the settings that differ from the method's defaults."""
    by_role = {}
    for role, values in request.settings.items():
        usual = settings_dict(read_settings(find(role, getattr(request, role)).settings, None))  # type: ignore[arg-type]
        own = {name: value for name, value in values.items() if value != usual[name]}
        if own:
            by_role[role] = own
    return by_role


_WITHOUT_IMAGES = ["import torch", "from merging import load_checkpoint, merge"]
_USUAL = {"align": "weight-matching", "combine": "average", "correct": "none"}


def _name(model: ModelRef) -> str:
    return next((entry.id for entry in catalogue.shipped() if entry.sha256 == model.sha256), "")


def _file(model: ModelRef) -> str:
    return f"{model.sha256[:12]}.safetensors"


def _shape(model: ModelRef) -> tuple[int, ...]:
    facts = find_facts(model.dataset)
    return tuple(model.config.get("in_shape") or (facts.shape if facts else (len(model.mean), 32, 32)))
