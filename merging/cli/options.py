"""Arguments that several commands take, and how their texts are read."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from merging.errors import InvalidSetting
from merging.methods import ROLES, find
from merging.recipes import RECIPES
from merging.zoo.dataset_facts import FACTS


def add_machine(parser: argparse.ArgumentParser) -> None:
    """--device and --threads."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: torch's choice)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def add_nets(parser: argparse.ArgumentParser, *names: str) -> None:
    """Networks as positional arguments, and what is known of files that do not say it themselves."""
    for name in names:
        parser.add_argument(name.lower(), metavar=name, help="a checkpoint file, or an id that `zoo` lists")
    own = "for files that do not say: a known architecture, or package.module:factory"
    parser.add_argument("--architecture", metavar="KEY", help=own)
    parser.add_argument("--config", action="append", metavar="KEY=VALUE", help="what the factory is called with")
    parser.add_argument("--mean", type=_numbers, metavar="X[,Y,Z]", help="of the images in 0..1, one a channel")
    parser.add_argument("--std", type=_numbers, metavar="X[,Y,Z]", help="of the images in 0..1, one a channel")


def add_data(parser: argparse.ArgumentParser, images: int = 2000) -> None:
    """--data and --images."""
    parser.add_argument("--data", choices=tuple(FACTS), metavar="NAME", help=f"images: {', '.join(FACTS)}")
    parser.add_argument("--images", type=int, default=images, metavar="N", help=f"of each split (default {images})")


def add_methods(parser: argparse.ArgumentParser, align: str) -> None:
    """--recipe, --align, --combine, --correct, --set and --seed. align: the default alignment."""
    parser.add_argument("--recipe", choices=tuple(RECIPES), metavar="KEY", help="a paper's method; see `methods`")
    for role, default in (("align", align), ("combine", "average"), ("correct", "none")):
        parser.add_argument(f"--{role}", metavar="KEY", help=f"a method; see `methods` (default {default})")
    parser.add_argument("--set", action="append", metavar="ROLE.NAME=VALUE", help="such as align.restarts=5")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(default_align=align)


def chosen_methods(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Role -> method key, and role -> its settings: the recipe's, with what the person gave in their place.

    Raises InvalidSetting for unknown methods and settings.
    """
    recipe = RECIPES[options.recipe] if options.recipe else None
    defaults = {"align": options.default_align, "combine": "average", "correct": "none"}
    keys: dict[str, str] = {role: getattr(options, role) or getattr(recipe, role, defaults[role]) for role in ROLES}
    own = {role: dict(recipe.settings.get(role, {})) if recipe else {} for role in ROLES}
    settings: dict[str, dict[str, Any]] = {role: own[role] if not getattr(options, role) else {} for role in ROLES}
    for name, value in read_pairs(options.set, "--set").items():
        role, _, setting = name.partition(".")
        if role not in ROLES or not setting:
            raise InvalidSetting(f"--set takes ROLE.NAME=VALUE with a role of {', '.join(ROLES)}; got {name}={value}.")
        settings[role] |= read_texts(find(role, keys[role]).settings, {setting: value})
    return keys, settings


def read_texts(declared: type, texts: Mapping[str, str]) -> dict[str, Any]:
    """Settings given as texts, each as the type that a settings class declares; unknown ones as they are, to be
    refused by name."""
    known = {field.name: field for field in fields(declared)}
    return {name: _as(known[name].default, text) if name in known else text for name, text in texts.items()}


def read_pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """["a=1", "b=x"] as a dict. Raises InvalidSetting for a text without "="."""
    pairs = [text.partition("=") for text in texts or ()]
    for name, equals, value in pairs:
        if not (name and equals):
            raise InvalidSetting(f"{option} takes NAME=VALUE; got {name}{equals}{value}.")
    return {name: value for name, _, value in pairs}


def read_config(texts: Sequence[str] | None) -> dict[str, Any]:
    """A build configuration: whole numbers, lists of them (512,512 or 512,) and words."""

    def value(text: str) -> Any:
        pieces = [piece for piece in text.split(",") if piece]
        if not all(piece.isdigit() for piece in pieces):
            return text
        return [int(piece) for piece in pieces] if "," in text else int(text or 0)

    return {name: value(text) for name, text in read_pairs(texts, "--config").items()}


def _as(default: Any, text: str) -> Any:
    """The text as the type of the setting's default; the text itself where it is none, for the settings to refuse."""
    if isinstance(default, bool):
        words: Mapping[str, bool] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words.get(text.lower(), text)
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        return text


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(piece) for piece in text.split(","))
