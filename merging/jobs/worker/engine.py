"""Connection to Ray: started for this process alone on the loopback interface, or an existing cluster (RAY_ADDRESS).

Jobs are sent as bytes and arrays, because the workers of a cluster share no disk. A worker receives this package's code
with its first job.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from merging.jobs.requests.base import LONG, SHORT
from merging.jobs.tasks.payload import Payload
from merging.jobs.worker import ray_task
from merging.paths import ROOT

OBJECT_STORE = 400_000_000  # bytes; several times the size of one job's images
NICENESS = "5"  # of workers: pages stay fast, yet jobs get CPU time beside other programs (hardly any with Ray's 15)
PACKAGE = ROOT / "merging"
SHARE = 0.9  # of a GPU, in Ray's accounts: what a long job takes; a short one fits beside it
VITAL = ("gcs_server", "raylet")  # if either ends, Ray takes more than a minute to report it
UNUSED = ("log_monitor.py", "monitor.py", "dashboard.py")  # logs, autoscaling, web page; 170 MB together


@dataclass(frozen=True)
class Plan:
    """Resources of jobs.

    Attributes:
        device: "auto", "cpu" or "cuda".
        threads: torch threads per job.
        slots: number of long jobs that run at the same time on this machine; a short one runs beside them.
    """

    device: str
    threads: int
    slots: int


def set_environment(processes: int) -> None:
    """Set the environment variables that Ray reads on import.

    processes: number of idle worker processes to keep; Ray ends further ones after a second.

    Unless RAY_ADDRESS names a cluster, they make Ray require a token and listen on the loopback interface only; by
    default, Ray listens on all interfaces.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", NICENESS)
    os.environ.update(RAY_num_workers_soft_limit=str(processes))
    if not os.environ.get("RAY_ADDRESS"):
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the switch that makes Ray bind to 127.0.0.1


class Engine:
    """Ray with the job task, the warm-up task and the mailbox. Created once per process, ended by `stop`."""

    def __init__(self, plan: Plan, scratch: Path) -> None:
        """scratch: an empty folder with a short path, for Ray's sockets and logs."""
        set_environment(plan.slots + 1)
        import ray

        self.ray, self.plan = ray, plan
        self._run, self._warm = dict[str, Any](), dict[str, Any]()  # lane -> remote function
        address = os.environ.get("RAY_ADDRESS")
        self.is_local = not address  # only local workers can read this machine's files
        shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address:
            ray.init(address=address, runtime_env={"py_modules": [str(PACKAGE)]}, **shared)
        else:
            ray.init(
                address="local",
                num_cpus=plan.threads * plan.slots,
                num_gpus=0 if plan.device == "cpu" else None,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                _temp_dir=str(scratch),
                **shared,
            )
        started = psutil.Process().children(recursive=True) if self.is_local else []
        self._vital = {name: process for process in started if (name := process.name()) in VITAL}
        for process in started:
            script = Path(_script(process))
            if script.name in UNUSED and script.is_relative_to(Path(ray.__file__).parent):
                process.kill()  # killed early, before it writes messages
        self._mailbox: Any = ray.remote(num_cpus=0, max_restarts=-1)(ray_task.Mailbox).remote()
        device = "cuda" if ray.cluster_resources().get("GPU", 0) >= 1 else "cpu"
        self.use(device if plan.device == "auto" else plan.device)

    def use(self, device: str) -> None:
        """Run jobs on "cpu" or "cuda" from now on.

        Each long GPU job has its own process, whose end frees all GPU memory. Short jobs share a warm process.
        """
        self.plan = replace(self.plan, device=device)
        long = {"num_gpus": SHARE, "max_calls": 1} if device == "cuda" else {"num_cpus": self.plan.threads}
        # By default Ray ends a process with a GPU after one task. The short lane keeps it, with torch imported.
        short = {"num_gpus": 1 - SHARE, "max_calls": 0} if device == "cuda" else {"num_cpus": 0}
        remote: Any = self.ray.remote
        for lane, needs in ((LONG, long), (SHORT, short)):
            self._run[lane] = remote(max_retries=0, **needs)(_run)
            self._warm[lane] = remote(max_retries=0, **needs)(ray_task.warm_up)

    def lost(self) -> str:
        """Name of a vital Ray process that ended; "" while all of them run, and always "" for a cluster."""
        return next((name for name, process in self._vital.items() if not _lives(process)), "")

    def slots(self) -> int:
        """Number of jobs that the current nodes can run at the same time, at least 1."""
        need, resource = (1, "GPU") if self.plan.device == "cuda" else (self.plan.threads, "CPU")
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return max(1, sum(int(node.get(resource, 0) // need) for node in alive))

    def start(self, kind: str, lane: str, payload: Payload, key: ray_task.Key) -> Any:
        """Start a job of this kind in this lane; return the reference of its Outcome."""
        return self._run[lane].remote(kind, payload, key, self._mailbox)

    def warm(self, lane: str) -> Any:
        """Warm up a worker for jobs of this lane; return the reference of its Place."""
        return self._warm[lane].remote(self.plan.device, self.plan.threads if lane == LONG else 1)

    def mails(self) -> list[ray_task.Mail]:
        """All progress messages since the last call; [] while a lost mailbox is restarted."""
        try:
            return self.ray.get(self._mailbox.take.remote(), timeout=5)
        except self.ray.exceptions.RayError:
            return []

    def ready(self, reference: Any) -> bool:
        """Whether the result of a reference is ready."""
        return bool(self.ray.wait([reference], timeout=0)[0])

    def result(self, reference: Any) -> Any:
        """Result of a ready reference, None if the worker died."""
        try:
            return self.ray.get(reference)
        except (self.ray.exceptions.RayError, OSError) as error:
            logging.getLogger(__name__).warning("a worker was lost (%s)", type(error).__name__)
            return None

    def kill(self, reference: Any) -> None:
        """Kill the job's process at once."""
        self.ray.cancel(reference, force=True)

    def stop(self) -> None:
        """End Ray and all its processes."""
        self.ray.shutdown()


def _script(process: psutil.Process) -> str:
    """Python file that a process of Ray runs, "" if it runs none."""
    with suppress(psutil.NoSuchProcess):
        return next((word for word in process.cmdline() if word.endswith(".py")), "")
    return ""


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def make_plan(device: str, threads: int, slots: int) -> Plan:
    """Make the plan. device: "auto", "cpu" or "cuda". threads, slots: 0 derives them from the machine's cores."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    slots = slots or (2 if cores >= 4 else 1)
    return Plan(device, threads or max(1, cores // slots), slots)


def _run(kind: str, payload: Payload, key: ray_task.Key, mailbox: Any) -> Any:
    send: Callable[[ray_task.Mail], Any] = mailbox.put.remote
    return ray_task.run_job(kind, payload, key, send)
