"""`python -m merging.jobs`: run a ledger's jobs until interrupted, or with --watch-stdin until stdin ends."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from merging.errors import MergescopeError
from merging.jobs.worker import supervisor

MOST = 256  # largest number of threads or jobs


def main(arguments: list[str] | None = None) -> int:
    """Read the options, run, and return the exit code. A MergescopeError goes to stderr as one line."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # files are readable by this user alone: they hold people's requests
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    try:
        return _dispatch(options) if options.dispatch else _supervise(options)
    except MergescopeError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m merging.jobs", description=__doc__)
    parser.add_argument("--home", help="folder of the ledger and the store (default: MERGESCOPE_HOME)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default=os.environ.get("MERGESCOPE_DEVICE", "auto")
    )
    threads, jobs = os.environ.get("MERGESCOPE_THREADS", "0"), os.environ.get("MERGESCOPE_JOBS", "0")
    parser.add_argument(
        "--threads", type=_few, default=threads, help="torch threads per job; 0: from the number of cores"
    )
    parser.add_argument(
        "--jobs", type=_few, default=jobs, help="jobs at the same time on CPUs; 0: from the number of cores"
    )
    parser.add_argument(
        "--watch-stdin", action="store_true", help="stop when stdin ends, which means that the app is gone"
    )
    parser.add_argument("--dispatch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    return parser


def _few(text: str) -> int:
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
    supervisor.stop_on_signals(stop)  # after ray.init, which sets its own handlers
    if supervisor.POSIX:
        supervisor.end_when_lost(engine.lost, stop)
    ready.set()
    try:
        Dispatcher(ledger, engine, stop).run()
    finally:
        engine.stop()
        if supervisor.POSIX:
            supervisor.end_session(os.getpid())
        supervisor.remove_scratch(Path(options.scratch))  # the supervisor, which normally does this, may be gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
