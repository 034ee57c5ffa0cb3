"""Bounds for every checkpoint file, from any source. torch-free.

A file within the bounds holds a few hundred million numbers at most, and the memory to read it is proportional to its
size.
"""

from __future__ import annotations

import re

MEGABYTE = 1_000_000
MAX_FILE = 2_000 * MEGABYTE
MAX_TENSORS = 4_000
MAX_KEY = 200  # characters
MAX_DIMENSIONS = 8
MAX_HEADER = 8 * MEGABYTE  # a safetensors header, or the pickle inside a torch.save file
MAX_STORY = 4_000_000  # characters of Mergescope's own metadata
CHILD_SPARE = 512 * MEGABYTE  # the reading process may use this and five times the file's size
UNPACKED_SPARE = 200 * MEGABYTE  # the files in an archive may hold this and twice the archive's size
CHILD_SECONDS = 60

# Dotted names as torch makes them. No module's tensor name holds anything else (slashes, quotes, angle brackets).
KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def shown(text: str, length: int = 60) -> str:
    """Make an untrusted name safe for a message: printable ASCII, quoted, cut at `length` characters."""
    plain = ascii(text[: length + 1])
    return plain if len(text) <= length else plain[:length] + "…'"
