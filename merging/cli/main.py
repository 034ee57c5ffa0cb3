"""Parse the arguments, run the command, and turn whatever happens into an exit code and one line."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from merging import __version__
from merging.cli import (
    compare,
    curve,
    data_sets,
    download,
    examples,
    inspect_net,
    merge,
    methods,
    neurons,
    similarity,
    study,
    train,
    zip_nets,
    zoo,
)
from merging.cli.console import Bars, Unread, hand_over, results_apart, say_error
from merging.cli.images import read_data_name
from merging.jobs.outcome import Outcome, attempt
from merging.progress import Progress

COMMANDS = (
    *(methods, zoo, inspect_net, merge, zip_nets, compare, curve, similarity, neurons, study),
    *(train, download, data_sets, examples),
)
DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
# Errors that another choice of arguments would mend; all others are failures of the work.
_MISUSES = {
    "AmbiguousCheckpoint",
    "CheckpointError",
    "DataUnavailable",
    "IncompatibleModels",
    "InvalidRequest",
    "InvalidSetting",
    "UnknownArchitecture",
    "UnknownLayer",
}


class Parser(argparse.ArgumentParser):
    """argparse with our errors: one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is; exit code 2."""
        say_error(f"{message}. See {self.prog} --help.")
        raise SystemExit(MISUSED)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End after the help or the version, which a full disk has not swallowed."""
        hand_over("")
        super().exit(status, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. arguments: without the program's name, sys.argv by default."""
    if sys.stderr is None:  # whoever started the program closed it
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # some consoles of Windows cannot show every letter
            stream.reconfigure(errors="replace")
    try:
        options = parser().parse_args(arguments)
        with results_apart() as results, Bars(shown=not options.quiet) as bars:
            outcome = attempt(lambda report: _run(options, report), bars)
        hand_over(results.getvalue())
        return _code(outcome, options.debug)
    except KeyboardInterrupt:
        say_error("interrupted")
        return INTERRUPTED
    except Unread as error:
        if not error.reason:
            return DONE
        say_error(f"The results cannot be written to standard output: {error.reason}. Send them somewhere else.")
        return FAILED


def _run(options: argparse.Namespace, report: Progress) -> dict[str, bytes]:
    with read_data_name(options, report):
        options.run(options, report)
    return {}


def parser() -> Parser:
    """The whole command line."""
    whole = Parser(prog="python -m merging", description="Merge neural networks and look at what happened.")
    whole.add_argument("--version", action="version", version=f"mergescope {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        made = commands.add_parser(command.NAME, help=command.HELP, description=f"{command.HELP}.")
        made.add_argument("--quiet", action="store_true", help="no progress on stderr")
        made.add_argument("--debug", action="store_true", help="details of errors that should not happen")
        command.configure(made)
        made.set_defaults(run=command.run)
    return whole


def _code(outcome: Outcome, debug: bool) -> int:
    if outcome.error is None:
        return DONE
    kind, text = outcome.error["kind"], outcome.error["text"]
    if "details" in outcome.error and not debug:
        text = text.replace("Copy the details", "Run it again with --debug and copy the details")
    say_error(text)
    if debug:
        with suppress(OSError):  # nobody reads stderr
            sys.stderr.write(outcome.error.get("details", ""))
            sys.stderr.flush()
    return MISUSED if kind in _MISUSES else FAILED
