"""How much a merge from files holds: what torch allocates, counted exactly, whatever the machine does besides."""

from __future__ import annotations

import gc
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from merging.pipeline.from_files import merge_files
from merging.zoo.architectures import build
from merging.zoo.checkpoints.checkpoint import save_checkpoint

WIDTH = 96


def deep(folder: Path, depth: int) -> tuple[Path, Path]:
    """Two MLPs of equal hidden layers."""
    config = {"widths": [WIDTH] * depth, "in_shape": [1, 8, WIDTH // 8], "classes": 5}
    files = (folder / f"{depth}-0.safetensors", folder / f"{depth}-1.safetensors")
    for seed, file in enumerate(files):
        state = build("mlp", config, seed=seed).state_dict()
        file.write_bytes(save_checkpoint(state, architecture="mlp", config=config))
    return files


def most_allocated(files: tuple[Path, Path], out: Path) -> int:
    """The most bytes of tensors alive at once from the proof on: matching, the second proof, averaging and writing."""
    gc.collect()
    recorder = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    running = False

    def report(stage: str, fraction: float | None = None, message: str = "") -> None:
        nonlocal running
        if stage == "tracing" and fraction == 0.5:
            recorder.__enter__()
            running = True

    try:
        merge_files(*files, out, settings={"restarts": 2, "start": "random", "sweeps": 2}, report=report)
    finally:
        if running:
            recorder.__exit__(None, None, None)
    mapped = {file.stat().st_size for file in files}  # a mapping of a file counts as an allocation, too, but is none
    now = most = 0
    events = [event for event in recorder.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes() if abs(event.nbytes()) not in mapped else 0
        most = max(most, now)
    return most


def test_memory_grows_with_the_largest_layer_and_not_with_the_network(tmp_path: Path) -> None:
    layer = 4 * WIDTH * WIDTH
    few, many = (most_allocated(deep(tmp_path, depth), tmp_path / f"out-{depth}") for depth in (6, 18))
    # Twelve more layers in either network would be 24 copies of a layer, if they were held. When Python collects its
    # garbage decides about one or two.
    assert many < few + 3 * layer
    assert many < 12 * layer  # two networks hold 36
