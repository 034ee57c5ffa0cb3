"""The bounds that every checkpoint file must keep, whoever brings it. torch-free.

A file within them holds a few hundred million numbers at most, and reading it costs memory in proportion to its size.
"""

from __future__ import annotations

import re

MEGABYTE = 1_000_000
MAX_FILE = 2_000 * MEGABYTE
MAX_TENSORS = 4_000
MAX_KEY = 200  # characters
MAX_DIMENSIONS = 8
MAX_HEADER = 8 * MEGABYTE  # a safetensors header, or the pickle inside a torch.save file
MAX_STORY = 4_000_000  # characters of our own metadata
CHILD_SPARE = 512 * MEGABYTE  # memory of the reading process beside five times the file
CHILD_SECONDS = 60

# Dotted names as torch makes them. Anything else (slashes, quotes, angle brackets) never came from a module.
KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def shown(text: str, length: int = 60) -> str:
    """A foreign name as it may stand in a message: printable ASCII, quoted, cut at `length` characters."""
    plain = ascii(text[: length + 1])
    return plain if len(text) <= length else plain[:length] + "…'"
