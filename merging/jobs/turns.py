"""Turns of the queue: in which order the jobs of a lane start, so that no person waits behind a crowd. torch-free."""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

FAIR = """
    (SELECT COUNT(*) FROM jobs AS r WHERE r.state = 'running' AND r.lane = jobs.lane AND r.place = jobs.place),
    COALESCE((SELECT at FROM served WHERE served.owner = jobs.lane || ' ' || jobs.place), 0),
    (SELECT COUNT(*) FROM jobs AS r WHERE r.state = 'running' AND r.lane = jobs.lane AND r.owner = jobs.owner),
    COALESCE((SELECT at FROM served WHERE served.owner = jobs.lane || ' ' || jobs.owner), 0), jobs.created, jobs.id"""


def fair_order(
    queued: Iterable[tuple[str, str, str, float]], running: Sequence[tuple[str, str]], served: Mapping[str, float]
) -> list[str]:
    """Ids of the queued jobs in the order in which they will start if no jobs are added.

    A place is a network address, or one owner on this machine. The place with the fewest running jobs is next; ties go
    to the place served longest ago. Within a place, the owner is chosen by the same rule, and then this owner's oldest
    job. The order is simulated under the assumption that jobs end in the order in which they started.

    Args:
        queued: (id, place, owner, created).
        running: (place, owner) of the running jobs, the longest running first.
        served: place or owner -> number of the turn in which the latest of its jobs started.
    """
    waiting: dict[tuple[str, str], deque[tuple[float, str]]] = {}
    for id, place, owner, created in sorted(queued, key=lambda job: (job[3], job[0])):
        waiting.setdefault((place, owner), deque()).append((created, id))
    at, slots, order = dict(served), max(1, len(running)), list[str]()
    busy, now = deque(running), max([0.0, *at.values()])
    counts = Counter(name for who in running for name in {*who})

    def turn(who: tuple[str, str]) -> tuple[float | tuple[float, str], ...]:
        return *(part for name in who for part in (counts[name], at.get(name, 0.0))), waiting[who][0]

    turns = {who: turn(who) for who in waiting}
    sharing = {name: [who for who in waiting if name in who] for name in {name for who in waiting for name in who}}
    while turns:
        ended = busy.popleft() if len(busy) >= slots else ()
        counts.subtract({*ended})
        turns.update({who: turn(who) for name in ended for who in sharing.get(name, ()) if who in turns})
        next_up = min(turns, key=turns.__getitem__)
        order.append(waiting[next_up].popleft()[1])
        if not waiting[next_up]:
            del turns[next_up]
        busy.append(next_up)
        counts.update({*next_up})
        now += 1
        at.update(dict.fromkeys(next_up, now))
        turns.update({who: turn(who) for name in next_up for who in sharing[name] if who in turns})
    return order


def queues(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Lane -> ids of its queued jobs in the fair order."""
    served = dict(map(tuple, db.execute("SELECT owner, at FROM served")))

    def order(lane: str) -> list[str]:
        queued = db.execute("SELECT id, place, owner, created FROM jobs WHERE state = 'queued' AND lane = ?", (lane,))
        now = "SELECT place, owner FROM jobs WHERE state = 'running' AND lane = ? ORDER BY started"
        running = [(place, owner) for place, owner in db.execute(now, (lane,))]
        own = {name.removeprefix(f"{lane} "): at for name, at in served.items() if name.startswith(f"{lane} ")}
        return fair_order(map(tuple, queued), running, own)

    lanes = db.execute("SELECT DISTINCT lane FROM jobs WHERE state = 'queued'").fetchall()
    return {lane: order(lane) for (lane,) in lanes}


def take_turn(db: sqlite3.Connection, lane: str, names: Iterable[str]) -> None:
    """Record that a job of these names (owner and place) starts now."""
    turn = db.execute("SELECT COALESCE(MAX(at), 0) + 1 FROM served").fetchone()[0]
    rows = [(f"{lane} {name}", turn) for name in {*names}]
    db.executemany("INSERT OR REPLACE INTO served VALUES (?, ?)", rows)


def stand_in_line(db: sqlite3.Connection, lane: str, names: Iterable[str]) -> None:
    """Let new names begin behind those who were served before they came; otherwise new names always went first."""
    last = db.execute("SELECT COALESCE(MAX(at), 0) FROM served").fetchone()[0]
    rows = [(f"{lane} {name}", last) for name in {*names}]
    db.executemany("INSERT OR IGNORE INTO served VALUES (?, ?)", rows)
