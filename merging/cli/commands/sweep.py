"""`sweep`: train networks over one or two axes, merge them, and draw a measure over the axes."""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from merging.cli.console import say, say_json, say_table
from merging.cli.files import RESULTS, check_result, make_folder, write_result
from merging.cli.nets import chosen_device
from merging.cli.options import (
    IMAGES,
    Options,
    add_data_name,
    add_json,
    add_machine,
    add_points,
    add_seed,
    read_config,
    read_pairs,
    read_texts,
    whole,
)
from merging.errors import InvalidSetting
from merging.figures.many.sweep import sweep_figure
from merging.jobs.ledger.ledger import Ledger
from merging.jobs.requests.numbers import WHOLE_NUMBERS
from merging.jobs.requests.sweep import SweepRequest
from merging.jobs.sweeps.axes import LAMBDA, find_axis, sweep_axes
from merging.jobs.sweeps.measures import measures, with_numbers
from merging.jobs.sweeps.plan import checked_sweep
from merging.methods.registry import ROLES
from merging.progress import Progress
from merging.results import saving
from merging.results.sweep_report import ALONG_PATHS, SweepReport, marks
from merging.settings import changed_settings
from merging.text.sweep_words import (
    describe_trends,
    measure_text,
    measured_names,
    method_name,
    sweep_csv,
    unfinished_parts,
    usual_measure,
    value_text,
)
from merging.zoo.architectures.names import NAMES
from merging.zoo.datasets.fingerprint import fingerprint
from merging.zoo.training.options import TrainingOptions

NAME, HELP = "sweep", "train networks over an axis, such as width, merge them, and draw accuracies or barriers over it"
USUAL = {"align": "weight-matching", "combine": "average", "correct": "none"}
NUMBERS = {"epochs": 5, "common": 0, "networks": 2, "groups": 3, "first_group": 0, "seeds": 1}
OWNER = "the command line"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--architecture", choices=tuple(NAMES), required=True, metavar="KEY", help=", ".join(NAMES))
    parser.add_argument(
        "--config", action="append", metavar="KEY=VALUE", help="options of the architecture, such as widths=128,128,128"
    )
    add_data_name(parser, "fashion-mnist")
    parser.add_argument(
        "--axis", action="append", required=True, metavar="KEY=V,V,...",
        help="an axis and its values; once or twice. Axes: "
        f"{', '.join(key for key in sweep_axes() if '.' not in key)}, or a setting of methods such as align.restarts",
    )  # fmt: skip
    for role, default in USUAL.items():
        parser.add_argument(
            f"--{role}", default=default, metavar="KEY[,KEY]", help=f"methods, separated by commas (default {default})"
        )
    for name, usual in NUMBERS.items():
        number = WHOLE_NUMBERS[name]
        help_text = f"{number.help or number.label.lower()} (default {usual})"
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=whole(*number.bounds), default=usual, metavar="N", help=help_text)
    names = ", ".join(one.name for one in fields(TrainingOptions))
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help=f"a setting of the trainings: {names}")
    help_text = f"run these studies on every merge, for their numbers: {', '.join(with_numbers())}"
    parser.add_argument("--study", default="", metavar="KEY[,KEY]", help=help_text)
    parser.add_argument("--images", type=whole(*IMAGES.bounds), default=1000, metavar="N", help=IMAGES.help)
    add_points(parser, 11)
    add_seed(parser)
    parser.add_argument(
        "--measure", choices=tuple(measures()), help="what the figure shows (default: the barrier, for pairs)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"write the rows or the figure: {', '.join(RESULTS)}")
    parser.add_argument(
        "--folder", type=Path, default=Path("sweeps"),
        help="keeps every training and merge, so that an interrupted or extended sweep goes on (default sweeps); start "
        "the app with MERGESCOPE_HOME=FOLDER to look at the runs",
    )  # fmt: skip
    help_text = "jobs at the same time (default: one per core)"
    parser.add_argument("--jobs", type=whole(1, 64), default=0, metavar="N", help=help_text)
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Run the sweep in processes of this machine, and print or write its results."""
    if options.out is not None:
        check_result(options.out)
    request = checked_sweep(sweep_request(options))
    measure = options.measure or usual_measure(request)
    _check_measure(request, measure)
    make_folder(options.folder)
    result = run_in_folder(request, options, report)
    if options.json:
        say_json(_values(result))
    else:
        _show(request, result, measure)
    if options.out is not None:
        _write(request, result, options.out, measure)


def run_in_folder(request: SweepRequest, options: Options, report: Progress) -> SweepReport:
    """Run a sweep in the folder; its parts that are there already are not done again. Raises MergescopeError."""
    from merging.jobs.worker import here
    from merging.jobs.worker.engine import Plan

    threads = options.threads or 1
    plan = Plan(chosen_device(options), threads, options.jobs or max(1, (os.cpu_count() or 1) // threads))
    return here.run_sweep(Ledger(options.folder), request, OWNER, plan, report)


def sweep_request(options: Options) -> SweepRequest:
    """The sweep that the arguments describe. Raises the errors of SweepRequest."""
    pairs = read_pairs(options.axis, "--axis")
    if len(pairs) < len(options.axis):
        raise InvalidSetting("Two --axis name the same axis. Give all its values in one, separated by commas.")
    over = [(find_axis(key), text) for key, text in pairs.items()]
    over_values = tuple(
        (axis.key, tuple(axis.read(word) for word in text.split(",") if word.strip())) for axis, text in over
    )
    counts = next((values for key, values in over_values if key == "images"), (options.images,))
    keys: dict[str, Any] = {
        f"{role}s": tuple(dict.fromkeys(filter(None, map(str.strip, getattr(options, role).split(",")))))
        for role in ROLES
    }
    return SweepRequest(
        options.architecture,
        read_config(options.config),
        options.data,
        fingerprint(options.data, None),
        {str(count): fingerprint(options.data, count) for count in counts},  # type: ignore[arg-type]
        over_values,
        settings=changed_settings(TrainingOptions, read_texts(TrainingOptions, read_pairs(options.set, "--set"))),
        images=options.images,
        points=options.points,
        seed=options.seed,
        studies=tuple(key.strip() for key in options.study.split(",") if key.strip()),
        **keys,
        **{name: getattr(options, name) for name in NUMBERS},
    )


def _check_measure(sweep: SweepRequest, name: str) -> None:
    """Raise InvalidSetting if no merge of this sweep can have the measure."""
    study, is_of_study, _ = name.rpartition(".")
    if is_of_study:
        if study not in sweep.studies:
            raise InvalidSetting(f"{name} is a number of the study {study}. Ask for it with --study {study}.")
    elif LAMBDA in dict(sweep.axes) and name not in ALONG_PATHS:
        raise InvalidSetting(
            f"{name} belongs to a whole path and has no value per lambda. Over lambda: {', '.join(ALONG_PATHS)}."
        )
    elif "barrier" in name and min(sweep.at("networks", sweep.networks)) > 2:
        raise InvalidSetting(f"{name} needs a path between two networks; these merges have more. Choose accuracy.")


def _values(result: SweepReport) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(saving.to_json(result))
    return values


def _show(request: SweepRequest, result: SweepReport, measure: str) -> None:
    points = marks(result.rows, measure)
    every = [mark.triple for mark in points]
    lines = [
        (
            method_name(mark.triple, every),
            *(value_text(value) for value in mark.values),
            measure_text(measure, mark.mean),
            "" if math.isnan(mark.low) else f"{measure_text(measure, mark.low)} to {measure_text(measure, mark.high)}",
            len(mark.by_group),
        )
        for mark in points
    ]
    if points:
        say(f"{measures()[measure].title}, mean and 95 % interval over groups:")
        say_table(("methods", *(key for key, _ in request.axes), "mean", "interval", "groups"), lines)
    else:
        say(f"{measures()[measure].title} was not measured. Known: {', '.join(measured_names(result.rows))}.")
    for sentence in describe_trends(request, result.rows, measure):
        say(sentence)
    if missing := unfinished_parts(request, result.rows):
        say(f"{missing} did not finish. Run the command again to try them again.")


def _write(request: SweepRequest, result: SweepReport, out: Path, measure: str) -> None:
    write_result(
        out,
        result,
        lambda: sweep_csv(request, result.rows),
        lambda: sweep_figure(request, result.rows, measure),
    )
