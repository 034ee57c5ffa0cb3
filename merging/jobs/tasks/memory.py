"""Peak memory of a task: torch reports GPU memory, and Linux reports process memory; unknown on other systems."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

PEAK, RESET = (
    "VmHWM:",
    "5",
)  # name of the peak in /proc/self/status; text that resets the peak to the current memory (man 5 proc)


def watch_memory(device: torch.device) -> None:
    """Reset the peak, because one warm worker process runs many tasks."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text(RESET)
    except OSError:  # not Linux, or forbidden in a container: `peak_memory` then includes earlier tasks, an upper bound
        return


def free_memory() -> int:
    """Bytes of memory that are available to programs on this machine now."""
    return int(psutil.virtual_memory().available)


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes since `watch_memory`; 0 if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    lines = [line for line in status.read_text("ascii", "replace").splitlines() if line.startswith(PEAK)]
    return 1024 * int(lines[0].split()[1]) if lines else 0
