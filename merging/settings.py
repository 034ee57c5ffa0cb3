"""Settings are declared by the science and drawn by the screen: a frozen dataclass with bounds, unit and help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, TypeVar

from merging.errors import InvalidSetting

S = TypeVar("S")
Scalar = bool | int | float | str


@dataclass(frozen=True)
class NoSettings:
    """For a method that has nothing to set."""


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
) -> Any:
    """A field of a settings dataclass; its type is that of `default`.

    low, high: inclusive bounds of a number; choices: the allowed words; unit: shown behind the number.
    """
    declared = {"label": label, "help": help, "low": low, "high": high, "step": step, "choices": choices, "unit": unit}
    return field(default=default, metadata=declared)


def read_settings(declared: type[S], values: Mapping[str, Any] | None) -> S:
    """`values` as an instance of the settings class `declared`; missing ones take their default.

    Raises InvalidSetting naming the setting, what was found and what is allowed.
    """
    known = {f.name: f for f in fields(declared)}  # type: ignore[arg-type]
    given = dict(values or {})
    for name in given:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise InvalidSetting(f"There is no setting {name!r} here. Known settings: {allowed}.")
    return declared(**{name: _checked(known[name], value) for name, value in given.items()})


def settings_dict(settings: Any) -> dict[str, Scalar]:
    """A settings value as a JSON-able dict, every field included."""
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
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[type(default)]
