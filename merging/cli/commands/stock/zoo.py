"""`zoo`: list the shipped checkpoints."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from merging.cli.console import say_json, say_table
from merging.cli.options import Options, add_json
from merging.progress import Progress
from merging.zoo.catalogue import Entry, shipped

NAME, HELP = "zoo", "list the shipped checkpoints with the ids that the other commands take"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Print the list."""
    if options.json:
        return say_json([asdict(entry) for entry in shipped()])
    head = ("id", "architecture", "data", "seed", "test accuracy", "parameters")
    return say_table(head, [_row(entry) for entry in shipped()])


def _row(entry: Entry) -> tuple[object, ...]:
    accuracy = "" if entry.accuracy is None else f"{100 * entry.accuracy:.1f} %"
    return entry.id, entry.label, entry.dataset, entry.seed, accuracy, f"{entry.parameters:,}"
