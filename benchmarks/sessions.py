"""Load of a class of users on the one server: python -m benchmarks.sessions [--sessions 60] [--seconds 120] [--json]

The clients open sessions as browsers do (websockets, Streamlit's own messages) on the app that `python start.py`
starts, with a ledger that holds only the shipped runs. First, one session alone draws each page of the example with
two CNNs, once and then repeatedly: `cpu_per_rerun_ms`, the server's processor time. Then the sessions arrive, one every
150 ms: a third views finished runs on the first screen, a third watches the merge that is computed meanwhile, a third
clicks through similarity, neurons and reasons; each waits 5 to 15 s between two clicks.
The clients run in this process, on the same processors as the server and the worker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlencode

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from benchmarks.job import request
from benchmarks.pages import running
from benchmarks.timing import table, write
from merging.jobs.examples import LOOKED_INTO, merges
from merging.jobs.ledger.ledger import Ledger

THINK = 5.0, 15.0  # seconds between two clicks
SORRY = "Something went wrong"  # the text of a page that failed
APART = 0.15  # seconds between two arriving sessions
PATIENCE = 120.0  # seconds for one drawing
AGAIN = 10  # drawings per page, of which the mean counts: the system's clock has steps of 0.01 s
LOOKS = 5  # samples of the server's memory
Address = tuple[str, dict[str, str]]


def addresses(run: str, layer: str) -> dict[str, Address]:
    """Addresses of the pages of a finished run."""
    cell = {"pair": "A-B", "row": layer, "column": layer}
    return {
        "merge": ("merge", {"run": run}),
        "similarity": ("similarity", {"run": run}),
        "similarity, a cell": ("similarity", {"run": run, **cell}),
        "neurons, rows": ("neurons", {"run": run, "layer": layer}),
        "neurons, all units": ("neurons", {"run": run, "layer": layer, "view": "All units"}),
        "neurons, one unit": ("neurons", {"run": run, "layer": layer, "unit": "3"}),
        "why": ("why", {"run": run}),
        "landscape": ("landscape", {"run": run}),
        "method": ("method", {"run": run}),
    }


@dataclass
class Session:
    """One browser tab. known: hashes of messages that need not be sent again.  look: is shown every message."""

    socket: ClientConnection
    pages: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    polls: dict[str, float] = field(default_factory=dict)
    address: Address = ("", {})
    look: Callable[[ForwardMsg], object] = lambda message: None

    async def go(self, address: Address, fragment: str = "", widgets: Iterable[WidgetState] = ()) -> float:
        """Open a page, or refresh it or a fragment, with values of widgets; return the seconds until it was drawn."""
        page, params = address
        message = BackMsg()
        state = message.rerun_script
        state.query_string = urlencode(params)
        state.cached_message_hashes.extend(self.known)
        state.widget_states.widgets.extend(widgets)
        if fragment:
            state.fragment_id, state.is_auto_rerun = fragment, True
        if page in self.pages:
            state.page_script_hash = self.pages[page]
        else:
            state.page_name = page
        self.address = address
        begin = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        async with asyncio.timeout(PATIENCE):
            await self._drawn()
        return time.perf_counter() - begin

    async def _drawn(self) -> None:
        """Read messages until the script has ended."""
        while True:
            message = ForwardMsg.FromString(await self.socket.recv(decode=False))
            if message.metadata.cacheable and message.hash:
                self.known.add(message.hash)
            self.look(message)
            kind = message.WhichOneof("type")
            if kind == "new_session" and not message.metadata.run.fragment_ids:
                self.polls.clear()
            elif kind == "navigation":
                self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            elif kind == "auto_rerun":
                self.polls[message.auto_rerun.fragment_id] = message.auto_rerun.interval
            elif kind == "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    self.polls.pop(fragment, None)
            elif kind == "session_event":
                raise SystemExit(f"the page failed: {message.session_event}")
            elif kind == "delta" and SORRY in message.delta.new_element.alert.body:
                raise SystemExit("the page failed, and the server's log says why")
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return


async def opened(address: str, visitor: str = "") -> Session:
    """Open a tab of the visitor with this random name in the cookie; of a new one without a name."""
    cookie = {"Cookie": f"mergescope_owner={visitor or secrets.token_hex(16)}"}
    url = f"{address.replace('http', 'ws')}/_stcore/stream"
    protocol: list[str] = ["streamlit"]
    return Session(await connect(url, subprotocols=protocol, max_size=None, additional_headers=cookie))  # type: ignore[arg-type]


@dataclass
class Load:
    """Seconds per drawing in all sessions. firsts: a visitor's first page.  reruns: later pages.  polls: fragments."""

    server: str
    watched: list[str]
    ends: float
    firsts: list[float] = field(default_factory=list)
    reruns: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def visit(self, number: int) -> None:
        """Run one session from its arrival until the end."""
        await asyncio.sleep(number * APART)
        chance = random.Random(number)
        try:
            begin = time.perf_counter()
            session = await opened(self.server)
            await session.go(("", {}))
            self.firsts.append(time.perf_counter() - begin)
            while (left := self.ends - time.perf_counter()) > 0:
                await self._think(session, min(left, chance.uniform(*THINK)))
                if time.perf_counter() < self.ends:
                    self.reruns.append(await session.go(self._next(chance, number % 3)))
            await session.socket.close()
        except (OSError, TimeoutError, WebSocketException, SystemExit) as error:
            self.errors.append(f"session {number}: {type(error).__name__} {error}")

    def _next(self, chance: random.Random, habit: int) -> Address:
        """A session's next address. habit: 0 finished runs, 1 the merge that is running, 2 pages of finished runs."""
        if habit == 0:
            return "merge", {"run": chance.choice([run.id[:12] for run in merges().values()])}
        if habit == 1:
            return "merge", {"run": self.watched[-1][:12]}
        pair = chance.choice(list(LOOKED_INTO))
        pages = addresses(merges()[pair].id[:12], LOOKED_INTO[pair])
        name = chance.choice([name for name in pages if name not in ("merge", "landscape", "method")])
        page, params = pages[name]
        return page, {**params, "unit": str(chance.randrange(8))} if "unit" in params else params

    async def _think(self, session: Session, seconds: float) -> None:
        """Wait, and meanwhile draw the fragments that the page polls."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            if not session.polls:
                await asyncio.sleep(left)
                return
            fragment, interval = min(session.polls.items(), key=lambda poll: poll[1])
            await asyncio.sleep(min(left, interval))
            if time.perf_counter() < until and fragment in session.polls:
                self.polls.append(await session.go(session.address, fragment))


async def alone(server: str, process: psutil.Process) -> dict[str, dict[str, float]]:
    """Milliseconds of the server's processor time per page: the first drawing, and the mean of later ones."""
    costs: dict[str, dict[str, float]] = {}
    for preset in ("mlps", "cnns"):  # the first example loads what the pages import
        session = await opened(server)  # the Neurons page keeps a session's last view
        await session.go(("", {}))
        for name, address in addresses(merges()[preset].id[:12], LOOKED_INTO[preset]).items():
            first = await _spent(session, address, process, 1)
            costs[name] = {"first": round(first), "again": round(await _spent(session, address, process, AGAIN))}
        await session.socket.close()
    return costs


async def _spent(session: Session, address: Address, process: psutil.Process, times: int) -> float:
    """Mean milliseconds of the server's processor time per drawing of a page, over `times` drawings."""
    begin = sum(process.cpu_times()[:2])
    for _ in range(times):
        await session.go(address)
        await asyncio.sleep(0.1)  # the server's work after the last message belongs to the drawing too
    return 1000 * (sum(process.cpu_times()[:2]) - begin) / times


def merging_on(home: str, watched: list[str], over: threading.Event) -> None:
    """Submit one merge after the other, so that one always runs. watched: the runs' ids; the last one is running."""
    ledger = Ledger(Path(home))
    seed = 1000
    while not over.is_set():
        seed += 1
        merge_request = request("cnn", seed, 2000, 25)
        ledger.submit(merge_request, "benchmark")
        watched.append(merge_request.id)
        while not over.wait(0.5):
            job = ledger.job(merge_request.id)
            if job is None or not job.open:
                break


async def crowd(
    server: str, process: psutil.Process, watched: list[str], sessions: int, seconds: float
) -> tuple[Load, list[int]]:
    """Run that many sessions for that long; return their measurements, and LOOKS samples of the server's megabytes."""
    coming = sessions * APART
    load, megabytes = Load(server, watched, time.perf_counter() + coming + seconds), list[int]()

    async def look() -> None:
        await asyncio.sleep(coming)
        for _ in range(LOOKS):
            await asyncio.sleep(seconds / (LOOKS + 1))
            megabytes.append(round(process.memory_info().rss / 1e6))

    await asyncio.gather(look(), *(load.visit(number) for number in range(sessions)))
    return load, megabytes


def centiles(seconds: list[float]) -> tuple[float, float, float]:
    """50th, 95th and 99th percentile of drawing times, in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return round(1000 * cuts[49]), round(1000 * cuts[94]), round(1000 * cuts[98])


def server_process(port: int) -> psutil.Process:
    """Process of the app: the one that listens on the port."""
    for process in psutil.Process().children(recursive=True):
        if any(link.laddr.port == port and link.status == "LISTEN" for link in process.net_connections("tcp")):
            return process
    raise SystemExit("The app's process was not found.")


def measured(sessions: int, seconds: float) -> Iterator[tuple[str, object]]:
    """Name and value of each measurement."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        with running() as (server, _):
            process = server_process(int(server.rpartition(":")[2]))
            yield "cpu_per_rerun_ms", asyncio.run(alone(server, process))
            watched: list[str] = []
            over = threading.Event()
            asking = threading.Thread(target=merging_on, args=(home, watched, over))
            asking.start()
            while not watched:
                time.sleep(0.1)
            load, megabytes = asyncio.run(crowd(server, process, watched, sessions, seconds))
            over.set()
            asking.join()
            yield from zip(("p50_ms", "p95_ms", "p99_ms"), centiles(load.reruns + load.polls), strict=True)
            yield "first_screen_p95_ms", centiles(load.firsts)[1]
            yield "reruns", len(load.reruns) + len(load.polls)
            yield "merges", len(watched)
            yield "server_rss_mb", round(process.memory_info().rss / 1e6)
            yield "server_rss_over_time_mb", megabytes
            yield "errors", load.errors


def main() -> None:
    """Measure, and print a table or JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sessions", type=int, default=60)
    options.add_argument("--seconds", type=float, default=120.0, help="after the last session came")
    options.add_argument("--json", action="store_true", help="print JSON")
    arguments = options.parse_args()
    figures = dict(measured(arguments.sessions, arguments.seconds))
    if arguments.json:
        write(json.dumps(figures))
        return
    pages = figures.pop("cpu_per_rerun_ms")
    rows = [[name, str(cost["first"]), str(cost["again"])] for name, cost in pages.items()]  # type: ignore[attr-defined]
    write(table(["page", "first, ms of CPU", "again, ms of CPU"], rows))
    write("  ".join(f"{name} {value}" for name, value in figures.items()))
    sys.exit(bool(figures["errors"]))


if __name__ == "__main__":
    main()
