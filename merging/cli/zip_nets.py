"""`zip`: one trunk for several networks up to a layer, and every network's own head after it (partial ZipIt!)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merging.cli.console import say, say_json, say_table
from merging.cli.files import write
from merging.cli.images import need_batches
from merging.cli.nets import Net, device_of, read_net
from merging.cli.options import add_data, add_json, add_machine, add_nets, read_pairs, read_texts
from merging.errors import InvalidRequest
from merging.methods import MOST_MODELS, letter
from merging.problem import Report
from merging.zoo.dataset_facts import FACTS

if TYPE_CHECKING:
    from torch import Tensor

    from merging.data import Batches
    from merging.partial_zip import PartialZip

NAME, HELP = "zip", "zip networks up to a layer and keep each one's own head of as many classes (partial ZipIt!)"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_nets(parser, "A", "B")
    parser.add_argument("more", nargs="*", metavar="C", help=f"further networks, up to {MOST_MODELS} in all")
    parser.add_argument("--until", required=True, metavar="LAYER", help="the last merged layer; see `inspect`")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="settings of ZipIt!, such as alpha=0.3")
    parser.add_argument("--seed", type=int, default=0)
    add_data(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write trunk and heads as .safetensors, for your own use"
    )
    add_machine(parser)
    add_json(parser)


def run(options: argparse.Namespace, report: Report) -> None:
    """Zip, measure every head on the test images whose classes it knows, and all heads together."""
    from merging.align.zipit import ZipItSettings
    from merging.partial_zip import partial_zip

    nets = [read_net(name, options) for name in (options.a, options.b, *options.more)]
    device = device_of(options)
    data = need_batches(options, nets[0], device)
    names = FACTS[options.data or nets[0].checkpoint.dataset].classes
    models = [net.module(device) for net in nets]
    known = [_known(net, names) for net in nets]
    settings = read_texts(ZipItSettings, read_pairs(options.set, "--set"))
    if settings.get("choose"):
        raise InvalidRequest("Heads of different classes have no common loss to choose alpha and beta by: give them.")
    zipped = partial_zip(models, options.until, data["train"], settings=settings, seed=options.seed, report=report)
    found = {letter(number): _accuracy([model], [known[number]], data["test"]) for number, model in enumerate(models)}
    found |= {f"{letter(number)}'s head": _of_head(zipped, known, number, data["test"]) for number in range(len(nets))}
    if len({label for labels in known for label in labels}) == sum(map(len, known)):
        found |= {"networks side by side": _accuracy(models, known, data["test"])}
        found |= {
            "zipped, all heads": _accuracy([zipped], [[label for labels in known for label in labels]], data["test"])
        }
    if options.out:
        from merging.zoo.checkpoints import save_checkpoint

        named = " + ".join(net.checkpoint.name for net in nets)
        write(options.out, save_checkpoint(zipped.tensors(), architecture="", config={}, name=f"Zip of {named}"))
    if options.json:
        return say_json({"until": options.until, "accuracy": found})
    say_table(
        ("test accuracy", "on the classes it knows"), [(name, f"{100 * hit:.1f} %") for name, hit in found.items()]
    )
    return say(f"written to {options.out}") if options.out else None


def _known(net: Net, names: tuple[str, ...]) -> list[int]:
    """The data set's label of each of the network's outputs. Raises InvalidRequest for a class it does not have."""
    classes = net.checkpoint.classes
    if not classes or not set(classes) <= set(names):
        told = ", ".join(classes) or "none that it names"
        raise InvalidRequest(f"The classes of {net.checkpoint.name} are {told}; the data set has {', '.join(names)}.")
    return [names.index(name) for name in classes]


def _accuracy(models: list[Any], known: list[list[int]], data: Batches) -> float:
    """Of the largest of all models' logits, (n, sum of classes), on the images with one of their classes."""
    import torch

    labels = torch.tensor([label for own in known for label in own])
    hits = total = 0
    with torch.no_grad():
        for images, truth in data:
            answers = labels.to(truth.device)[torch.cat([model(images) for model in models], 1).argmax(1)]
            asked = torch.isin(truth, labels.to(truth.device))
            hits, total = hits + int((answers == truth)[asked].sum()), total + int(asked.sum())
    return hits / max(total, 1)


def _of_head(zipped: PartialZip, known: list[list[int]], number: int, data: Batches) -> float:
    first = sum(len(labels) for labels in known[:number])

    def head(images: Tensor) -> Tensor:
        """The head's own logits (n, classes) for images (n, ...)."""
        return zipped(images)[:, first : first + len(known[number])]

    return _accuracy([head], [known[number]], data)
