"""Dispatchers and the ledger: no job is lost, none is taken twice, and who comes too late changes nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from merging.jobs.ledger.connection import connect, transaction
from merging.jobs.ledger.dispatcher_access import INTERRUPTIONS, Desk
from merging.jobs.ledger.jobs import Worker
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.limits import Limits
from merging.paths import ROOT
from tests.jobs.making import ALL, SAVED, merge_request, take


def test_what_a_silent_dispatcher_held_goes_back_and_is_no_attempt_of_the_job(tmp_path):
    ledger = Ledger(tmp_path, Limits(lease_seconds=0.5))
    dead, living = Desk(ledger), Desk(ledger)
    job = ledger.submit(merge_request(), "ann")
    claim = take(dead)
    living.beat()
    assert living.reap(lambda pid, born: True) == []
    time.sleep(0.6)
    living.beat()
    assert living.reap(lambda pid, born: True) == [job.id]
    assert ledger.job(job.id).state == "queued"
    second = take(living)
    assert (second.attempts, second.run) == (1, claim.run + 1)
    assert not dead.finish(claim, {"report": SAVED})  # it wakes up, too late
    assert living.finish(second, {"report": SAVED})


def test_a_dead_process_is_seen_without_waiting_for_its_silence(ledger):
    dead, living = Desk(ledger), Desk(ledger)
    job = ledger.submit(merge_request(), "ann")
    take(dead)
    assert living.reap(lambda pid, born: False) == [job.id]


def test_a_job_that_kills_its_dispatchers_is_given_up(ledger):
    job = ledger.submit(merge_request(), "ann")
    for _ in range(INTERRUPTIONS):
        assert ledger.job(job.id).state == "queued"
        assert take(Desk(ledger)).attempts == 1
        Desk(ledger).reap(lambda pid, born: False)
    job = ledger.job(job.id)
    assert (job.state, job.error["kind"]) == ("failed", "WorkerLost")
    assert "ended 5 times during this job" in job.error["text"]
    ledger.submit(merge_request(), "ann")  # a person's wish begins the count anew
    take(Desk(ledger))
    Desk(ledger).reap(lambda pid, born: False)
    assert ledger.job(job.id).state == "queued"


def test_a_dispatcher_that_leaves_gives_its_jobs_back_uncounted(ledger):
    desk, job = Desk(ledger), ledger.submit(merge_request(), "ann")
    take(desk)
    desk.leave()
    assert ledger.job(job.id).state == "queued"
    assert take(Desk(ledger)).attempts == 1


def test_sixty_who_write_beside_a_queue_of_two_thousand_lose_nothing(tmp_path):
    people, length = 60, 2_000
    ledger = Ledger(tmp_path, Limits(all_jobs=2 * length, open_jobs=40))
    first = ledger.submit(merge_request(0), "owner 0").id
    queued = [merge_request(1_000 + number) for number in range(length)]
    with connect(ledger.file) as db, transaction(db):
        copy = (
            "INSERT INTO jobs (id, kind, title, request, owner, place, state, created) SELECT ?, kind, title, ?, ?, ?,"
            " state, created + ? FROM jobs WHERE id = ?"
        )
        for number, request in enumerate(queued[1:], 1):
            name = f"owner {number % people}"
            db.execute(copy, (request.id, request.to_json(), name, name, number, first))
        db.execute("INSERT INTO owners (job, owner, asked) SELECT id, owner, created FROM jobs WHERE id != ?", (first,))

    asked, cancelled, deleted, taken = set(), set(), set(), []

    def writes(number):
        desk, name = Desk(ledger), f"owner {number}"
        own = [queued[number + people * times].id for times in (30, 31)]
        claim = take(desk)
        desk.tell(claim, "loading", 0.5, "")
        taken.append(claim.id)
        ledger.cancel(own[0], name)
        cancelled.add(own[0])
        ledger.delete(own[1], name)
        deleted.add(own[1])
        if number % 6 == 0:  # each of whom is told a place in line
            asked.add(ledger.submit(merge_request(1 + number), name).id)
        assert desk.finish(claim, {})

    with ThreadPoolExecutor(people) as pool:
        list(pool.map(writes, range(people)))
    jobs = {job.id: job for job in ledger.jobs(limit=2 * length)}
    assert len(jobs) == length + len(asked) - len(deleted)
    by_state = {state: {id for id, job in jobs.items() if job.state == state} for state in ("done", "cancelled")}
    assert len(set(taken)) == people
    assert by_state == {"done": set(taken), "cancelled": cancelled}
    assert asked <= set(jobs) and not deleted & set(jobs)
    places = [job.position for job in jobs.values() if job.state == "queued"]
    assert sorted(places) == list(range(1, len(places) + 1))


def test_workers_tell_of_themselves_and_are_forgotten_with_their_dispatcher(ledger):
    desk = Desk(ledger)
    desk.beat([Worker("w", "CPU, 2 threads", "", 1, 2, None, None, "host", 0.0)])
    assert [(worker.name, worker.device) for worker in ledger.workers()] == [("w", "CPU, 2 threads")]
    desk.leave()
    assert ledger.workers() == ()


RACER = """
import sys
from pathlib import Path
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from tests.jobs.making import ALL
desk = Desk(Ledger(Path(sys.argv[1])))
while (claim := desk.claim(ALL)) is not None:
    print(claim.id)
    desk.finish(claim, {})
"""


def test_no_job_is_taken_twice_by_processes_that_race(tmp_path):
    ledger = Ledger(tmp_path)
    ids = {ledger.submit(merge_request(seed), f"owner {seed % 7}").id for seed in range(60)}
    command = [sys.executable, "-c", RACER, str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    taken = [id for racer in racers for id in racer.communicate(timeout=120)[0].split()]
    assert sorted(taken) == sorted(ids)


def test_no_job_is_taken_twice_by_threads_that_race_with_askers_and_cancellers(ledger):
    taken, cancelled, done = [], [], threading.Event()

    def claims():
        desk = Desk(ledger)
        while not done.is_set() or desk.waiting(ALL):
            claim = desk.claim(ALL)
            if claim is not None:
                taken.append(claim.id)
                desk.finish(claim, {})

    def asks(part):
        for seed in range(part, 40, 2):
            job = ledger.submit(merge_request(seed), f"owner {part} {seed}")
            if seed % 5 == 0:
                ledger.cancel(job.id, f"owner {part} {seed}")
                cancelled.append(job.id)

    with ThreadPoolExecutor(5) as pool:
        takers = [pool.submit(claims) for _ in range(3)]
        askers = [pool.submit(asks, part) for part in range(2)]
        for asker in askers:
            asker.result()
        done.set()
        for taker in takers:
            taker.result()
    assert len(set(taken)) == len(taken)
    states = {job.id: job.state for job in ledger.jobs()}
    assert all(states[id] == "done" or id in cancelled for id in states)
    assert {id for id, state in states.items() if state == "done"} <= set(taken)
