"""`merge`: merge two networks or more, measure the result, and write it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from merging.cli.console import say, say_json, say_note, say_table
from merging.cli.files import check_folder, write
from merging.cli.images import dataset_of, need_images, no_images, read_images
from merging.cli.merge_streamed import add_streamed, is_streamed, merge_streamed, out_folder
from merging.cli.nets import Net, chosen_device, read_net, read_nets
from merging.cli.options import (
    Options,
    add_data,
    add_json,
    add_machine,
    add_methods,
    add_nets,
    add_points,
    check_base,
    chosen_methods,
)
from merging.errors import UnsupportedOperation
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.tasks.payload import Payload
from merging.methods.registry import ROLES, find
from merging.progress import Progress
from merging.results import saving
from merging.results.reports import LossCurve, MergeReport, Metrics
from merging.text.method_notes import accounts, remarks
from merging.text.tables import curves_csv
from merging.zoo.datasets.fingerprint import fingerprint

NAME, HELP = "merge", "merge two networks or more; write the merge, the re-ordered B, the permutation and a report"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "A", "B", more="further networks of the same merge, up to 32 in all")
    parser.add_argument("--base", metavar="NET", help="network that the others were fine-tuned from; see `methods`")
    add_methods(parser, align="weight-matching")
    add_data(parser)
    add_points(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default mergescope-<run>)")
    add_streamed(parser)
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Merge the networks, write the artifacts and print the numbers."""
    check_folder(options.out or Path())
    streamed = _streamed(options, report) if is_streamed(options) else None
    remark = ""
    if streamed is not None:
        merge_report, artifacts, run_id = streamed
    else:
        nets = read_nets(options)
        merge_report, artifacts, run_id = _merged(options, nets, report)
        remark = (
            "" if merge_report.scores or merge_report.curves else f"Nothing is measured. {no_images(options, nets[0])}"
        )
    folder = out_folder(options, run_id)
    for name, data in artifacts.items():
        write(folder / name, data)
    write(folder / "report.json", saving.to_json(merge_report).encode())
    if merge_report.curves:
        write(folder / "curves.csv", curves_csv(merge_report.curves).encode())
    if options.json:
        return say_json({"run": run_id, "folder": str(folder), **_summary(merge_report)})
    _show(merge_report)
    if remark:
        say(remark)
    return say(f"written to {folder}")


def _streamed(options: Options, report: Progress) -> tuple[MergeReport, dict[str, bytes], str] | None:
    """Return the results of `merge_streamed`; None if the networks cannot be streamed and --streamed was not given."""
    try:
        return merge_streamed(options, report)
    except UnsupportedOperation as error:
        if options.streamed:
            raise
        say_note(f"The networks are merged in memory instead of tensor by tensor. {error}")
        return None


def _merged(options: Options, nets: list[Net], report: Progress) -> tuple[MergeReport, dict[str, bytes], str]:
    """Merge networks in memory; return the report, the other artifacts by file name, and the run's id."""
    base = read_net(options.base, options) if options.base else None
    if not any(net.is_own for net in nets):
        return _as_worker(options, nets, base, report)
    from merging.cli.merge_own import merge_own

    return *merge_own(options, nets, base, report), "-".join(net.checkpoint.name for net in nets)


def _as_worker(
    options: Options, nets: list[Net], base: Net | None, report: Progress
) -> tuple[MergeReport, dict[str, bytes], str]:
    """Merge with the same task as the app's workers; return the report, the other artifacts and the run's id."""
    from merging.jobs.tasks.run import run_task

    request, images = merge_request(options, nets, base), read_images(options, nets[0])
    data = tuple(net.data for net in (*nets, *([base] if base else [])))
    payload = Payload(request.to_json(), data, images, chosen_device(options), options.threads)
    artifacts = run_task("merge", payload, report)
    return saving.load(artifacts.pop("report")), artifacts, request.id


def merge_request(options: Options, nets: list[Net], base: Net | None) -> MergeRequest:
    """Build the merge request that the options describe. Raises InvalidSetting, InvalidRequest, DataUnavailable."""
    keys, settings = chosen_methods(options)
    check_base([keys["combine"]], base)
    if any(find(role, keys[role]).needs_data for role in ROLES):
        need_images(options, nets[0])
    dataset = dataset_of(options, nets[0])
    return MergeRequest(
        tuple(net.ref for net in nets),
        keys["align"],
        keys["combine"],
        keys["correct"],
        settings,
        dataset=dataset,
        data_sha256=fingerprint(dataset, options.images),
        images=options.images,
        points=options.points,
        seed=options.seed,
        base=base.ref if base else None,
    )


def _summary(found: MergeReport) -> dict[str, Any]:
    """The most important numbers of the report, on test images."""
    curves = _curves(found)
    ends = next((curve.ends for curve in curves.values()), ())
    return {
        "equivalence": found.equivalence,
        "groups": {name: {"units": units, "moved": moved} for name, (units, moved) in found.groups.items()},
        "scores": {name: {split: vars(m) for split, m in splits.items()} for name, splits in found.scores.items()},
        "ends": [vars(end) for end in ends],
        "ensemble": vars(found.ensemble["test"]) if "test" in found.ensemble else None,
        "middle": {
            kind: {metric: curve.middle(metric) for metric in ("loss", "accuracy", "ece")}
            for kind, curve in curves.items()
        },
        "barrier": {kind: vars(curve.barrier()) for kind, curve in curves.items()},
        "barrier_above_chord": {kind: vars(curve.barrier(above="chord")) for kind, curve in curves.items()},
        "seconds": found.seconds,
        "missing": found.missing,
    }


def _show(found: MergeReport) -> None:
    moved, units = (sum(pair[i] for pair in found.groups.values()) for i in (1, 0))
    say(f"{moved} of {units} units moved; outputs of B and pi(B) differ by {found.equivalence:.0e} of their size")
    for account in accounts(found):
        if account.sentences:
            whose = f", network {account.model}" if account.model else ""
            say(f"{account.role} ({account.label}{whose}): {' '.join(account.sentences)}")
    for remark in remarks(found):
        say(remark)
    curves = _curves(found)
    if curves:
        ends = next(iter(curves.values())).ends
        rows = [_row(name, end) for name, end in zip("AB", ends, strict=True)]
        for kind, curve in curves.items():
            heights = (curve.barrier(above="mean").height, curve.barrier(above="chord").height)
            rows.append((*_row(f"{kind}, half-way", curve.at_middle), *(f"{height:.3f}" for height in heights)))
        rows += [_row("ensemble", found.ensemble["test"])] if "test" in found.ensemble else []
        titles = ("test images", "accuracy", "loss", "ECE", "barrier above mean", "above chord")
        say_table(titles, [(*row, "", "")[:6] for row in rows])
    elif found.scores:
        rows = [_row(name, splits["test"]) for name, splits in found.scores.items() if "test" in splits]
        rows += [_row("ensemble", found.ensemble["test"])] if "test" in found.ensemble else []
        say_table(("test images", "accuracy", "loss", "ECE"), rows)


def _curves(found: MergeReport) -> dict[str, LossCurve]:
    """The curves on test images, the naive one first."""
    kinds = ("naive", "aligned", "corrected")
    return {kind: found.curves[kind]["test"] for kind in kinds if "test" in found.curves.get(kind, {})}


def _row(name: str, metrics: Metrics) -> tuple[str, ...]:
    return name, f"{100 * metrics.accuracy:.1f} %", f"{metrics.loss:.3f}", f"{100 * metrics.ece:.1f} %"
