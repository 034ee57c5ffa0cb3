"""Parse the arguments, run the command, and turn its outcome into an exit code and a one-line message."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from merging import __version__
from merging.cli import commands
from merging.cli.console import Bars, Unread, hand_over, results_apart, say_error
from merging.cli.files import check_inputs_stay
from merging.cli.images import read_data_name
from merging.cli.options import Options
from merging.jobs.outcome import Outcome, attempt
from merging.progress import Progress

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
# Errors that other arguments would avoid (exit code 2); for all other errors the work failed (exit code 1).
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
    """Argument parser that reports an error as one line with a pointer to the help."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where the help is, and exit with code 2."""
        say_error(f"{message}. See {self.prog} --help.")
        raise SystemExit(MISUSED)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit once the help or the version is written completely; a full disk raises Unread."""
        hand_over("")
        super().exit(status, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. arguments: the words after the program's name; sys.argv by default."""
    if sys.stderr is None:  # the calling program closed stderr
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # some Windows consoles cannot show every character
            stream.reconfigure(errors="replace")
    try:
        options = Options.of(parser().parse_args(arguments))
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
        say_error(f"The results cannot be written to standard output: {error.reason}. Redirect them somewhere else.")
        return FAILED


def _run(options: Options, report: Progress) -> dict[str, bytes]:
    if isinstance(getattr(options, "out", None), Path):
        check_inputs_stay(options.out, options.inputs())
    with read_data_name(options, report) as ready:
        ready.run(ready, report)
    return {}


def every_command() -> Iterator[ModuleType]:
    """Yield the modules of commands/ by name. Each has NAME, HELP, `configure(parser)` and `run(options, report)`."""
    files = pkgutil.walk_packages(commands.__path__, f"{commands.__name__}.")
    for file in sorted(files, key=lambda file: file.name.rpartition(".")[2]):
        if not file.ispkg:
            yield importlib.import_module(file.name)


def parser() -> Parser:
    """Build the parser of the whole command line."""
    whole = Parser(prog="python -m merging", description="Merge neural networks and analyse the result.")
    whole.add_argument("--version", action="version", version=f"mergescope {__version__}")
    parsers = whole.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in every_command():
        subparser = parsers.add_parser(command.NAME, help=command.HELP, description=f"{command.HELP}.")
        subparser.add_argument("--quiet", action="store_true", help="show no progress on stderr")
        subparser.add_argument("--debug", action="store_true", help="show the details of unexpected errors")
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return whole


def _code(outcome: Outcome, debug: bool) -> int:
    if outcome.error is None:
        return DONE
    kind, text = outcome.error["kind"], outcome.error["text"]
    if "details" in outcome.error and not debug:
        text = text.replace("Copy the details", "Run the command again with --debug and copy the details")
    say_error(text)
    if debug:
        with suppress(OSError):  # stderr is closed
            sys.stderr.write(outcome.error.get("details", ""))
            sys.stderr.flush()
    return MISUSED if kind in _MISUSES else FAILED
