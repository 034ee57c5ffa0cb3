"""`similarity`: compare the layers of two networks by linear CKA."""

from __future__ import annotations

import argparse
from pathlib import Path

from merging.cli.console import say, say_table
from merging.cli.files import check_result, write_result
from merging.cli.images import dataset_of, need_batches
from merging.cli.nets import chosen_device, read_nets
from merging.cli.options import Options, add_data, add_json, add_machine, add_nets, add_seed
from merging.errors import UnknownLayer
from merging.jobs.requests.checks import check_fit
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import SimilarityMap
from merging.text.tables import similarity_csv

NAME, HELP = "similarity", "compare every layer of A with every layer of B by linear CKA"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "A", "B")
    add_data(parser)
    parser.add_argument("--layers", metavar="NAME,...", help="torch names of layers (default: all)")
    parser.add_argument("--estimator", choices=("debiased", "biased"), default="debiased")
    parser.add_argument(
        "--treatment", choices=("pooled", "flattened"), default="pooled", help="treatment of convolutions"
    )
    parser.add_argument(
        "--minibatch",
        type=int,
        metavar="IMAGES",
        help="sum over random minibatches of this size, such as 24: faster and for any number of images, but noisier",
    )
    add_seed(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write a .csv, .json or .html file")
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Measure on the test images, print the map, and write it to --out."""
    from merging.analysis.similarity.cka import cka
    from merging.network.graph.graph import export

    if options.out:
        check_result(options.out)
    nets, device = read_nets(options), chosen_device(options)
    for net in nets:
        check_fit(dataset_of(options, nets[0]), net.checkpoint.architecture, net.checkpoint.config)
    images = need_batches(options, nets[0], device)["test"]
    a, b = (net.module(device) for net in nets)
    layers = None if options.layers is None else [name.strip() for name in options.layers.split(",")]
    if layers is not None and not all(layers):
        names = ", ".join(layer.name for layer in export(a, images.example()).layers)
        raise UnknownLayer(f"--layers takes names separated by commas; got {options.layers!r}. Layers of A: {names}.")
    how = {name: getattr(options, name) for name in ("estimator", "treatment", "minibatch", "seed")}
    result = cka(a, b, images, layers=layers, report=report, **how)
    _write(options, result)
    if options.json:
        return say(saving.to_json(result))
    say(f"CKA ({result.estimator}, {result.treatment}) on {result.images} images; rows: A, columns: B")
    rows = [
        (name, *(f"{value:.2f}" for value in row)) for name, row in zip(result.row_layers, result.values, strict=True)
    ]
    return say_table(("", *result.column_layers), rows)


def _write(options: Options, found: SimilarityMap) -> None:
    if options.out is None:
        return
    from merging.figures.similarity import heatmap

    write_result(options.out, found, lambda: similarity_csv(found), lambda: heatmap(found, "A and B"))
