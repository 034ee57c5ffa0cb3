"""`data`: list the data sets of this machine; store your own images under a name, or delete them."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from merging.cli.console import say, say_json, say_note, say_table
from merging.cli.images import OPERATOR, find_kept, summary
from merging.cli.options import Options, add_json
from merging.errors import InvalidSetting
from merging.progress import Progress
from merging.zoo.datasets.convert import COLOURS, read_size
from merging.zoo.datasets.known import known_datasets
from merging.zoo.datasets.load import available

NAME, HELP = "data", "list the data sets; add images of your own under a name, or remove them"
OF_ADD = {"name": "", "size": "", "colour": "auto", "private": False}  # option -> default


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=("list", "add", "remove"))
    kinds = "for add: a folder or zip with one folder per class, or an .npz; for remove: a name"
    parser.add_argument("what", nargs="?", default="", metavar="PATH", help=kinds)
    parser.add_argument("--name", default=OF_ADD["name"], help="name of the data set (default: that of the path)")
    size = "height x width that images are scaled and cropped to (default: the most common size)"
    parser.add_argument("--size", default=OF_ADD["size"], metavar="HxW", help=size)
    colour = "colour channels (default auto: grey if all images are grey)"
    parser.add_argument("--colour", choices=COLOURS, default=OF_ADD["colour"], help=colour)
    parser.add_argument(
        "--private", action="store_true", help="do not offer the images on the pages, which other people may open"
    )
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """List, add or remove data sets. Raises InvalidSetting if the arguments do not fit the action."""
    names = [name for name, usual in OF_ADD.items() if getattr(options, name) != usual]
    if options.action != "add" and names:
        raise InvalidSetting(f"--{', --'.join(names)} can be given only to `data add`.")
    if (options.action == "list") == bool(options.what):
        raise InvalidSetting(
            "`data list` takes no further argument; `data add` takes a path, and `data remove` a name."
        )
    {"list": _list, "add": _add, "remove": _remove}[options.action](options, report)


def _list(options: Options, report: Progress) -> None:
    datasets = known_datasets(OPERATOR)
    if options.json:
        return say_json([{"name": name, "place": available(name), **asdict(facts)} for name, facts in datasets.items()])
    head = ("name", "label", "images", "classes", "train", "test", "here")
    return say_table(head, [_row(name, facts) for name, facts in datasets.items()])


def _row(name: str, facts: Any) -> tuple[object, ...]:
    shape, counts = "×".join(map(str, facts.shape)), (f"{facts.train:,}", f"{facts.test:,}")
    return name, facts.label, shape, len(facts.classes), *counts, available(name) or "no: `download` fetches it"


def _add(options: Options, report: Progress) -> None:
    from merging.jobs.ledger.images import add_images
    from merging.jobs.ledger.ledger import Ledger

    report("reading", None, options.what)
    how: dict[str, Any] = {"label": options.name, "shared": not options.private, "colour": options.colour}
    dataset = add_images(Ledger(), Path(options.what), OPERATOR, size=read_size(options.size), **how)
    if options.json:
        return say_json(asdict(dataset))
    for line in dataset.notes:
        say_note(line)
    say(summary(dataset))
    rows = zip(dataset.facts.classes, dataset.counts["train"], dataset.counts["test"], strict=True)
    return say_table(("class", "train", "test"), list(rows))


def _remove(options: Options, report: Progress) -> None:
    from merging.jobs.ledger.images import delete_images
    from merging.jobs.ledger.ledger import Ledger

    dataset = find_kept(options.what)
    if dataset is None:
        raise InvalidSetting(f"You have no images of your own called {options.what!r}. See `data list`.")
    delete_images(Ledger(), dataset.id, OPERATOR)
    if options.json:
        return say_json({"removed": dataset.id})
    return say(f"{dataset.facts.label} ({dataset.id}) is removed")
