"""`curve`: loss, accuracy and calibration along the line between two networks."""

from __future__ import annotations

import argparse
from pathlib import Path

from merging.cli.console import say, say_table
from merging.cli.files import check_result, write_result
from merging.cli.images import check_labels, need_batches
from merging.cli.nets import chosen_device, read_nets
from merging.cli.options import (
    Options,
    add_data,
    add_json,
    add_machine,
    add_methods,
    add_nets,
    add_points,
    chosen_methods,
)
from merging.cli.paths import reordered
from merging.errors import InvalidRequest, InvalidSetting
from merging.methods.registry import find
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import LossCurve, MergeReport
from merging.text.tables import curves_csv
from merging.zoo.architectures.names import unlike

NAME, HELP = "curve", "measure the straight line from A to B; optionally re-order B and correct every point"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "A", "B")
    add_methods(parser, align="none")
    add_data(parser)
    parser.add_argument("--split", choices=("train", "test"), default="test")
    add_points(parser, most=501)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write a .csv, .json or .html file")
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Measure and print the curve, and write it to --out."""
    from merging.analysis.path.interpolation import interpolate

    keys, settings = chosen_methods(options)
    if keys["combine"] != "average":
        label = find("combine", keys["combine"]).label
        raise InvalidSetting(
            f"`curve` measures only the straight line. For {label} use `merge`, which also writes curves."
        )
    if options.out:
        check_result(options.out)
    nets, device = read_nets(options), chosen_device(options)
    if why := unlike(nets[0].checkpoint, nets[1].checkpoint):
        raise InvalidRequest(why)
    check_labels(options, nets)
    data = need_batches(options, nets[0], device)
    a, b = (net.module(device) for net in nets)
    b = reordered(a, b, data["train"], options, report)
    result = interpolate(
        a,
        b,
        data[options.split],
        points=options.points,
        correct=keys["correct"],
        correction_data=data["train"],
        settings=settings["correct"],
        seed=options.seed,
        report=report,
    )
    kind = "corrected" if keys["correct"] != "none" else "aligned" if keys["align"] != "none" else "naive"
    _write(options, result, kind)
    if options.json:
        return say(saving.to_json(result))
    columns = zip(result.lambdas, result.accuracy, result.loss, result.ece, strict=True)
    rows = [
        (f"{at:.3f}", f"{100 * hits:.1f} %", f"{loss:.4f}", f"{100 * ece:.1f} %") for at, hits, loss, ece in columns
    ]
    say_table(("lambda", "accuracy", "loss", "ECE"), rows)
    for above in ("mean", "chord"):
        barrier = result.barrier(above=above)  # type: ignore[arg-type]
        say(f"loss barrier above the {above} of the ends: {barrier.height:.4f} at lambda {barrier.at:.2f}")
    return None


def _write(options: Options, found: LossCurve, kind: str) -> None:
    if options.out is None:
        return
    from merging.figures.curve import curve_figure

    curves = {kind: {options.split: found}}
    report = MergeReport({}, (), {}, 0.0, curves=curves)
    write_result(options.out, found, lambda: curves_csv(curves), lambda: curve_figure(report, split=options.split))
