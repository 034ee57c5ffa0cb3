"""`train`: train the shipped checkpoints again, or one network of a built-in architecture."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from merging.cli.console import say, say_json
from merging.cli.files import ELSEWHERE, check_file, check_inputs_stay, make_folder, write
from merging.cli.nets import chosen_device
from merging.cli.options import (
    Options,
    add_data_name,
    add_json,
    add_machine,
    add_seed,
    read_config,
    read_pairs,
    read_texts,
    whole,
)
from merging.errors import InvalidRequest, InvalidSetting
from merging.jobs.requests.checks import check_architecture
from merging.progress import Progress
from merging.settings import changed_settings
from merging.zoo.architectures.names import NAMES
from merging.zoo.catalogue import FOLDER
from merging.zoo.training.options import TrainingOptions

NAME, HELP = (
    "train",
    "train shipped checkpoints again by id (without ids: all), or one network of --architecture on --data",
)

SUFFIX = ".safetensors"
OF_ONE = {
    "config": None,
    "data": "fashion-mnist",
    "seed": 0,
    "epochs": 5,
    "set": None,
    "name": "",
    "keep": None,
    "start": None,
}  # option -> default


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="shipped checkpoints; see `zoo`")
    parser.add_argument("--architecture", choices=tuple(NAMES), metavar="KEY", help=", ".join(NAMES))
    parser.add_argument(
        "--config", action="append", metavar="KEY=VALUE", help="options of the architecture, such as widths=512,512"
    )
    add_data_name(parser, str(OF_ONE["data"]))
    add_seed(parser)
    parser.add_argument("--epochs", type=whole(1, 10_000), default=OF_ONE["epochs"], metavar="N", help="(default 5)")
    names = ", ".join(one.name for one in fields(TrainingOptions))
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help=f"a setting of the training of --architecture: {names}"
    )
    parser.add_argument(
        "--keep", metavar="N,N,...", help="also write the network after these epochs (0: before the first) beside --out"
    )
    parser.add_argument("--start", metavar="NET", help="network of the same structure to start from: a file or an id")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep the state after every epoch in a file beside the output, and go on from it if it is there",
    )
    parser.add_argument("--name", default="", help="name of the checkpoint")
    parser.add_argument(
        "--out", type=Path, help="file of the one network (default: named after it), or folder of the shipped ones"
    )
    add_machine(parser)
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Train, and write safetensors files."""
    if options.architecture:
        if options.ids:
            raise InvalidSetting("Give ids of shipped checkpoints or --architecture, not both.")
        return _one(options, report)
    names = [name for name, usual in OF_ONE.items() if getattr(options, name) != usual]
    if names:
        raise InvalidSetting(
            f"--{', --'.join(names)} can be given only with --architecture; shipped checkpoints have their own recipes."
        )
    from merging.zoo.training.shipping import train_shipped

    folder = options.out or FOLDER
    make_folder(folder)
    manifest = train_shipped(options.ids or None, folder, report, resume=options.resume)
    return say_json({"manifest": str(manifest)}) if options.json else say(f"written to {manifest.parent}")


def _one(options: Options, report: Progress) -> None:
    from merging.zoo.checkpoints.checkpoint import load_checkpoint
    from merging.zoo.training.shipping import train_one

    path = options.out or Path(f"{options.architecture}-{options.data}-s{options.seed}.safetensors")
    keep = _epochs(options)
    check_file(path)
    stem, suffix = (path.stem, SUFFIX) if path.suffix == SUFFIX else (path.name, "")  # "lr0.01" has no suffix
    files = {None: path} | {epoch: path.with_name(f"{stem}-epoch-{epoch}{suffix}") for epoch in keep}
    resume = path.with_name(f"{stem}.resume") if options.resume else None
    for file in (*files.values(), *([resume] if resume else [])):
        check_file(file)
        check_inputs_stay(file, options.inputs())
    config = read_config(options.config)
    check_architecture(options.architecture, config)
    settings = changed_settings(TrainingOptions, read_texts(TrainingOptions, read_pairs(options.set, "--set")))
    result, contents = train_one(
        options.architecture,
        config,
        options.data,
        name=options.name or path.stem,
        device=chosen_device(options),
        report=report,
        epochs=options.epochs,
        seed=options.seed,
        keep=keep,
        start=load_checkpoint(options.start).state if options.start else None,
        resume=resume,
        **settings,
    )
    try:
        for epoch, data in contents.items():
            write(files[epoch], data)
    except InvalidRequest as error:
        kept = f"What was learned is kept in {resume}: run the same command again when it can be written."
        raise InvalidRequest(f"{str(error).removesuffix(ELSEWHERE)} {kept}" if resume else str(error)) from error
    if resume:
        resume.unlink(missing_ok=True)
    if options.json:
        return say_json({"file": str(path), **result.metrics})
    return say(f"test accuracy {100 * result.metrics['accuracy']:.1f} %, written to {path}")


def _epochs(options: Options) -> tuple[int, ...]:
    """The epochs of --keep. Raises InvalidSetting if they are no epochs of the training."""
    words = [word.strip() for word in (options.keep or "").split(",") if word.strip()]
    if not all(word.isascii() and word.isdecimal() and len(word) < 9 and int(word) < options.epochs for word in words):
        raise InvalidSetting(
            f"--keep takes epochs from 0 to {options.epochs - 1}, separated by commas; got {options.keep}. The network "
            "after the last epoch is always written."
        )
    return tuple(sorted(set(map(int, words))))
