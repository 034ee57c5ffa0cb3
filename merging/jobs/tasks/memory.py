"""The most memory that a task held: of the GPU by torch, of the process by Linux; elsewhere it is not known."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

PEAK, RESET = "VmHWM:", "5"  # what Linux calls the peak, and what sets it back to what is held now (man 5 proc)


def watch_memory(device: torch.device) -> None:
    """Forget earlier tasks' peaks: a warm worker is one process for many."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text(RESET)
    except OSError:  # not Linux, or a container that forbids it: `peak_memory` would tell an older peak, an upper bound
        return


def free_memory() -> int:
    """Bytes that this machine can give to programs now."""
    return int(psutil.virtual_memory().available)


def peak_memory(device: torch.device) -> int:
    """Bytes at the highest point since `watch_memory`; 0 where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    lines = [line for line in status.read_text("ascii", "replace").splitlines() if line.startswith(PEAK)]
    return 1024 * int(lines[0].split()[1]) if lines else 0
