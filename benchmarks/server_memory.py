"""Memory of the server while new runs are made and viewed: python -m benchmarks.server_memory [--runs 72] [--json]

One session views the pages of a shipped example, then of one small new merge after the other. The server keeps the
results that were viewed last, so its memory grows at first; then it must stay the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path

import psutil

from benchmarks.job import PAIRS, request
from benchmarks.pages import running
from benchmarks.sessions import addresses, opened, server_process
from benchmarks.timing import table, write
from merging.jobs.examples import LOOKED_INTO, merges
from merging.jobs.ledger.ledger import Ledger

IMAGES, POINTS = 100, 5
EVERY = 8  # runs between two samples
PAGES = ("merge", "similarity", "neurons", "why", "method")


async def samples(server: str, process: psutil.Process, ledger: Ledger, runs: int) -> dict[int, int]:
    """Number of new runs that were viewed -> megabytes of the server's memory."""
    session = await opened(server)
    await session.go(("", {}))
    for address in addresses(merges()["cnns"].id[:12], LOOKED_INTO["cnns"]).values():
        await session.go(address)
    megabytes = {0: round(process.memory_info().rss / 1e6)}
    pairs = sorted(PAIRS)
    for number in range(1, runs + 1):
        merge_request = request(pairs[number % len(pairs)], 1000 + number, IMAGES, POINTS)
        ledger.submit(merge_request, "benchmark")
        while (job := ledger.job(merge_request.id)) is None or job.open:
            await asyncio.sleep(0.3)
        if job.state != "done":
            raise SystemExit(f"The merge ended as {job.state}: {job.error}")
        for page in PAGES:
            await session.go((page, {"run": merge_request.id[:12]}))
        if number % EVERY == 0:
            megabytes[number] = round(process.memory_info().rss / 1e6)
    await session.socket.close()
    return megabytes


def main() -> None:
    """Measure, and print a table or JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=72)
    options.add_argument("--json", action="store_true", help="print JSON")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        with running() as (server, _):
            process = server_process(int(server.rpartition(":")[2]))
            megabytes = asyncio.run(samples(server, process, Ledger(Path(home)), arguments.runs))
    rows = [[str(runs), str(size)] for runs, size in megabytes.items()]
    write(json.dumps(megabytes) if arguments.json else table(["runs viewed", "server, MB"], rows))


if __name__ == "__main__":
    main()
