"""Load of a class in the Lab: python -m benchmarks.classroom [--students 60] [--browsers 4] [--minutes 30] [--json]

The app runs as `python start.py` starts it, on an empty home, and computes one merge after the other meanwhile. A
class is opened, students join, and a teacher clicks through a whole lesson: each step takes the same time, and its
question is revealed after two thirds of it. Another session shows the projector. Students answer through the page and
wait 8 to 20 s between two clicks. `--browsers` of them are real Chromium pages, in a process of their own; the others
are sessions without a browser in this process (see `students`). All are on the same processors as the server and the
worker.

    p95_ms, p99_ms    of a click: message sent to script finished (for sessions in this process, from when the person
                      wanted to click, so a poll that is drawn at that moment counts)
    reveal_ms         the slowest student who looked at the step: from the teacher's click until the result was shown
    each_reveal_ms    the same for each reveal; the first one includes what the server loads once
    reveals_unseen    how often a student looked at a step when it was revealed and was not shown the result
    lost_answers      answers that a page showed as locked and that are not in the ledger, or are others there
    server_rss_mb     memory of the server when all have come and at the end
    client_cpu        seconds of the processor per second of this process and of the browsers
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from benchmarks.browser_students import browse, chromium
from benchmarks.pages import running
from benchmarks.sessions import APART, centiles, merging_on, server_process
from benchmarks.students import Person, Report, Student
from benchmarks.timing import write
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.ledger.owners import owner_of
from merging.teaching.answers import every_answer
from merging.teaching.classes import open_class
from merging.teaching.lesson import Lesson, lessons
from merging.teaching.question import in_words
from merging.teaching.students import join_class

REVEAL = 2 / 3  # of the time of a step
LAUNCH = 30.0  # seconds that browsers need until their pages are open


class Teacher(Person):
    """The teacher, who takes the class through the lesson. reveals: (time of the click, number of the step)."""

    lesson: Lesson
    begins: float
    reveals: list[tuple[float, int]]

    async def live(self, ends: float) -> None:
        """Reveal each step and go to the next one; begin where the class is."""
        each = (ends - self.begins) / len(self.lesson.steps)
        at = self.shows()[0]
        for number, step in enumerate(self.lesson.steps, 1):
            until = self.begins + each * number
            if number < at:
                continue
            if number > at:
                await self.click("move Next step")
            if step.question is not None and self.find("reveal"):
                await self.wait(until - each * (1 - REVEAL))
                if step.question.truth:
                    self.reveals.append((time.time(), number))
                await self.click("reveal")
            await self.wait(until)


@dataclass
class Room:
    """A class with its people. visitors: random name in the cookie of each student."""

    server: str
    ledger: Ledger
    lesson: Lesson
    visitors: list[str]
    code: str = ""
    teacher: str = field(default_factory=lambda: secrets.token_hex(16))
    reports: list[Report] = field(default_factory=list)
    others: list[Report] = field(default_factory=list)
    reveals: list[tuple[float, int]] = field(default_factory=list)
    megabytes: list[int] = field(default_factory=list)

    def open(self) -> None:
        """Open the class; all students join."""
        self.code = open_class(self.ledger, owner_of(self.teacher), "A class", [self.lesson.key])[0].code
        for number, visitor in enumerate(self.visitors, 1):
            join_class(self.ledger, self.code, owner_of(visitor), f"Student {number}")

    async def run(self, students: int, begins: float, ends: float, process: psutil.Process) -> None:
        """Run the teacher, the projector and that many students without a browser; note the server's memory."""
        params, now = {"class": self.code}, time.time()
        teacher = Teacher(self.server, self.teacher, params)
        teacher.lesson, teacher.begins, teacher.reveals = self.lesson, begins, self.reveals
        projector = Person(self.server, self.teacher, {**params, "view": "board"})
        class_ = [Student(self.server, self.visitors[number], params, number) for number in range(students)]
        visits = (one.visit(now + APART * number, ends) for number, one in enumerate((teacher, projector, *class_)))

        async def look(at: float) -> int:
            await asyncio.sleep(at - time.time())
            return round(process.memory_info().rss / 1e6)

        visiting = asyncio.gather(*visits)
        self.megabytes = [await look(begins), await look(ends - 1)]
        found = await visiting
        self.others, self.reports = found[:2], found[2:]

    def lost(self) -> list[str]:
        """Locked answers that the ledger lacks or has otherwise."""
        stored = {(one.owner, one.place[1]): one for one in every_answer(self.ledger, self.code)}
        lost = []
        for visitor, report in zip(self.visitors, self.reports, strict=True):
            for number, words in report.accepted.items():
                step = self.lesson.steps[number - 1]
                kept = stored.get((owner_of(visitor), step.key))
                answer = kept.answer(step.question) if kept and step.question else None
                known = in_words(step.question, answer) if answer is not None and step.question else ""
                if bare(known) != bare(words):
                    lost.append(f"{step.key}: {words}")
        return lost

    def waits(self, at: float, step: int) -> Iterator[float | None]:
        """Seconds from a reveal until each student who looked at that step saw the result; None for never."""
        for report in self.reports:
            before = [view for view in report.views if view[0] <= at]
            if before and before[-1][1] == step:
                after = [view for view in report.views if view[0] > at]
                seen = after[0] if after else (at, step, False)
                yield seen[0] - at if seen[1:] == (step, True) else None


def bare(text: str) -> str:
    """A text without spaces and the signs that escape Markdown, so that it is the same in a message and a browser."""
    return re.sub(r"[\\\s\u2060]+", "", text)


def busy() -> float:
    """Seconds of the processor that this process has used."""
    return float(sum(psutil.Process().cpu_times()[:2]))


def attended(room: Room, browsers: int, minutes: float, process: psutil.Process) -> float:
    """Run the class; return seconds of the processor per second that the clients used."""
    students = len(room.visitors) - browsers
    begins = time.time() + APART * (students + 2) + (LAUNCH if browsers else 0.0)
    ends = begins + 60 * minutes
    begin, used = time.time(), busy()
    names = room.visitors[students:]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        tabs: Future[Any] | None = None
        if names:
            tabs = pool.submit(browse, room.server, room.code, room.lesson.key, names, ends)
        asyncio.run(room.run(students, begins, ends, process))
        used, seconds = busy() - used, time.time() - begin
        if tabs is not None:
            reports, more = tabs.result()
            room.reports, used = [*room.reports, *reports], used + more
    return used / seconds


def measured(students: int, browsers: int, minutes: float, lesson: str) -> Iterator[tuple[str, object]]:
    """Name and value of each measurement."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"] = home
        with running() as (server, _):
            process = server_process(int(server.rpartition(":")[2]))
            names = [secrets.token_hex(16) for _ in range(students)]
            room = Room(server, Ledger(Path(home)), lessons()[lesson], names)
            room.open()
            watched, over = list[str](), threading.Event()
            asking = threading.Thread(target=merging_on, args=(home, watched, over))
            asking.start()
            try:
                cpu = attended(room, browsers, minutes, process)
            finally:
                over.set()
                asking.join()
            yield from (("students", students), ("browsers", browsers))
            yield from figures(room)
            yield from (("server_rss_mb", room.megabytes), ("client_cpu", round(cpu, 3)), ("merges", len(watched)))


def figures(room: Room) -> Iterator[tuple[str, object]]:
    """Measurements of what the people of a class saw."""
    clicks = [one for report in room.reports for one in report.clicks]
    polls = [one for report in room.reports for one in report.polls]
    yield from zip(("p50_ms", "p95_ms", "p99_ms"), centiles(clicks) if len(clicks) > 1 else (0, 0, 0), strict=True)
    yield "clicks", len(clicks)
    yield "poll_p95_ms", centiles(polls)[1] if len(polls) > 1 else 0
    waits = [list(room.waits(*reveal)) for reveal in room.reveals]
    each = [round(1000 * max((one for one in those if one is not None), default=0.0)) for those in waits]
    yield from (("reveal_ms", max(each, default=0)), ("each_reveal_ms", each))
    yield "reveals_seen", sum(one is not None for those in waits for one in those)
    yield "reveals_unseen", sum(one is None for those in waits for one in those)
    yield "answers", len(every_answer(room.ledger, room.code))
    yield "refused", sum(report.refused for report in room.reports)
    yield "lost_answers", len(room.lost())
    yield "errors", [error for report in (*room.reports, *room.others) for error in report.errors]


def main() -> None:
    """Measure, and print lines or JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--students", type=int, default=60)
    options.add_argument("--browsers", type=int, default=4, help="so many of the students are Chromium pages")
    options.add_argument("--minutes", type=float, default=30.0, help="of the lesson, after all have come")
    options.add_argument("--lesson", choices=tuple(lessons()), default="naive")
    options.add_argument("--json", action="store_true", help="print JSON")
    given = options.parse_args()
    browsers = min(given.browsers, given.students)
    if browsers and not chromium():
        sys.stderr.write("No Chromium was found (MERGESCOPE_CHROMIUM names one), so no student is a browser.\n")
        browsers = 0
    found = dict(measured(given.students, browsers, given.minutes, given.lesson))
    write(json.dumps(found) if given.json else "\n".join(f"{name} {value}" for name, value in found.items()))
    sys.exit(bool(found["errors"] or found["lost_answers"]))


if __name__ == "__main__":
    main()
