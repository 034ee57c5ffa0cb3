"""`download`: fetch a data set."""

from __future__ import annotations

import argparse

from merging.cli.console import say
from merging.cli.options import Options
from merging.progress import Progress
from merging.zoo.datasets.facts import FACTS

NAME, HELP = "download", "fetch a data set into the cache folder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("dataset", choices=tuple(FACTS), metavar="NAME", help=", ".join(FACTS))


def run(options: Options, report: Progress) -> None:
    """Fetch the data set and print its folder."""
    from merging.zoo.datasets.load import download

    report("downloading", None, FACTS[options.dataset].label)
    say(f"{FACTS[options.dataset].label} is in {download(options.dataset)}")
