"""Metadata of a checkpoint (architecture, data set, seed ...), checked because files are untrusted. torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from merging.errors import CheckpointError
from merging.zoo.architectures.names import NAMES, PROGRAM, is_known

KEY = "mergescope"  # entry of the safetensors metadata that holds the story
MAX_NAME = 120
WRAPPERS = ("module.", "_orig_mod.")
MAX_CLASSES = 10_000
MAX_NUMBER = 100_000  # the largest width, class count or pixel count in a configuration
MAX_OF_PROGRAM = 10**9  # a program's configuration only identifies it; nothing is built from its numbers
MAX_BLOCKS = 256


@dataclass(frozen=True)
class Story:
    """Everything in a checkpoint except its weights; an empty field means unknown.

    mean, std: one value per channel, for images in 0..1.
    """

    name: str = ""
    architecture: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    seed: int | None = None
    epochs: int | None = None


def read_story(raw: Mapping[str, Any]) -> Story:
    """Check a file's metadata and return it as a Story. Raises CheckpointError naming the first invalid field."""
    architecture = raw.get("architecture", "")
    if not isinstance(architecture, str) or not (architecture == "" or is_known(architecture)):
        raise _wrong("architecture", f"is none of {', '.join(NAMES)}")
    return Story(
        name=clean_name(raw.get("name", "")),
        architecture=architecture,
        config=_config(raw.get("config", {}), MAX_OF_PROGRAM if architecture == PROGRAM else MAX_NUMBER),
        dataset=_word(raw, "dataset"),
        classes=_words(raw.get("classes", ())),
        mean=_numbers(raw, "mean"),
        std=_numbers(raw, "std"),
        seed=_count(raw, "seed"),
        epochs=_count(raw, "epochs"),
    )


def with_name(data: bytes, name: str) -> bytes:
    """Return a safetensors file of Mergescope's with another name in its metadata; its tensors are unchanged."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    told = header.get("__metadata__", {})
    if KEY not in told:
        return data
    told[KEY] = json.dumps({**json.loads(told[KEY]), "name": clean_name(name)})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def own_names(raw: Mapping[str, Any]) -> dict[str, str]:
    """Map Mergescope's tensor names to the names in the user's file; {} if they are equal.

    Raises CheckpointError when the metadata holds no such table, or two tensors have the same name.
    """
    names = raw.get("names", {})
    words = isinstance(names, dict) and all(
        isinstance(name, str) and len(name) <= MAX_NAME * 2 for name in names.values()
    )
    if not words or len(set(names.values())) != len(names):
        raise _wrong("names", "is not a table of different tensor names")
    return dict(names)


def unwrapped_name(name: str) -> str:
    """A tensor's name in the user's own module, without the prefixes of DataParallel and torch.compile."""
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def clean_name(text: Any) -> str:
    """Make a name safe to display: printable, one line, at most 120 characters. It is never used as a path."""
    return "".join(letter for letter in str(text)[: 4 * MAX_NAME] if letter.isprintable()).strip()[:MAX_NAME]


def _config(raw: Any, most: int) -> dict[str, Any]:
    """Check the configuration. most: the largest number that is allowed in it."""
    if not isinstance(raw, dict) or len(raw) > 16 or not all(_is_small(value, most) for value in raw.values()):
        raise _wrong("config", f"is not a short table of words and whole numbers up to {most}")
    blocks = raw.get("blocks", [])
    if isinstance(blocks, list) and sum(block for block in blocks if isinstance(block, int)) > MAX_BLOCKS:
        raise _wrong("config", f"states more than {MAX_BLOCKS} blocks")
    return dict(raw)


def _is_small(value: Any, most: int) -> bool:
    if isinstance(value, list):
        return len(value) <= 64 and all(type(item) is int and 0 < item <= most for item in value)
    return (type(value) is int and 0 < value <= most) or (isinstance(value, str) and len(value) <= MAX_NAME)


def _word(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key) or ""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise _wrong(key, "is not a short word")
    return clean_name(value)


def _words(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, (list, tuple)) or len(raw) > MAX_CLASSES or not all(isinstance(word, str) for word in raw):
        raise _wrong("classes", f"is not a list of at most {MAX_CLASSES} names")
    return tuple("".join(letter for letter in word[:MAX_NAME] if letter.isprintable()) for word in raw)


def _numbers(raw: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = raw.get(key) or ()
    sequence = values if isinstance(values, (list, tuple)) else ("",)
    if len(sequence) > 16 or not all(type(value) in (int, float) and abs(value) < 1e6 for value in sequence):
        raise _wrong(key, "is not a short list of numbers")
    if key == "std" and not all(value > 0 for value in sequence):
        raise _wrong(key, "holds a value that is not above 0")
    return tuple(float(value) for value in sequence)


def _count(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None or (type(value) is int and 0 <= value < 2**63):
        return value
    raise _wrong(key, "is not a whole number")


def _wrong(key: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"The file's mergescope metadata is damaged: {key} {what}. Save the weights without metadata."
    )
