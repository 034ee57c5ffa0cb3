"""Arguments that several commands take, and the parsing of their values."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.methods.recipes import RECIPES
from merging.methods.registry import ROLES, find

MOST_THREADS = 1024  # torch crashes if the number far exceeds that of the cores

IMAGES, POINTS, SEED = (WHOLE_NUMBERS[name] for name in ("images", "points", "seed"))


# Options that name what a command reads: checkpoints, factories in a user's own file, folders of images.
INPUTS = ("a", "b", "more", "net", "base", "other", "architecture", "data", "start")


@dataclass(frozen=True)
class Options:
    """The options of one command, parsed once and never changed; each is an attribute."""

    values: Mapping[str, Any]

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> Options:
        """Return the options that argparse parsed."""
        return cls(MappingProxyType(vars(parsed)))

    def __getattr__(self, name: str) -> Any:
        """Return the value of this option. Raises AttributeError if the command has no such option."""
        values = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"This command has no option {name}.")
        return values[name]

    def inputs(self) -> list[str]:
        """Return the values that may name files or folders that the command reads."""
        given = (self.values.get(name) for name in INPUTS)
        lists = (value if isinstance(value, list | tuple) else [value] for value in given)
        return [str(text) for values in lists for text in values if text]

    def with_value(self, name: str, value: object) -> Options:
        """Return a copy of the options with one value replaced."""
        return Options(MappingProxyType({**self.values, name: value}))


def whole(low: int, high: int, step: int = 1) -> Callable[[str], int]:
    """Return an argparse type: whole numbers from `low` to `high` inclusive; with step 2 and odd `low`, odd ones."""
    kind = "an odd" if step == 2 else "a whole"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number not in range(low, high + 1, step):
            raise argparse.ArgumentTypeError(f"takes {kind} number from {low} to {high}; got {text!r}")
        return number

    return read


def numbers(text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas, as an argparse type."""
    try:
        return tuple(float(piece) for piece in text.split(","))
    except ValueError:
        message = f"takes one number per channel, separated by commas, such as 0.5 or 0.49,0.48,0.45; got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute")
    help_text = "CPU threads (default 0: torch's choice)"
    parser.add_argument("--threads", type=whole(0, MOST_THREADS), default=0, metavar="N", help=help_text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def add_nets(parser: argparse.ArgumentParser, *names: str, more: str = "") -> None:
    """Add networks as positional arguments, and options for facts that their files do not state.

    more: the help text of further networks; "" if the command takes none.
    """
    for name in names:
        parser.add_argument(name.lower(), metavar=name, help="a checkpoint file, or an id that `zoo` lists")
    if more:  # without a default, argparse would call them required
        parser.add_argument("more", nargs="*", default=(), metavar="C", help=f"{more}; directly after B")
    own = "if the file does not say: a key, torchvision/NAME, timm/NAME, package.module:factory or a .pt2 of the net"
    parser.add_argument("--architecture", metavar="KEY", help=own)
    parser.add_argument(
        "--config",
        action="append",
        metavar="KEY=VALUE",
        help="an argument of the factory or architecture, such as nonlinearity=tanh",
    )
    help_text = "the weights to read from a file that holds several, such as ema or student"
    parser.add_argument("--weights", metavar="NAME", default="", help=help_text)
    help_text = "of the training images with pixels in 0..1, one per channel"
    parser.add_argument("--mean", type=numbers, metavar="X[,Y,Z]", help=f"mean {help_text}")
    parser.add_argument("--std", type=numbers, metavar="X[,Y,Z]", help=f"standard deviation {help_text}")


def add_data_name(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add --data, which `images.read_data_name` turns into the name of a data set."""
    help = "images: the name of a data set, or a path; see `data`" + (f" (default {default})" if default else "")
    parser.add_argument("--data", "--dataset", metavar="NAME", default=default, help=help)


def add_data(parser: argparse.ArgumentParser, images: int = 2000) -> None:
    """Add --data and --images."""
    add_data_name(parser)
    help_text = f"{IMAGES.help} (default {images})"
    parser.add_argument("--images", type=whole(*IMAGES.bounds), default=images, metavar="N", help=help_text)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add --seed."""
    parser.add_argument("--seed", type=whole(*SEED.bounds), default=0, metavar="N", help=SEED.help)


def add_points(parser: argparse.ArgumentParser, points: int = 25, most: int = POINTS.high) -> None:
    """Add --points, an odd number, so that one point lies half-way. points: the default. most: the upper bound."""
    allowed = whole(POINTS.low, most, POINTS.step)
    help_text = f"{POINTS.help} (default {points})"
    parser.add_argument("--points", type=allowed, default=points, metavar="N", help=help_text)


def add_methods(parser: argparse.ArgumentParser, align: str) -> None:
    """Add --recipe, --align, --combine, --correct, --set and --seed. align: the default alignment."""
    parser.add_argument("--recipe", choices=tuple(RECIPES), metavar="KEY", help="the methods of a paper; see `methods`")
    for role, default in (("align", align), ("combine", "average"), ("correct", "none")):
        parser.add_argument(f"--{role}", metavar="KEY", help=f"method to {role}; see `methods` (default {default})")
    parser.add_argument(
        "--set", action="append", metavar="ROLE.NAME=VALUE", help="a setting of a method, such as align.restarts=5"
    )
    add_seed(parser)
    parser.set_defaults(default_align=align)


def chosen_methods(options: Options) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return role -> method key and role -> settings, from the recipe and the options that override it.

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
            raise InvalidSetting(f"--set takes ROLE.NAME=VALUE, where ROLE is {', '.join(ROLES)}; got {name}={value}.")
        settings[role] |= read_texts(find(role, keys[role]).settings, {setting: value})
    return keys, settings


def check_base(combines: Iterable[str], base: object | None) -> None:
    """Raise InvalidRequest if a combination merges networks fine-tuned from a base network and --base is missing."""
    needing = [method.label for method in (find("combine", key) for key in combines) if method.needs_base]
    if needing and base is None:
        raise InvalidRequest(
            f"{needing[0]} merges networks fine-tuned from one base network: name the base with --base."
        )


def read_texts(declared: type, texts: Mapping[str, str]) -> dict[str, Any]:
    """Convert settings from texts to the types that a settings class declares.

    Unknown settings keep their text; a later check refuses them by name.
    """
    by_name = {field.name: field for field in fields(declared)}
    return {name: _as(by_name[name].default, text) if name in by_name else text for name, text in texts.items()}


def read_pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """Parse ["a=1", "b=x"] into a dict. Raises InvalidSetting for a text without "="."""
    pairs = [text.partition("=") for text in texts or ()]
    for name, equals, value in pairs:
        if not (name and equals):
            raise InvalidSetting(f"{option} takes NAME=VALUE; got {name}{equals}{value}.")
    return {name: value for name, _, value in pairs}


def read_config(texts: Sequence[str] | None) -> dict[str, Any]:
    """Parse the values of --config: numbers, True, False, None, lists of these (512,512 or 512,) and strings."""

    def value(text: str) -> Any:
        if "," in text and not text.startswith(("'", '"', "(", "[", "{")):
            return [_literal(piece.strip()) for piece in text.split(",") if piece.strip()]
        return _literal(text)

    return {name: value(text) for name, text in read_pairs(texts, "--config").items()}


def _literal(text: str) -> Any:
    """Parse a number, truth value, None or quoted string in Python's notation; return any other text unchanged."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _as(default: Any, text: str) -> Any:
    """Convert the text to the type of the setting's default. A text that does not fit is returned for a later check."""
    if isinstance(default, bool):
        words: Mapping[str, bool] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words.get(text.lower(), text)
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        return text
