"""`compare`: every method on the same networks, one row a merge, and the mean of each method with its spread."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from merging import results
from merging.cli.console import say, say_json, say_table
from merging.cli.files import write
from merging.cli.images import dataset_of, read_images
from merging.cli.nets import Net, device_of, read_net
from merging.cli.options import add_data, add_json, add_machine, add_nets
from merging.errors import InvalidRequest, InvalidSetting, MergescopeError
from merging.figures import numbers
from merging.methods import ROLES, find, table
from merging.problem import Report
from merging.work.comparison import Grid, Row, row_of, summaries, to_csv, to_values
from merging.work.images import fingerprint
from merging.work.payload import Payload
from merging.work.request import MergeRequest

NAME, HELP = "compare", "run a grid of align x combine x correct on the same networks, and print the table"
USUAL = {"align": "none,weight-matching", "combine": "average", "correct": "none"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_nets(parser, "A", "B")
    parser.add_argument("more", nargs="*", metavar="C", help="further networks of the same kind")
    parser.add_argument("--base", metavar="NET", help="what the networks were trained from; see `methods`")
    for role in ROLES:
        told = f"methods, or `all`, with commas between (default {USUAL[role]})"
        parser.add_argument(f"--{role}", default=USUAL[role], metavar="KEY[,KEY]", help=told)
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="runs a method, with seeds 0, 1 ... (default 1)"
    )
    parser.add_argument("--growing", action="store_true", help="merge the first 2, 3 ... at once, not every pair")
    add_data(parser, images=1000)
    parser.add_argument("--points", type=int, default=11, metavar="N", help="lambdas of each curve (default 11)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows as .csv, too")
    add_machine(parser)
    add_json(parser)


def run(options: argparse.Namespace, report: Report) -> None:
    """Merge and measure one after another, and print. A method that fails is a row that says so."""
    nets = [read_net(name, options) for name in (options.a, options.b, *options.more)]
    base = read_net(options.base, options) if options.base else None
    if any(net.is_own for net in nets):
        raise InvalidRequest("Networks of a factory of your own can be merged by `merge`, one method at a time.")
    grid = _grid(options, nets, base)
    requests, rows, errors = grid.requests(), [], []
    for number, request in enumerate(requests):
        report("comparing", number / len(requests), request.title)
        try:
            rows.append(row_of(request, "done", _merged(options, request, nets, base)))
        except MergescopeError as error:
            errors.append(str(error))
            rows.append(row_of(request, "failed", None))
    if options.out:
        write(options.out, to_csv(rows).encode())
    if options.json:
        return say_json(to_values(rows))
    _show(rows, errors)
    if grid.left_out():
        say(f"left out, for they do not fit these networks: {', '.join(grid.left_out())}")
    return None


def _grid(options: argparse.Namespace, nets: list[Net], base: Net | None) -> Grid:
    chosen = {role: _keys(role, getattr(options, role)) for role in ROLES}
    if not 1 <= options.seeds <= 100:
        raise InvalidSetting(f"--seeds must be from 1 to 100; got {options.seeds}.")
    dataset = dataset_of(options, nets[0])
    return Grid(
        tuple(net.ref for net in nets),
        chosen["align"],
        chosen["combine"],
        chosen["correct"],
        tuple(range(options.seeds)),
        "growing" if options.growing else "pairs",
        base.ref if base else None,
        dataset,
        fingerprint(dataset, options.images),
        options.images,
        options.points,
    )


def _keys(role: str, text: str) -> tuple[str, ...]:
    if text == "all":
        return tuple(table(role))  # type: ignore[arg-type]
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    return tuple(find(role, key).key for key in keys)  # type: ignore[arg-type]


def _merged(
    options: argparse.Namespace, request: MergeRequest, nets: list[Net], base: Net | None
) -> results.MergeReport:
    """The same task as a worker of the app runs."""
    from merging.work import tasks

    by_hash = {net.ref.sha256: net.data for net in (*nets, *([base] if base else []))}
    data = tuple(by_hash[model.sha256] for model in request.checkpoints)
    images = read_images(options, nets[0])
    payload = Payload(request.to_json(), data, images, device_of(options), options.threads)
    found: results.MergeReport = results.load(tasks.run("merge", payload, _silent)["report"])
    return found


def _silent(stage: str, fraction: float | None = None, message: str = "") -> None:
    """Each merge's own stages are not told: the bar is the grid's."""


def _show(rows: list[Row], errors: list[str]) -> None:
    by_count = {summary.count for summary in summaries(rows, "test_accuracy")}
    losses = {(s.triple, s.count): s for s in summaries(rows, "test_loss")}
    barriers = {(s.triple, s.count): s for s in summaries(rows, "barrier_mean")}
    lines = []
    for found in sorted(summaries(rows, "test_accuracy"), key=lambda summary: (summary.count, -summary.mean)):
        key = (found.triple, found.count)
        spread = f" ± {numbers.points(found.spread)}" if found.runs > 1 else ""
        barrier = numbers.loss(barriers[key].mean) if key in barriers else ""
        lines.append(
            (*found.triple, found.count, numbers.accuracy(found.mean) + spread, numbers.loss(losses[key].mean), barrier)
        )
    if lines:
        say_table(("align", "combine", "correct", "n", "test accuracy", "loss", "barrier"), lines)
    for count in sorted(by_count):
        mine = [row for row in rows if row["count"] == count and not math.isnan(row["test_accuracy"])]
        each = {
            name: math.fsum(row[f"{name}_accuracy"] for row in mine) / len(mine)
            for name in ("parents", "naive", "ensemble")
        }
        told = ", ".join(f"{name} {numbers.accuracy(value)}" for name, value in each.items())
        say(f"{count} networks: {told} (test images, means of {len(mine)} merges)")
    for text in dict.fromkeys(errors):
        say(f"failed: {text}")
