"""Declare the settings of a method as a frozen dataclass, with the bounds, unit and help that the pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, TypeVar

from merging.errors import InvalidSetting

S = TypeVar("S")
Scalar = bool | int | float | str


@dataclass(frozen=True)
class NoSettings:
    """The settings class of a method without settings."""


def setting(
    default: Scalar,
    *,
    label: str,
    help: str,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    only: tuple[str, tuple[str, ...]] | None = None,
) -> Any:
    """Declare a field of a settings dataclass. The field has the type of `default`.

    low, high: inclusive bounds of a number.  step: increment of the number's input on a page.  choices: the allowed
    values of a string.  unit: shown after the number.  only: another setting, and its values with which this one has an
    effect; with others, a page does not let people change it.
    """
    bounds = {"low": low, "high": high, "step": step, "choices": choices}
    metadata = {"label": label, "help": help, "unit": unit, "only": only, **bounds}
    return field(default=default, metadata=metadata)


def read_settings(declared: type[S], values: Mapping[str, Any] | None) -> S:
    """Convert `values` to an instance of the settings class `declared`. Missing settings get their defaults.

    Raises InvalidSetting, whose text names the setting, its value and the allowed values.
    """
    settings = {f.name: f for f in fields(declared)}  # type: ignore[arg-type]
    entries = dict(values or {})
    for name in entries:
        if name not in settings:
            allowed = ", ".join(settings) or "none"
            raise InvalidSetting(f"There is no setting {name!r}. Known settings: {allowed}.")
    return declared(**{name: _checked(settings[name], value) for name, value in entries.items()})


def changed_settings(declared: type, values: Mapping[str, Any] | None) -> dict[str, Scalar]:
    """Return those of the values that differ from their defaults, checked as `read_settings` checks them."""
    usual = asdict(declared())
    return {name: value for name, value in asdict(read_settings(declared, values)).items() if value != usual[name]}


def settings_dict(settings: Any) -> dict[str, Scalar]:
    """Convert settings to a JSON-able dict with all fields."""
    return asdict(settings)


def _checked(declared: Field[Any], value: Any) -> Scalar:
    name, default, meta = declared.name, declared.default, declared.metadata
    assert default is not MISSING
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise InvalidSetting(f"{name} must be {_kind(default)}, not {value!r}.")
    if meta["choices"] and value not in meta["choices"]:
        raise InvalidSetting(f"{name} is {value!r}; it must be one of {', '.join(meta['choices'])}.")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = meta["low"], meta["high"]
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            raise InvalidSetting(f"{name} is {value}; it must lie between {low} and {high}.")
    return value


def _kind(default: Scalar) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(default)]
