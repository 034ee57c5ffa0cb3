"""Measures of sweeps: those of merges, and the numbers that studies declare. torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from merging.results.sweep_report import MEASURES, NAIVE, Measure
from merging.studies.registry import find_study, studies


@cache
def measures() -> Mapping[str, Measure]:
    """Key -> measure: those of merges, then "study.number" for every number of a study."""
    of_studies = {
        f"{study.key}.{key}": Measure(number.title, number.share)
        for study in studies().values()
        for key, number in study.numbers.items()
    }
    return {**MEASURES, **of_studies}


@cache
def with_numbers() -> Mapping[str, str]:
    """Key -> label of the studies that a sweep can run, i.e. of those that declare numbers."""
    return {study.key: study.label for study in studies().values() if study.numbers}


def study_numbers(key: str, finding: Any) -> dict[str, float]:
    """The numbers of a study's result, also of the naive average; without those that are undefined."""
    found: dict[str, float] = {}
    for name, number in find_study(key).numbers.items():
        found[f"{key}.{name}"] = float(number.merge(finding))
        if number.naive is not None:
            found[f"{NAIVE}{key}.{name}"] = float(number.naive(finding))
    return {name: value for name, value in found.items() if not math.isnan(value)}
