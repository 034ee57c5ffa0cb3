"""The workers as rows of a table."""

from __future__ import annotations

from merging.jobs.ledger.jobs import Worker
from merging.text import numbers
from ui.shell.state import ledger, not_hidden


def worker_lines(workers: tuple[Worker, ...]) -> list[dict[str, str]]:
    """One table row per worker: device, current job, memory."""
    return [
        {
            "Worker": worker.name,
            "Device": worker.device,
            "Now": _doing(worker),
            "Memory": f"{numbers.size(worker.memory_used)} of {numbers.size(worker.memory_total)}",
            "GPU memory": _gpu(worker),
        }
        for worker in workers
    ]


def _doing(worker: Worker) -> str:
    """What the worker does. The id of a job that the visitor may not see stays hidden, because it is an address."""
    if not worker.busy:
        return "free"
    job = ledger().job(worker.busy)
    return f"runs {worker.busy[:6]}" if job is not None and not_hidden([job]) else "runs a private job"


def _gpu(worker: Worker) -> str:
    if worker.gpu_memory_total is None:
        return "no GPU"
    used = f"{numbers.size(worker.gpu_memory_used)} of " if worker.gpu_memory_used is not None else ""
    return f"{used}{numbers.size(worker.gpu_memory_total)}"
