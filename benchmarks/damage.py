"""Damaged and made-up inputs in large numbers: the long form of tests that try a few. See `faults`.

A case passes where the program goes on with the intact part, or refuses with an error of its own; for files that carry
checksums, every tensor that is read must also be the one that was written.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import random
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
import torch

from benchmarks.pages import running
from benchmarks.sessions import opened
from merging.errors import MergescopeError
from merging.jobs.examples import merges
from merging.jobs.ledger.connection import close_spares
from merging.jobs.ledger.dispatcher_access import Desk
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.merge import MergeRequest
from merging.paths import ROOT
from merging.zoo.architectures.table import build
from merging.zoo.checkpoints.reading.files import read_file

JOBS = 40
PAGES = ("", *sorted(path.stem for path in (ROOT / "pages").glob("*.py")))
NAMES = (
    *("run", "layer", "unit", "pair", "row", "column", "zip", "nets", "align", "combine", "correct", "seeds", "images"),
    *("points", "mode", "base", "third", "beside", "metric", "split", "above", "view", "sort", "show", "pictures"),
)
STRANGE = (
    *("", "-1", "1e999", "nan", "²", "\0", "9" * 300, ",,,", "../../etc/passwd", "🦊" * 50, "None", "[]", "{}", "%00"),
    *("![](//x.invalid) [a](//y.invalid) <img src=//z.invalid> $x$ :red[x]", "' OR 1=1 --", "x" * 5_000, "\u202e"),
)


@dataclass
class Tally:
    """Results of one kind of damage.

    Attributes:
        cases: number of cases tried.
        refused: number of cases that the program refused with an error of its own.
        wrong: a description of each case that went wrong.
    """

    cases: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, case: Callable[[], str]) -> None:
        """Try one case. case: returns a description of the fault, "" where there is none."""
        self.cases += 1
        try:
            fault = case()
        except MergescopeError:
            self.refused += 1
        except Exception as error:  # noqa: BLE001  any other error is a fault to report
            self.wrong.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        else:
            self.wrong += [f"{name}: {fault}"] if fault else []


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one random damage, of six kinds."""
    at, length = chance.randrange(len(data)), chance.choice((1, 8, 100, 4096))
    part = data[at : at + length]
    return chance.choice(
        (
            data[:at],
            data[:at] + bytes(len(part)) + data[at + length :],
            data[:at] + chance.randbytes(len(part)) + data[at + length :],
            data[:at] + part + data[at:],
            data[:at] + data[at + length :],
            data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :],
        )
    )


def homes(cases: int, seed: int) -> Tally:
    """Damaged ledgers: the program must start, list, take and queue."""
    chance, tally, run = random.Random(seed), Tally(), merges()["mlps"]
    logging.getLogger("merging").setLevel(logging.ERROR)  # it would log each damage
    with tempfile.TemporaryDirectory() as whole:
        ledger = Ledger(Path(whole))
        ids = {ledger.submit(_seeded(run, number), f"owner {number}").id for number in range(JOBS)}
        close_spares()
        data = (Path(whole) / "ledger.sqlite").read_bytes()
    for number in range(cases):
        ledger_bytes = _rows_spoiled(data, chance) if number % 4 == 0 else damaged(data, chance)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "ledger.sqlite").write_bytes(ledger_bytes)
            tally.add(f"home {number}", lambda: _goes_on(Path(folder), ids, run))
            close_spares()
    return tally


def _seeded(run: MergeRequest, seed: int) -> MergeRequest:
    return replace(run, seed=1_000 + seed)


def _goes_on(folder: Path, ids: set[str], run: MergeRequest) -> str:
    ledger = Ledger(folder)
    strange = {job.id for job in ledger.jobs(limit=10 * JOBS)} - ids
    ledger.models(), ledger.workers()
    desk = Desk(ledger)
    for _ in range(3):
        desk.claim(("merge", "pictures", "study", "train"))
    last = ledger.submit(_seeded(run, -1), "new")
    if strange - {last.id} and any(set(id) - set("0123456789abcdef") for id in strange):
        return f"jobs that were never submitted: {sorted(strange)[:3]}"
    return "" if ledger.job(last.id) is not None else "what was asked for last is not there"


def _rows_spoiled(data: bytes, chance: random.Random) -> bytes:
    """An intact database in which some values are not what the program writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spoiled.sqlite"
        file.write_bytes(data)
        db = sqlite3.connect(file)
        columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)") if row[1] != "id"]
        for _ in range(chance.randrange(1, 5)):
            value = chance.choice((None, "", "x", -1, 1e308, b"\xff\xfe", "{}", "[]", "null"))
            try:
                row = "(SELECT id FROM jobs LIMIT 1 OFFSET ?)"
                spoil = f"UPDATE jobs SET {chance.choice(columns)} = ? WHERE id = {row}"
                db.execute(spoil, (value, chance.randrange(JOBS)))
            except sqlite3.IntegrityError:  # the table itself refuses it
                continue
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        return file.read_bytes()


def forms() -> Iterator[tuple[str, bytes, bool]]:
    """Name, bytes, and whether there are checksums, of each file format with the same small network."""
    module = build("cnn", {"in_shape": [1, 12, 12], "widths": [4, 4], "classes": 3}).eval()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    yield "safetensors", safetensors.torch.save(state), False
    for name, options in (("archive", {}), ("before 1.6", {"_use_new_zipfile_serialization": False})):
        out = io.BytesIO()
        torch.save({"state_dict": state, "epoch": 3}, out, **options)
        yield name, out.getvalue(), not options
    out = io.BytesIO()
    many = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(module, (torch.zeros(2, 1, 12, 12),), dynamic_shapes=many), out)
    yield "exported program", out.getvalue(), True


def files(cases: int, seed: int) -> Tally:
    """Damaged checkpoint files, read by the reader itself in this process."""
    chance, tally = random.Random(seed), Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of programs that it does not know
        originals = [(name, data, checked, _tensors(data)) for name, data, checked in forms()]
        for number in range(cases):
            name, data, checked, tensors = originals[number % len(originals)]
            file_bytes = damaged(data, chance)
            tally.add(f"{name} {number}", lambda: _same(file_bytes, tensors if checked else None))  # noqa: B023
    return tally


def _tensors(data: bytes) -> dict[str, torch.Tensor]:
    (network,) = read_file(data).networks.values()
    return dict(network.state)


def _same(data: bytes, tensors: dict[str, torch.Tensor] | None) -> str:
    current = _tensors(data)
    if tensors is None:
        return ""
    changed = [name for name in tensors if name not in current or not torch.equal(current[name], tensors[name])]
    return f"other tensors: {changed[:3]}" if changed else ""


def addresses(cases: int, seed: int) -> Tally:
    """Open made-up addresses, which no page of the app links to, in the running app."""
    chance, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MERGESCOPE_HOME"], os.environ["MERGESCOPE_DISPATCHER"] = home, "none"
        with running() as (server, _):
            asyncio.run(_walk(server, cases, chance, tally))
    del os.environ["MERGESCOPE_DISPATCHER"]
    return tally


async def _walk(server: str, cases: int, chance: random.Random, tally: Tally) -> None:
    runs = [request.id[:12] for request in merges().values()]
    session = await opened(server)
    for _ in range(cases):
        params = {name: chance.choice(STRANGE) for name in chance.sample(NAMES, chance.randrange(1, 6))}
        if chance.random() < 0.5:
            params["run"] = chance.choice(runs)
        page = chance.choice(PAGES)
        tally.cases += 1
        try:
            await session.go((page, params))
        except SystemExit as error:  # raised by the session for a failed page
            tally.wrong.append(f"/{page} {params}: {error}")
            session = await opened(server)
