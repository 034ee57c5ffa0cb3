"""A cluster of two nodes that share nothing with the app but the network: other folder, no store, code by Ray alone."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from merging.jobs.ledger.ledger import Ledger
from merging.jobs.worker.supervisor import end_session, scratch_folder
from tests.jobs.conftest import until
from tests.jobs.making import merge_request

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a cluster of several nodes on one machine needs POSIX")
ROOT = os.getcwd()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def cluster(tmp_path):
    """The address and the token of two nodes of one CPU each, started in another folder."""
    elsewhere, scratch, port = tmp_path / "elsewhere", scratch_folder(), free_port()
    elsewhere.mkdir()
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    shared = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = bare | shared | {"MERGESCOPE_HOME": "/nonexistent/mergescope", "OMP_NUM_THREADS": "1"}
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--num-gpus=0"]
    ray += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--include-log-monitor=false"]
    head = [
        "--head",
        f"--port={port}",
        "--include-dashboard=false",
        f"--temp-dir={scratch}",
    ]
    nodes: list[subprocess.Popen] = []
    try:
        for more in (head, [f"--address=127.0.0.1:{port}"]):
            started = subprocess.Popen(ray + more, cwd=elsewhere, env=environment, start_new_session=True)
            nodes.append(started)
            until(lambda: _answers(port), 120)
        yield f"127.0.0.1:{port}", shared
    finally:
        for node in nodes:
            end_session(node.pid)
            node.wait()
        shutil.rmtree(scratch, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_merge_on_a_cluster_that_shares_no_disk(cluster, tmp_path):
    address, shared = cluster
    ledger, requests = Ledger(tmp_path / "home"), [merge_request()]
    for request in requests:
        ledger.submit(request, "ann")
    command = [sys.executable, "-m", "merging.jobs", "--device", "cpu", "--threads", "1", "--home", str(ledger.folder)]
    environment = os.environ | shared | {"RAY_ADDRESS": address}
    program = subprocess.Popen([*command, "--watch-stdin"], stdin=subprocess.PIPE, env=environment, cwd=ROOT)
    try:
        until(lambda: all(ledger.job(request.id).state == "done" for request in requests), 120)
        assert {ledger.report(request.id).missing for request in requests} == {""}
        until(lambda: len(ledger.workers()) == 3, 20)  # two slots, and the seat for short jobs
    finally:
        program.stdin.close()
        assert program.wait(20) == 0
