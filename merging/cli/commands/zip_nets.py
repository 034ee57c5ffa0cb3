"""`zip`: merge networks into one trunk up to a layer, and keep each network's own head after it (partial ZipIt!)."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from merging.cli.console import say, say_json, say_table
from merging.cli.files import check_file, write
from merging.cli.images import need_batches
from merging.cli.nets import Net, chosen_device, read_nets
from merging.cli.options import Options, add_data, add_json, add_machine, add_nets, add_seed, read_pairs, read_texts
from merging.errors import InvalidRequest
from merging.jobs.requests.zip_networks import UNCHOSEN
from merging.methods.registry import MOST_MODELS
from merging.progress import Progress
from merging.results.zip_report import ZipReport, labels_of
from merging.text import numbers
from merging.text.verdicts.zip import zip_headline
from merging.zoo.datasets.known import facts as facts_of

NAME, HELP = "zip", "merge networks up to a layer and keep each one's head after it (partial ZipIt!)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "A", "B", more=f"further networks, up to {MOST_MODELS} in all")
    parser.add_argument("--until", metavar="LAYER", help="the last merged layer (default: every layer in turn)")
    help_text = "class names of a network's outputs if its file does not state them; repeat for each network, in order"
    parser.add_argument("--classes", action="append", metavar="NAME,...", help=help_text)
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="settings of ZipIt!, such as alpha=0.3")
    add_seed(parser)
    add_data(parser)
    out_help = "with --until: trunk and heads as .safetensors, or the network as .pt2, which runs with torch alone"
    parser.add_argument("--out", type=Path, metavar="FILE", help=out_help)
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Zip the networks as far as one layer, or each in turn; measure every head on the test images of its classes."""
    from merging.analysis.path.heads import measure_heads
    from merging.methods.align.zipit import ZipItSettings
    from merging.pipeline.partial_zip import partial_zips
    from merging.zoo.checkpoints.checkpoint import save_checkpoint

    if options.out and not options.until:
        raise InvalidRequest("--out writes a single zipped network: name the last layer of its trunk with --until.")
    if options.out:
        check_file(options.out)
    settings = read_texts(ZipItSettings, read_pairs(options.set, "--set"))
    if settings.get("choose"):
        raise InvalidRequest(UNCHOSEN)
    nets, device = read_nets(options), chosen_device(options)
    data = need_batches(options, nets[0], device)
    labels = _known(options, nets)
    models = [net.module(device) for net in nets]
    arguments = {"until": options.until, "settings": settings, "seed": options.seed}
    zips = partial_zips(models, data["train"], **arguments, report=report)
    zip_report = measure_heads(zips, labels, data["test"])
    _say(options, zip_report)
    if options.out:
        (zipped,) = zips
        names = " + ".join(net.checkpoint.name for net in nets)
        if options.out.suffix == ".pt2":
            write(options.out, zipped.cpu().program(data["test"].example().cpu()))
        else:
            write(options.out, save_checkpoint(zipped.tensors(), architecture="", config={}, name=f"Zip of {names}"))
        if not options.json:
            say(f"written to {options.out}")


def _known(options: Options, nets: list[Net]) -> list[list[int]]:
    """Return, for each network, the class index in the data set that each of its outputs stands for."""
    facts, texts = facts_of(options.data or nets[0].checkpoint.dataset), options.classes
    if texts and len(texts) != len(nets):
        raise InvalidRequest(f"--classes was given {len(texts)} times for {len(nets)} networks; give it once for each.")
    classes = (
        [[name.strip() for name in one.split(",")] for one in texts] if texts else [n.checkpoint.classes for n in nets]
    )
    each = zip(classes, nets, strict=True)
    return [labels_of(names, facts.classes, net.checkpoint.name, facts.label) for names, net in each]


def _say(options: Options, found: ZipReport) -> None:
    together = not math.isnan(found.beside)
    rows = [("unmerged", found.alone, found.beside, 1.0)]
    rows += zip(found.layers, found.heads.T, found.joint, found.share, strict=True)
    if options.json:
        entries = [
            {"until": until, "heads": dict(zip(found.names, map(float, heads), strict=True)), "share": float(share)}
            | ({"together": float(joint)} if together else {})
            for until, heads, joint, share in rows
        ]
        unmerged = {name: value for name, value in entries[0].items() if name not in ("until", "share")}
        return say_json({"unmerged": unmerged, "zipped": entries[1:], "notes": dict(found.notes)})
    head = ["trunk up to", *(f"{name}'s head" for name in found.names), *(["all together"] if together else [])]
    table = []
    for until, heads, joint, share in rows:
        shares = (*heads, *([joint] if together else []), share)
        table.append([until, *(numbers.accuracy(float(value)) for value in shares)])
    say_table([*head, "parameters"], table)
    say("accuracy on test images: each head on its own classes" + (", all together on all classes" if together else ""))
    if "reset" in found.notes:
        say(f"BatchNorm statistics are from {found.notes['reset']} training images, also for the unmerged networks")
    return say(zip_headline(found))
