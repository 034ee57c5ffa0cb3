"""`merge` of large files, tensor by tensor, so that neither network is held in memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merging.cli.console import say_note
from merging.cli.nets import chosen_device, ref_of, said_of
from merging.cli.options import Options, chosen_methods
from merging.errors import InvalidRequest
from merging.jobs.limits import from_environment
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.streaming import METHODS, memory_needed, unfit_methods
from merging.progress import Progress
from merging.results.reports import MergeReport
from merging.zoo.catalogue import shipped, shipped_file

if TYPE_CHECKING:
    from merging.zoo.checkpoints.sliced_checkpoint import SlicedCheckpoint


def add_streamed(parser: argparse.ArgumentParser) -> None:
    """Add --streamed and --no-streamed."""
    help_text = "read and write networks tensor by tensor, without measurements on images (default: from 250 MB on)"
    parser.add_argument("--streamed", action=argparse.BooleanOptionalAction, default=None, help=help_text)


def is_streamed(options: Options) -> bool:
    """Return whether the merge is streamed: on request, or because the files are large and the methods allow it.

    Raises InvalidRequest if --streamed is given but impossible.
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
        amount = f"{needed / 1e9:.1f} GB or more"
        say_note(
            f"To measure curves, the networks are held in memory ({amount}). Without --data the merge is streamed."
        )
        return False
    return True


def out_folder(options: Options, run_id: str) -> Path:
    """Return the folder that a merge is written to."""
    return options.out or Path(f"mergescope-{run_id[:12]}")


def merge_streamed(options: Options, report: Progress) -> tuple[MergeReport, dict[str, bytes], str]:
    """Merge tensor by tensor and write the networks. The images of --data are not read.

    Returns:
        The report, the artifacts that are still to be written (file name -> bytes), and the run's id.
    Raises:
        The errors of `pipeline.from_files.merge_sliced`.
    """
    from merging.jobs.tasks.streamed import missing_words, streamed_merge

    sliced = [_opened(name, path, options) for name, path in zip((options.a, options.b), _paths(options), strict=True)]
    if sliced[0].checkpoint.sha256 == sliced[1].checkpoint.sha256:
        say_note(f"{options.a} and {options.b} are the same network.")
    device = chosen_device(options)
    request = _request(options, sliced)
    say_note(f"{missing_words(sliced[0])} To compute them, use --no-streamed with --data.")
    result, permutation = streamed_merge(request, sliced, out_folder(options, request.id), device, report)
    return result, {"permutation.npz": permutation}, request.id


def _request(options: Options, opened: list[SlicedCheckpoint]) -> MergeRequest:
    """Return the merge request of the options, equal to that of a merge whose images are not on this machine."""
    refs = tuple(ref_of(one.checkpoint, one.sha256()) for one in opened)
    _, settings = chosen_methods(options)
    dataset = options.data or opened[0].checkpoint.dataset
    methods: dict[str, Any] = {**METHODS, "settings": settings}
    numbers = {"images": options.images, "points": options.points, "seed": options.seed}
    return MergeRequest(refs, dataset=dataset, **methods, **numbers)


def _opened(name: str, path: Path, options: Options) -> SlicedCheckpoint:
    from dataclasses import replace

    from merging.zoo.checkpoints.checkpoint import trained_on
    from merging.zoo.checkpoints.sliced_checkpoint import open_sliced

    if str(path) != name:  # a shipped file states all of its metadata
        return open_sliced(path)
    sliced = open_sliced(path, **said_of(options))
    if options.data and not sliced.checkpoint.dataset and not options.mean:
        sliced = replace(sliced, checkpoint=trained_on(sliced.checkpoint, options.data))
    if aside := sliced.checkpoint.aside:
        say_note(
            f"{name} also holds entries that are not used: {', '.join(aside[:6])}{', ...' if len(aside) > 6 else '.'}"
        )
    return sliced


def _obstacle(options: Options) -> str:
    """Return the reason why the networks cannot be streamed, as a sentence; "" if they can be."""
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
            return f"Only safetensors files of known networks can be streamed; {path} is a file of another kind."
    return ""


def _paths(options: Options) -> list[Path]:
    hashes = {entry.id: entry.sha256 for entry in shipped()}
    return [(shipped_file(hashes[name]) if name in hashes else None) or Path(name) for name in (options.a, options.b)]


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _free_memory() -> int:
    from merging.jobs.tasks.memory import free_memory

    return free_memory()
