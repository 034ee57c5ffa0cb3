"""Table of several merges: settings, figures and costs, one line per property with a text per run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from merging.methods.registry import ROLES, find
from merging.naming import letter
from merging.text import numbers

GROUPS = ("Settings", "Figures", "Cost")
FIGURES: dict[str, Callable[[float], str]] = {  # column of a comparison -> its format
    "test_accuracy": numbers.accuracy,
    "test_images": numbers.count,
    "test_loss": numbers.loss,
    "train_accuracy": numbers.accuracy,
    "train_loss": numbers.loss,
    "barrier_mean": numbers.loss,
    "barrier_chord": numbers.loss,
    "naive_accuracy": numbers.accuracy,
    "parents_accuracy": numbers.accuracy,
    "ensemble_accuracy": numbers.accuracy,
    "distance": lambda value: f"{value:.1f}",
    "equivalence": numbers.tiny,
}
COSTS: dict[str, Callable[[float], str]] = {"seconds": numbers.duration, "memory": numbers.size}


@dataclass(frozen=True)
class Line:
    """One property of the runs. values: a text per run; numbers.UNKNOWN where it was not measured or has no meaning."""

    group: str
    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether two runs have different values."""
        return len(set(self.values)) > 1


def lines_of(
    requests: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    data: Callable[[str], str],
) -> tuple[Line, ...]:
    """Return the table.

    Args:
        requests: the requests of the merges as JSON values.
        rows: per request, its row in a comparison (`requests.comparison.row_of`).
        titles: column of a comparison -> its title.
        data: name of a data set -> its label for the reader.
    """
    settings = [_settings(request, data) for request in requests]
    names = list(dict.fromkeys(name for one in settings for name in one))
    lines = [Line("Settings", name, tuple(one.get(name, numbers.UNKNOWN) for one in settings)) for name in names]
    for group, formats in (("Figures", FIGURES), ("Cost", COSTS)):
        for column, write in formats.items():
            values = tuple(_written(row[column], write) for row in rows)
            name = "Peak memory" if column == "memory" else "Duration" if column == "seconds" else titles[column]
            lines += [Line(group, name, values)] if set(values) != {numbers.UNKNOWN} else []
    return tuple(lines)


def _written(value: float, write: Callable[[float], str]) -> str:
    return numbers.UNKNOWN if math.isnan(value) else write(value)


def _settings(request: Mapping[str, Any], data: Callable[[str], str]) -> dict[str, str]:
    """Name -> text of everything that the request asks for."""
    texts = {f"Network {letter(number)}": model["name"] for number, model in enumerate(request["models"])}
    texts |= {"Base network": request["base"]["name"]} if request["base"] else {}
    for role in ROLES:
        method = find(role, request[role])
        texts[role.capitalize()] = method.label
        values: dict[str, Any] = request["settings"].get(role, {})
        labels = {field.name: field.metadata["label"] for field in fields(method.settings)}
        texts |= {f"{method.label}: {labels.get(name, name)}": f"{value}" for name, value in values.items()}
    return texts | {
        "Data set": data(request["dataset"]) or "none",
        "Images": numbers.count(request["images"]),
        "Points": f"{request['points']}",
        "Seed": f"{request['seed']}",
    }
