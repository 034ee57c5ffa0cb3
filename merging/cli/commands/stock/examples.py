"""`examples`: recompute the finished runs that come with the program."""

from __future__ import annotations

import argparse
from pathlib import Path

from merging.cli.console import say
from merging.cli.files import make_folder
from merging.cli.options import Options
from merging.errors import InvalidRequest
from merging.jobs.ledger.shipped_runs import RUNS
from merging.progress import Progress

NAME, HELP = (
    "examples",
    "compute the example runs that the first screen shows (assets/runs), on the CPU with one thread",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, default=RUNS, metavar="DIR", help="folder to write (default assets/runs)")
    parser.add_argument("--missing", action="store_true", help="keep the runs that the folder already holds")


def run(options: Options, report: Progress) -> None:
    """Recompute and replace the example runs. Raises InvalidRequest if the folder holds anything that is not a run."""
    others = [path.name for path in options.out.glob("*") if not (path / "job.json").is_file()]
    if others:
        raise InvalidRequest(
            f"{options.out} holds {others[0]}, which is not a run and would be lost. Choose another folder."
        )
    make_folder(options.out)  # before the long computation
    from merging.jobs import examples

    say(f"written to {examples.make(options.out, report, missing=options.missing)}")
