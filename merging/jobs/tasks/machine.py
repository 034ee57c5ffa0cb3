"""Where a process computes: its device, threads and memory."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Place:
    """A worker's whereabouts: device in words, host name, memory of the machine and of its GPU in bytes."""

    device: str
    node: str
    memory_used: int
    memory_total: int
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None


def use_threads(threads: int) -> None:
    """Let torch use so many threads; Ray sets one where nobody says. 0 leaves them as they are."""
    import torch

    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


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
