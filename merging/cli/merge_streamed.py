"""`merge` of large files: read and written tensor by tensor, so that neither network is held in memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merging.cli.console import say_note
from merging.cli.nets import device_of, ref_of, said_of
from merging.cli.options import chosen_methods
from merging.errors import InvalidRequest
from merging.jobs.limits import from_environment
from merging.jobs.requests.requests import MergeRequest
from merging.jobs.streaming import METHODS, memory_needed, unfit_methods
from merging.progress import Progress
from merging.results.reports import MergeReport
from merging.zoo.catalogue import shipped, shipped_file

if TYPE_CHECKING:
    from merging.zoo.checkpoints.sliced_checkpoint import SlicedCheckpoint


def add_streamed(parser: argparse.ArgumentParser) -> None:
    """--streamed and --no-streamed."""
    told = "read and write large networks tensor by tensor (default: from 250 MB on; nothing is measured on images)"
    parser.add_argument("--streamed", action=argparse.BooleanOptionalAction, default=None, help=told)


def is_streamed(options: argparse.Namespace) -> bool:
    """Whether the merge is streamed: asked for, or the files are large and the methods allow it.

    Raises InvalidRequest where --streamed is asked for and cannot be.
    """
    if options.streamed is False:
        return False
    obstacle = _obstacle(options)
    if options.streamed and obstacle:
        raise InvalidRequest(f"{obstacle} Leave --streamed out.")
    if options.streamed or obstacle:
        return not obstacle
    size = sum(_size(path) for path in _paths(options) if path.exists())
    if size < from_environment().streamed_mb * 1e6:
        return False
    needed = memory_needed(size)
    if options.data and _free_memory() > needed:
        told = f"{needed / 1e9:.1f} GB or more"
        say_note(f"Curves hold the networks in memory, {told}. Without --data the merge is streamed.")
        return False
    return True


def out_folder(options: argparse.Namespace, run_id: str) -> Path:
    """The folder that a merge is written to."""
    return options.out or Path(f"mergescope-{run_id[:12]}")


def merge_streamed(options: argparse.Namespace, report: Progress) -> tuple[MergeReport, dict[str, bytes], str]:
    """Merge and write the networks: the report, the artifacts that are left to write, and the run's id.

    The images of --data are not looked at. Raises as `pipeline.from_files.merge_sliced` does.
    """
    from merging.jobs.tasks.streamed import missing_words, streamed_merge

    opened = [_opened(name, path, options) for name, path in zip((options.a, options.b), _paths(options), strict=True)]
    if opened[0].checkpoint.sha256 == opened[1].checkpoint.sha256:
        say_note(f"{options.a} and {options.b} are the same network.")
    device = device_of(options)
    request = _request(options, opened)
    say_note(f"{missing_words(opened[0])} To have them: --no-streamed, with --data.")
    done, permutation = streamed_merge(request, opened, out_folder(options, request.id), device, report)
    return done, {"permutation.npz": permutation}, request.id


def _request(options: argparse.Namespace, opened: list[SlicedCheckpoint]) -> MergeRequest:
    """The merge that the options ask for, as of networks whose images are not here."""
    refs = tuple(ref_of(one.checkpoint, one.sha256()) for one in opened)
    _, settings = chosen_methods(options)
    dataset = options.data or opened[0].checkpoint.dataset
    methods: dict[str, Any] = {**METHODS, "settings": settings}
    numbers = {"images": options.images, "points": options.points, "seed": options.seed}
    return MergeRequest(refs, dataset=dataset, **methods, **numbers)


def _opened(name: str, path: Path, options: argparse.Namespace) -> SlicedCheckpoint:
    from dataclasses import replace

    from merging.zoo.checkpoints.checkpoint import trained_on
    from merging.zoo.checkpoints.sliced_checkpoint import open_sliced

    if str(path) != name:  # a shipped one, which says all itself
        return open_sliced(path)
    opened = open_sliced(path, **said_of(options))
    if options.data and not opened.checkpoint.dataset and not options.mean:
        opened = replace(opened, checkpoint=trained_on(opened.checkpoint, options.data))
    if aside := opened.checkpoint.aside:
        say_note(f"{name} also holds {', '.join(aside[:6])}{', ...' if len(aside) > 6 else ''}, which is left aside.")
    return opened


def _obstacle(options: argparse.Namespace) -> str:
    """Why the networks cannot be streamed, in a sentence; "" where they can be."""
    from merging.zoo.checkpoints.reading.sliced import is_sliceable

    keys, _ = chosen_methods(options)
    if unfit := unfit_methods(**keys):
        return unfit
    if options.more or options.base:
        return "Only a merge of two networks can be streamed."
    if options.architecture and (":" in options.architecture or options.architecture.endswith(".pt2")):
        return "Only networks of a known architecture can be streamed."
    for path in _paths(options):
        if path.exists() and not is_sliceable(path):
            return f"Only safetensors files of known networks can be streamed; {path} is another kind."
    return ""


def _paths(options: argparse.Namespace) -> list[Path]:
    known = {entry.id: entry.sha256 for entry in shipped()}
    return [(shipped_file(known[name]) if name in known else None) or Path(name) for name in (options.a, options.b)]


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _free_memory() -> int:
    from merging.jobs.tasks.memory import free_memory

    return free_memory()
