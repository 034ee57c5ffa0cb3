"""Kills in the middle of a class: python -m benchmarks.class_faults [--kills 50] [--minutes 10] [--seed 0] [--json]

A class walks through a lesson in the app as `python start.py` starts it, while a worker merges. At random moments one
process is killed (SIGKILL): the app itself, which is then started again on its port, the supervisor, the dispatcher, or
the worker. Students without a browser (see `students`) open the page again when their connection breaks, as a browser
does, and go on answering.

    killed          number of kills by kind of process
    lost_answers    answers that a page showed as locked and that are not in the ledger afterwards, or are others there
    astray          students who did not stand at the step of the class at the end, and had not gone back themselves
    page_errors     failures that a page showed; broken connections are expected and counted apart
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil

from benchmarks.classroom import Room, Teacher
from benchmarks.faults import find
from benchmarks.sessions import merging_on, server_process
from benchmarks.students import Student
from benchmarks.timing import write
from merging.jobs.ledger.ledger import Ledger
from merging.paths import ROOT
from merging.teaching.classes import find_class
from merging.teaching.lesson import lessons

KINDS = ("app", "supervisor", "dispatcher", "worker")
APART = 0.4, 1.2  # seconds between two kills, as shares of their mean; a kill of the app takes longer
CALM = 30.0  # seconds without kills at the end
START = 120.0  # seconds that a start may take
PAGE = "the page"  # begins the error of a student whose page failed


class App:
    """The app on one port, which can be killed and started again."""

    def __init__(self, port: int) -> None:
        """Start the app."""
        self.port = port
        self.start()

    def start(self) -> None:
        """Start the app and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "start.py", "--port", str(self.port)], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        end = time.time() + START
        while time.time() < end:
            with suppress(OSError):
                urlopen(f"http://127.0.0.1:{self.port}/_stcore/health", timeout=1).close()
                return
            time.sleep(0.05)
        raise SystemExit("the app did not start again")

    def kill(self, kind: str) -> bool:
        """Kill a process of this kind, and start the app again if it was the app; whether there was one."""
        try:
            process = server_process(self.port) if kind == "app" else find(kind)
            process.send_signal(signal.SIGKILL)
        except (SystemExit, psutil.Error):  # the one before is not back yet
            return False
        if kind == "app":
            self.process.terminate()
            self.process.wait()
            self.start()
        return True

    def stop(self) -> None:
        """End the app."""
        self.process.terminate()
        self.process.wait()


def kill_at_random(app: App, kills: int, seed: int, ends: float, killed: Counter[str]) -> None:
    """Kill processes at random moments, up to so many, until CALM seconds before the end."""
    chance = random.Random(seed)
    gap = (ends - CALM - time.time()) / kills
    while killed.total() < kills and time.time() < ends - CALM:
        time.sleep(gap * chance.uniform(*APART))
        kind = chance.choice(KINDS)
        killed[kind] += app.kill(kind)


async def attended(room: Room, begins: float, ends: float) -> None:
    """Run the class with all students."""
    params = {"class": room.code}
    teacher = Teacher(room.server, room.teacher, params)
    teacher.lesson, teacher.begins, teacher.reveals = room.lesson, begins, room.reveals
    students = [Student(room.server, name, params, number) for number, name in enumerate(room.visitors)]
    found = await asyncio.gather(*(one.visit(begins, ends) for one in (teacher, *students)))
    room.others, room.reports = [found[0]], list(found[1:])


def measured(kills: int, minutes: float, students: int, seed: int) -> Iterator[tuple[str, object]]:
    """Name and value of each measurement."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        lesson, port = lessons()["naive"], 18_000 + os.getpid() % 10_000
        names = [secrets.token_hex(16) for _ in range(students)]
        app, over, killed = App(port), threading.Event(), Counter[str]()
        room = Room(f"http://127.0.0.1:{port}", Ledger(Path(home)), lesson, names)
        room.open()
        asking = threading.Thread(target=merging_on, args=(home, list[str](), over))
        asking.start()
        begins = time.time()
        ends = begins + 60 * minutes
        killing = threading.Thread(target=kill_at_random, args=(app, kills, seed, ends, killed))
        killing.start()
        try:
            asyncio.run(attended(room, begins, ends))
            killing.join()
        finally:
            over.set()
            asking.join()
            app.stop()
        yield from (("minutes", minutes), ("killed", dict(killed)))
        yield from outcome(room)


def outcome(room: Room) -> Iterator[tuple[str, object]]:
    """What became of the answers and of the students."""
    lab = find_class(room.ledger, room.code)
    here = 0 if lab is None else 1 + room.lesson.place(lab.place[1])
    errors = [error for report in (*room.reports, *room.others) for error in report.errors]
    yield "answers", sum(len(report.accepted) for report in room.reports)
    yield "lost_answers", len(room.lost())
    yield "astray", sum(report.views[-1][1] != here and not report.back for report in room.reports if report.views)
    yield "broken_connections", sum(PAGE not in error for error in errors)
    yield "page_errors", [error for error in errors if PAGE in error]


def main() -> None:
    """Measure, and print lines or JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--students", type=int, default=6)
    options.add_argument("--seed", type=int, default=0, help="of the moments and kinds of the kills")
    options.add_argument("--json", action="store_true", help="print JSON")
    given = options.parse_args()
    found = dict(measured(given.kills, given.minutes, given.students, given.seed))
    write(json.dumps(found) if given.json else "\n".join(f"{name} {value}" for name, value in found.items()))
    sys.exit(bool(found["lost_answers"] or found["page_errors"]))


if __name__ == "__main__":
    main()
