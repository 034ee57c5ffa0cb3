"""Checks of the values in requests, with their error messages. torch-free."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from merging.errors import InvalidRequest
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.zoo.architectures.names import DEEP, NAMES, WIDTHS, is_known, is_torchvision
from merging.zoo.datasets.facts import FACTS
from merging.zoo.datasets.known import find_facts, is_dataset_name
from merging.zoo.datasets.own import is_own

SHA256 = re.compile(r"[0-9a-f]{64}")
TEXT = 200  # largest number of characters of a model's or layer's name
CONFIG = 4_000  # largest number of characters of a build configuration as JSON
CONFIG_ITEMS = 64  # largest number of entries of one list in a build configuration
MAX_WIDTH = 8_192
MAX_NUMBERS = 4_000_000  # numbers per image, as in a colour image of 1,150 x 1,150 pixels


def set_fields(value: Any, **fields: Any) -> None:
    """Set fields of a frozen dataclass inside its __post_init__."""
    for name, content in fields.items():
        object.__setattr__(value, name, content)


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Build configuration as plain JSON values. Raises InvalidRequest if it has other values or is too long."""
    try:
        text = json.dumps(dict(config), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"A build configuration must consist of plain JSON values ({error}).") from error
    if len(text) > CONFIG:
        raise InvalidRequest(f"A build configuration may have at most {CONFIG} characters as JSON; got {len(text)}.")
    return json.loads(text)


def check_architecture(key: str, config: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for an unknown architecture, or a number beyond the allowed sizes."""
    if not is_known(key):
        raise InvalidRequest(f"No architecture is called {key!r}; known: {', '.join(NAMES)}.")
    for name, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) > CONFIG_ITEMS or any(isinstance(n, int | float) and not 0 <= n <= MAX_WIDTH for n in numbers):
            most = f"{CONFIG_ITEMS} numbers from 0 to {MAX_WIDTH}"
            raise InvalidRequest(f"{name} of {key} takes at most {most}; got {value!r}.")
        if name in WIDTHS and not all(type(number) is int and number > 0 for number in numbers):
            raise InvalidRequest(f"{name} of {key} takes whole numbers from 1 to {MAX_WIDTH}; got {value!r}.")
    shape = config.get("in_shape")
    if isinstance(shape, list) and math.prod(n for n in shape if isinstance(n, int | float)) > MAX_NUMBERS:
        raise InvalidRequest(f"in_shape of {key} may have at most {MAX_NUMBERS:,} numbers per image; got {shape!r}.")
    if not isinstance(config.get("widths", []), list) or (key in DEEP and "widths" not in config):
        found = f"got {config['widths']!r}" if "widths" in config else "there are none"
        raise InvalidRequest(
            f"{key} takes a list of widths, one for each hidden layer; {found}. On the command line, 64,64 is a list of"
            " two and 64, (with a comma) a list of one."
        )


def check_data(dataset: str, sha256: str, *, required: bool) -> None:
    """Raise InvalidRequest for an unknown data set or an invalid hash. required: whether "" as `dataset` is forbidden.

    A user's own images need not be on this machine: a worker has only the images of its payload, and users may delete
    their images after a run.
    """
    if not is_dataset_name(dataset) and (required or dataset):
        raise InvalidRequest(f"No data set is called {dataset!r}; known: {', '.join(FACTS)}.")
    if sha256:
        check_sha256(sha256, "The data set's hash")


def check_fit(dataset: str, architecture: str, config: Mapping[str, Any]) -> None:
    """Raise InvalidRequest if a network cannot process the data set's images or has too few classes for them."""

    facts, shape = find_facts(dataset), tuple(config.get("in_shape", ()))
    if facts is not None and is_torchvision(architecture) and facts.shape[0] != 3:
        raise InvalidRequest(
            f"torchvision's networks need colour images, but {facts.label} has grey images. Choose another data set."
        )
    if facts is not None and shape and shape != facts.shape:
        takes, has = ("×".join(map(str, size)) for size in (shape, facts.shape))
        anew = ""
        if is_own(dataset) and len(shape) == 3:
            anew = f" Upload the images again with the size {shape[1]}x{shape[2]}."
        raise InvalidRequest(f"The networks need images of size {takes}, but {facts.label} has {has}.{anew}")
    if facts is not None and config.get("classes", len(facts.classes)) < len(facts.classes):
        few = f"The networks have {config['classes']} classes, but {facts.label} has {len(facts.classes)}."
        raise InvalidRequest(f"{few} Choose the data set on which they were trained.")


def check_class_order(dataset: str, classes: Sequence[str], who: str) -> None:
    """Raise InvalidRequest if a network names a class of the data set for another output: its accuracy would be wrong.

    classes: the network's class names by output, () if unknown.  who: the network's name.
    """
    facts = find_facts(dataset)
    labels = {} if facts is None else {name: number for number, name in enumerate(facts.classes)}
    for number, name in enumerate(classes):
        if facts is not None and labels.get(name, number) != number and facts.classes[number : number + 1] != (name,):
            raise InvalidRequest(
                f"{who} has the class {name} at output {number}, but in {facts.label} its label is {labels[name]}. Put "
                "the rows of the last layer, and the names of the classes, into the order of the data set."
            )


def check_sha256(text: str, what: str) -> None:
    """Raise InvalidRequest if the text is not a sha256. what: subject of the message."""
    if not isinstance(text, str) or not SHA256.fullmatch(text):
        raise InvalidRequest(f"{what} must be a sha256 of 64 hexadecimal digits; got {str(text)[:80]!r}.")


def check_text(text: str, what: str) -> None:
    """Raise InvalidRequest if the text is empty or too long. what: subject of the message."""
    if not isinstance(text, str) or not 1 <= len(text) <= TEXT:
        raise InvalidRequest(f"{what} must have 1 to {TEXT} characters; got {str(text)[:40]!r}.")


def channel_numbers(values: Any) -> tuple[float, ...]:
    """Values as floats, one per channel. Raises InvalidRequest if there are none, or one is not finite."""
    numbers = tuple(float(value) for value in values)
    if not 1 <= len(numbers) <= 64 or not all(abs(number) < 1e6 for number in numbers):
        raise InvalidRequest(f"Mean and std need 1 to 64 finite numbers; got {len(numbers)}.")
    return numbers


def check_whole(request: Any, *names: str) -> None:
    """Raise InvalidRequest if a field is not a whole number within its bounds."""
    for name in names:
        check_number(name, getattr(request, name))


def check_number(name: str, value: Any) -> None:
    """Raise InvalidRequest if the value of a field in WHOLE_NUMBERS is no whole number within its bounds."""
    low, high = WHOLE_NUMBERS[name].bounds
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(f"{name} must be a whole number from {low} to {high}; got {value!r}.")
