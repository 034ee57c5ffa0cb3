"""Where a process computes: its device, threads and memory."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

import psutil

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in malloc.h
SMALL, KEPT = 2**25, 2**30  # bytes of a block that is reused, as glibc itself would set at most; and of all free ones


@dataclass(frozen=True)
class Place:
    """A worker's whereabouts: device in words, host name, memory of the machine and of its GPU in bytes."""

    device: str
    node: str
    memory_used: int
    memory_total: int
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None


def set_up(threads: int) -> None:
    """Ready this process to compute: torch's threads, and memory that is kept for reuse until `give_back`.

    threads: Ray sets one where nobody says; 0 leaves them as they are.  Memory: glibc learns from what happens to be
    freed how much of it to keep for what a network's next layers write. Until then it returns blocks to the system and
    asks for them again, and a job on a CPU takes up to a tenth longer.
    """
    import torch

    if mallopt := _glibc("mallopt"):
        mallopt(M_MMAP_THRESHOLD, SMALL)
        mallopt(M_TRIM_THRESHOLD, KEPT)
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


def give_back() -> None:
    """Return the memory that nothing uses any more to the system."""
    if trim := _glibc("malloc_trim"):
        trim(0)


def whereabouts(device: str) -> Place:
    """This process's place; the device is "cuda" only where torch can use a GPU."""
    import torch

    memory, node = psutil.virtual_memory(), socket.gethostname()
    if device == "cuda" and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Place(name, node, memory.total - memory.available, memory.total, total - free, total)
    threads = torch.get_num_threads()
    words = f"CPU, {threads} thread{'s' * (threads != 1)}"
    return Place(words, node, memory.total - memory.available, memory.total)


def machine(device: str) -> dict[str, str]:
    """What a report says of where it was made: device, torch, threads, Python, mergescope."""
    import torch

    from merging import __version__

    return {
        "device": whereabouts(device).device,
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "mergescope": __version__,
    }


def _glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
