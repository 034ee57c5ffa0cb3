"""`neurons`: draw pictures of what units respond to, as PNG files."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from merging.analysis.pictures.settings import PictureSettings
from merging.cli.console import say, say_json
from merging.cli.files import check_folder, png_bytes, write
from merging.cli.nets import chosen_device, read_net, refuse_useless_options
from merging.cli.options import (
    Options,
    add_data_name,
    add_json,
    add_machine,
    add_nets,
    add_seed,
    read_pairs,
    read_texts,
    whole,
)
from merging.jobs.requests.pictures import MAX_UNITS, PicturesRequest
from merging.jobs.tasks.payload import Payload
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import UnitPicture

DECLARED = {declared.name: declared for declared in fields(PictureSettings)}
STEPS = DECLARED.pop("steps")  # --steps sets them
NAME, HELP = "neurons", "draw images that strongly activate units of a layer (feature visualization)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "NET")
    add_data_name(parser)  # the training data, from which mean and std are known
    parser.add_argument("--layer", required=True, metavar="NAME", help="torch name, such as features.4")
    parser.add_argument(
        "--units", type=parse_units, default="0-15", metavar="0,1,5-8", help="units to draw (default 0-15)"
    )
    steps = whole(STEPS.metadata["low"], STEPS.metadata["high"])
    help_text = f"steps of the optimisation (default {STEPS.default})"
    parser.add_argument("--steps", type=steps, default=STEPS.default, metavar="N", help=help_text)
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=f"settings: {', '.join(DECLARED)}")
    add_seed(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("neurons"), metavar="DIR", help="folder to write (default neurons)"
    )
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Draw by the task that the workers of the app run, MAX_UNITS units at a time; write one PNG file per unit."""
    from merging.jobs.tasks.run import run_task

    check_folder(options.out)
    settings = read_texts(PictureSettings, {"steps": str(options.steps), **read_pairs(options.set, "--set")})
    refuse_useless_options((options.net,), options)
    net, device, records = read_net(options.net, options), chosen_device(options), []
    for first in range(0, len(options.units), MAX_UNITS):
        units = options.units[first : first + MAX_UNITS]
        request = PicturesRequest(net.ref, options.layer, units, settings, options.seed)
        artifacts = run_task("pictures", Payload(request.to_json(), (net.data,), {}, device, options.threads), report)
        for unit in request.units:
            picture: UnitPicture = saving.load(artifacts[f"unit-{unit}"])
            path = write(options.out / f"unit-{unit:04d}.png", png_bytes(picture))
            records.append({"unit": unit, "file": str(path), "objective": picture.objective, "start": picture.start})
    if options.json:
        return say_json({"layer": options.layer, "pictures": records})
    return say(f"{len(records)} pictures of {options.layer} written to {options.out}")


def parse_units(text: str) -> tuple[int, ...]:
    """An argparse type: numbers and ranges, such as "0,1,5-8"."""
    numbers: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.strip().partition("-")
        ends = (first, last or first)
        if not all(end.isdecimal() for end in ends) or not 0 <= int(ends[1]) - int(ends[0]) <= 10_000:
            raise argparse.ArgumentTypeError(f"takes numbers and ranges such as 0,1,5-8; got {text!r}")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(numbers))
