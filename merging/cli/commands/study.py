"""`study`: merge networks and run a study of the merge, as the pages do."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from merging.cli.commands import merge
from merging.cli.console import say, say_table
from merging.cli.files import check_file, write
from merging.cli.images import need_images, read_images
from merging.cli.nets import chosen_device, read_net, read_nets
from merging.cli.options import Options, add_data, add_json, add_machine, add_methods, add_nets, read_pairs, read_texts
from merging.jobs.requests.study import StudyRequest
from merging.jobs.tasks.payload import Payload
from merging.progress import Progress
from merging.results import saving
from merging.studies.registry import find_study, load_finding, studies

NAME, HELP = "study", "merge two networks or more and study the merge: why, landscape, reliability, units ..."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    help_text = "; ".join(f"{key}: {study.label}" for key, study in studies().items())
    parser.add_argument("study", choices=tuple(studies()), metavar="STUDY", help=help_text)
    add_nets(parser, "A", "B", more="further networks of the same merge, up to 32 in all")
    parser.add_argument("--base", metavar="NET", help="network that the others were fine-tuned from; see `methods`")
    add_methods(parser, align="weight-matching")
    parser.add_argument("--with", action="append", metavar="NAME=VALUE", dest="asked", help="a setting of the study")
    parser.add_argument("--other", metavar="NET", help="a network that is not merged, for landscape and similarity")
    add_data(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the result as JSON (default STUDY.json)")
    add_machine(parser)
    add_json(parser)
    parser.set_defaults(points=3)


def run(options: Options, report: Progress) -> None:
    """Merge the networks, run the study, write its result and print the numbers of the result."""
    from merging.jobs.tasks.run import run_task

    study = find_study(options.study)
    out = options.out or Path(f"{options.study}.json")
    check_file(out)
    nets = read_nets(options)
    base = read_net(options.base, options) if options.base else None
    settings = read_texts(study.settings, read_pairs(options.asked, "--with"))
    images = need_images(options, nets[0]) if study.needs_data else read_images(options, nets[0])
    merge_request = merge.merge_request(options, nets, base)
    other = read_net(options.other, options) if options.other else None
    request = StudyRequest(merge_request, options.study, settings, options.seed, other=other.ref if other else None)
    device = chosen_device(options)
    data = tuple(net.data for net in (*nets, *([base] if base else [])))
    artifacts = run_task("merge", Payload(merge_request.to_json(), data, images, device, options.threads), report)
    networks = (*data, other.data) if other else data
    payload = Payload(request.to_json(), networks, images, device, options.threads, artifacts)
    finding = load_finding(run_task("study", payload, report)["finding"])
    text = saving.to_json(finding)
    if options.json:
        if options.out is not None:
            write(out, text.encode())
        return say(text)
    path = write(out, text.encode())
    say_table((study.label, ""), list(_numbers(finding).items()))
    return say(f"written to {path}")


def _numbers(finding: Any) -> dict[str, str]:
    """Return the values of a study's result that fit on one line: numbers and strings."""
    plain = {f.name: getattr(finding, f.name) for f in fields(finding)}
    return {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in plain.items()
        if isinstance(value, str | int | float)
    }
