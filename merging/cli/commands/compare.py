"""`compare`: run many methods on the same networks, and print the mean and the spread of each method."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from merging.cli.console import say, say_json, say_table
from merging.cli.files import check_file, write
from merging.cli.images import dataset_of, need_images
from merging.cli.nets import Net, chosen_device, read_net, read_nets
from merging.cli.options import Options, add_data, add_json, add_machine, add_nets, add_points, check_base, whole
from merging.errors import InvalidSetting, MergescopeError
from merging.jobs.requests.comparison import Grid, Row, by_kind, row_of, summaries, to_csv, to_values
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.tasks.payload import Payload
from merging.methods.registry import ROLES, find, table
from merging.progress import Progress
from merging.results import reports, saving
from merging.text import numbers
from merging.text.comparison_words import standing
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.datasets.load import ImageSet

NAME, HELP = "compare", "merge the same networks by every chosen align x combine x correct, and print a table"
USUAL = {"align": "none,weight-matching", "combine": "average", "correct": "none"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "A", "B", more="further networks; every pair of the same kind is merged")
    parser.add_argument("--base", metavar="NET", help="network that the others were fine-tuned from; see `methods`")
    for role in ROLES:
        help_text = f"methods, separated by commas, or `all` (default {USUAL[role]})"
        parser.add_argument(f"--{role}", default=USUAL[role], metavar="KEY[,KEY]", help=help_text)
    help_text = "number of runs per method, with seeds 0, 1 ... (default 1)"
    parser.add_argument("--seeds", type=whole(1, 100), default=1, metavar="N", help=help_text)
    parser.add_argument(
        "--growing", action="store_true", help="merge the first 2, 3 ... networks at once, not every pair"
    )
    add_data(parser, images=1000)
    add_points(parser, 11)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write one row per merge to this .csv file")
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Run the merges one after another and print the results. A failed merge gets a row that says so."""
    if options.out:
        if options.out.suffix != ".csv":
            raise InvalidSetting(f"{options.out.name}: the table is written as .csv. Give the file this suffix.")
        check_file(options.out)
    nets = read_nets(options)
    base = read_net(options.base, options) if options.base else None
    grid, images = _grid(options, nets, base), need_images(options, nets[0])
    requests, rows, errors = grid.requests(), [], []
    by_hash = {net.ref.sha256: net.data for net in (*nets, *([base] if base else []))}
    for number, request in enumerate(requests):
        report("comparing", number / len(requests), request.title)
        try:
            rows.append(row_of(request, "done", _merged(options, request, images, by_hash)))
        except MergescopeError as error:
            errors.append(str(error))
            rows.append(row_of(request, "failed", None))
    if options.json:
        say_json(to_values(rows))
    else:
        _show(rows, errors)
        if grid.left_out():
            why = "do not fit these networks" if base else "do not fit these networks, or need a --base"
            say(f"left out, because they {why}: {', '.join(grid.left_out())}")
        if grid.left_alone():
            say(f"not merged, because no other network has the same kind and outputs: {', '.join(grid.left_alone())}")
    if options.out:
        write(options.out, to_csv(rows).encode())


def _grid(options: Options, nets: list[Net], base: Net | None) -> Grid:
    keys = {role: _keys(role, getattr(options, role)) for role in ROLES}
    if options.combine != "all":
        check_base(keys["combine"], base)
    dataset = dataset_of(options, nets[0])
    return Grid(
        tuple(net.ref for net in nets),
        keys["align"],
        keys["combine"],
        keys["correct"],
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
    if not keys:
        raise InvalidSetting(f"--{role} takes methods separated by commas, or `all`; got {text!r}. See `methods`.")
    return tuple(find(role, key).key for key in keys)  # type: ignore[arg-type]


def _merged(
    options: Options, request: MergeRequest, images: dict[str, ImageSet], by_hash: dict[str, bytes]
) -> reports.MergeReport:
    """Merge by the task that the workers of the app run. by_hash: sha256 -> file of a network."""
    from merging.jobs.tasks.run import run_task

    data = tuple(by_hash[model.sha256] for model in request.checkpoints)
    payload = Payload(request.to_json(), data, images, chosen_device(options), options.threads)
    report: reports.MergeReport = saving.load(run_task("merge", payload, _silent)["report"])
    return report


def _silent(stage: str, fraction: float | None = None, message: str = "") -> None:
    """Ignore the progress of a single merge, because the bar shows the progress of the whole grid."""


def _show(rows: list[Row], errors: list[str]) -> None:
    kinds = by_kind(rows)
    for kind, mine in kinds.items():
        if len(kinds) > 1:
            say(f"{kind}:")
        _show_kind(mine)
    for text in dict.fromkeys(errors):
        say(f"failed: {text}")


def _show_kind(rows: list[Row]) -> None:
    note = standing(rows, " · ".join)
    by_count = {summary.count for summary in summaries(rows, "test_accuracy")}
    losses = {(s.triple, s.count): s for s in summaries(rows, "test_loss")}
    barriers = {(s.triple, s.count): s for s in summaries(rows, "barrier_mean")}
    lines = []
    for entry in sorted(summaries(rows, "test_accuracy"), key=lambda summary: (summary.count, -summary.mean)):
        key = (entry.triple, entry.count)
        spread = f" ± {numbers.points(entry.spread)}" if entry.runs > 1 else ""
        loss, barrier = (numbers.loss(of[key].mean) if key in of else "" for of in (losses, barriers))
        lines.append((*entry.triple, entry.count, numbers.accuracy(entry.mean) + spread, loss, barrier))
    if lines:
        say_table(("align", "combine", "correct", "n", "test accuracy", "loss", "barrier"), lines)
    for count in sorted(by_count):
        mine = [row for row in rows if row["count"] == count and not math.isnan(row["test_accuracy"])]
        each = {
            name: math.fsum(row[f"{name}_accuracy"] for row in mine) / len(mine)
            for name in ("parents", "naive", "ensemble")
        }
        references = ", ".join(f"{name} {numbers.accuracy(value)}" for name, value in each.items())
        over = "one merge" if len(mine) == 1 else f"means of {len(mine)} merges"
        say(f"{count} networks: {references} (test images, {over})")
    if note:
        say(note)
