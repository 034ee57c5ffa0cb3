"""Device, threads and memory of the current process."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Place:
    """Place where a worker runs.

    Attributes:
        device: description for users.
        node: host name.
        memory_used, memory_total: bytes of the machine's memory.
        gpu_memory_used, gpu_memory_total: bytes of the GPU's memory, None without a GPU.
    """

    device: str
    node: str
    memory_used: int
    memory_total: int
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None


def configure_torch(threads: int) -> None:
    """Set up torch once per process: the number of threads, and exact convolutions on a GPU.

    threads: number of threads; 0 leaves it unchanged (Ray sets it to one by default).
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False  # TF32's error of 1e-3 would show in all results, also in |B - pi(B)|
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


def whereabouts(device: str) -> Place:
    """Place of this process; a GPU is described only if `device` is "cuda" and torch can use it."""
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
    """Device and versions for a report: keys device, torch, threads, python, mergescope."""
    import torch

    from merging import __version__

    return {
        "device": whereabouts(device).device,
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "mergescope": __version__,
    }
