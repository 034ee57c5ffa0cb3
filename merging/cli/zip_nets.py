"""`zip`: one trunk for several networks up to a layer, and every network's own head after it (partial ZipIt!)."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merging.cli.console import say, say_json, say_table
from merging.cli.files import write
from merging.cli.images import need_batches
from merging.cli.nets import Net, device_of, read_nets
from merging.cli.options import add_data, add_json, add_machine, add_nets, add_seed, read_pairs, read_texts
from merging.errors import InvalidRequest
from merging.figures import numbers
from merging.methods import MOST_MODELS, letter
from merging.problem import Report
from merging.zoo.dataset_facts import FACTS

if TYPE_CHECKING:
    from merging.analysis.heads import HeadScores
    from merging.partial_zip import PartialZip

Row = tuple[str, "HeadScores", float]  # where the trunk ends, how well the heads do, the share of parameters left
NAME, HELP = "zip", "zip networks up to a layer and keep each one's own head of as many classes (partial ZipIt!)"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_nets(parser, "A", "B", more=f"further networks, up to {MOST_MODELS} in all")
    parser.add_argument("--until", metavar="LAYER", help="the last merged layer (default: each in turn)")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="settings of ZipIt!, such as alpha=0.3")
    add_seed(parser)
    add_data(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="with --until: trunk and heads as .safetensors")
    add_machine(parser)
    add_json(parser)


def run(options: argparse.Namespace, report: Report) -> None:
    """Zip up to one layer or to each, and measure every head on the test images whose classes it knows."""
    from merging.align.zipit import ZipItSettings
    from merging.analysis.heads import head_scores, labels_of, side_by_side
    from merging.partial_zip import partial_zip, partial_zips

    if options.out and not options.until:
        raise InvalidRequest("--out writes one zip: name the layer at which its trunk ends with --until.")
    nets, device = read_nets(options), device_of(options)
    data = need_batches(options, nets[0], device)
    names = FACTS[options.data or nets[0].checkpoint.dataset].classes
    known = [labels_of(net.checkpoint.classes, names, net.checkpoint.name) for net in nets]
    models = [net.module(device) for net in nets]
    settings = read_texts(ZipItSettings, read_pairs(options.set, "--set"))
    if settings.get("choose"):
        raise InvalidRequest("Heads of different classes have no common loss to choose alpha and beta by: give them.")
    asked: dict[str, Any] = {"settings": settings, "seed": options.seed, "report": report}
    until = options.until
    zips = (
        [partial_zip(models, until, data["train"], **asked)] if until else partial_zips(models, data["train"], **asked)
    )
    alone, rows = head_scores(side_by_side(models), known, data["test"]), list[Row]()
    for zipped in zips:
        report("heads", None, f"trunk up to {zipped.until.name}")
        rows.append((zipped.until.name, head_scores(zipped, known, data["test"]), zipped.share(models)))
        if options.out:
            _write(options.out, zipped, nets)
    _say(options, ("unmerged", alone, 1.0), rows)


def _write(path: Path, zipped: PartialZip, nets: list[Net]) -> None:
    from merging.zoo.checkpoints import save_checkpoint

    named = " + ".join(net.checkpoint.name for net in nets)
    write(path, save_checkpoint(zipped.tensors(), architecture="", config={}, name=f"Zip of {named}"))


def _say(options: argparse.Namespace, unmerged: Row, rows: list[Row]) -> None:
    letters = [letter(number) for number in range(len(unmerged[1].heads))]
    together = not math.isnan(unmerged[1].joint)
    if options.json:
        told = [
            {"until": name, "heads": dict(zip(letters, score.heads, strict=True)), "share": share}
            | ({"together": score.joint} if together else {})
            for name, score, share in (unmerged, *rows)
        ]
        return say_json({"unmerged": told[0], "zipped": told[1:]})
    head = ["trunk up to", *(f"{name}'s head" for name in letters), *(["all together"] if together else [])]
    table = []
    for name, score, share in (unmerged, *rows):
        shares = (*score.heads, *([score.joint] if together else []), share)
        table.append([name, *map(numbers.accuracy, shares)])
    say_table([*head, "parameters"], table)
    say("accuracy on test images: of each head on its own classes" + (", and of all on all" if together else ""))
    return say(f"written to {options.out}") if options.out else None
