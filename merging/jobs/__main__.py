"""`python -m merging.jobs`: run the jobs of a ledger until interrupted or, with --watch-stdin, until stdin closes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from merging.errors import MergescopeError
from merging.jobs.worker import supervisor

MOST = 256  # largest allowed number of threads, and of jobs at the same time


def main(arguments: list[str] | None = None) -> int:
    """Read the options, run the jobs, and return the exit code. A MergescopeError is written to stderr as one line."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # only this user can read new files, because they hold people's requests
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    try:
        return _dispatch(options) if options.dispatch else _supervise(options)
    except MergescopeError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m merging.jobs", description=__doc__)
    parser.add_argument("--home", help="folder of the ledger and the store (default: $MERGESCOPE_HOME)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default=os.environ.get("MERGESCOPE_DEVICE", "auto")
    )
    threads, jobs = os.environ.get("MERGESCOPE_THREADS", "0"), os.environ.get("MERGESCOPE_JOBS", "0")
    parser.add_argument(
        "--threads", type=_count, default=threads, help="torch threads per job; 0: chosen from the number of cores"
    )
    parser.add_argument(
        "--jobs", type=_count, default=jobs, help="jobs at the same time on CPUs; 0: chosen from the number of cores"
    )
    parser.add_argument(
        "--watch-stdin", action="store_true", help="stop when stdin closes, which means that the app has ended"
    )
    parser.add_argument("--dispatch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    """Parse a whole number from 0 to MOST."""
    if not text.isdecimal() or int(text) > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {MOST}")
    return int(text)


def _supervise(options: argparse.Namespace) -> int:
    arguments = ["--device", options.device, "--threads", str(options.threads), "--jobs", str(options.jobs)]
    arguments += ["--home", options.home] if options.home else []
    return supervisor.supervise(arguments, watch_stdin=options.watch_stdin)


def _dispatch(options: argparse.Namespace) -> int:
    from merging.jobs.ledger.ledger import Ledger
    from merging.jobs.worker.dispatcher import Dispatcher
    from merging.jobs.worker.engine import Engine, make_plan

    stop, ready = threading.Event(), threading.Event()
    supervisor.stop_at_end_of_stdin(stop, ready)
    ledger = Ledger(Path(options.home) if options.home else None)
    engine = Engine(make_plan(options.device, options.threads, options.jobs), Path(options.scratch))
    supervisor.stop_on_signals(stop)  # only after ray.init, which installs its own handlers
    if supervisor.POSIX:
        supervisor.end_when_lost(engine.lost, stop)
    ready.set()
    try:
        Dispatcher(ledger, engine, stop).run()
    finally:
        engine.stop()
        if supervisor.POSIX:
            supervisor.end_session(os.getpid())
        supervisor.remove_scratch(Path(options.scratch))  # the supervisor normally deletes it, but may have ended
    return 0


if __name__ == "__main__":
    sys.exit(main())
