"""Pairs of small checkpoints as files, with numbers in every tensor that tell units apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from merging.zoo.architectures import build
from merging.zoo.checkpoints.checkpoint import save_checkpoint

NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"widths": [12, 9], "in_shape": [1, 8, 8], "classes": 5}),
    "cnn": ("cnn", {"widths": [6, 8], "norm": "batch", "in_shape": [1, 12, 12], "classes": 5}),
    "resnet20": ("resnet20", {"width": 4, "in_shape": [3, 8, 8]}),
}


def net(kind: str, seed: int) -> nn.Module:
    """A network of `NETS` whose biases, norms and running statistics are random, too."""
    architecture, config = NETS[kind]
    channels = config["in_shape"][0]
    made = build(architecture, config, (0.5,) * channels, (0.25,) * channels, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if tensor.dim() == 1:
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(noise - 0.5 if name.endswith(("bias", "mean")) else noise + 0.5)
    return made


def saved(folder: Path, kind: str, seed: int, **more: Any) -> Path:
    """That network as a checkpoint file."""
    architecture, config = NETS[kind]
    channels = config["in_shape"][0]
    story = {"mean": (0.5,) * channels, "std": (0.25,) * channels, "name": f"{kind} {seed}", **more}
    file = folder / f"{kind}-{seed}.safetensors"
    file.write_bytes(save_checkpoint(net(kind, seed), architecture=architecture, config=config, **story))
    return file


def pair(folder: Path, kind: str) -> tuple[Path, Path]:
    """Two seeds of it."""
    return saved(folder, kind, 0), saved(folder, kind, 1)


def sharded(folder: Path, state: Mapping[str, torch.Tensor]) -> Path:
    """A state dict in three files with their index, as large checkpoints are published."""
    folder.mkdir()
    homes = {name: f"model-0000{number % 3 + 1}-of-00003.safetensors" for number, name in enumerate(state)}
    for home in sorted(set(homes.values())):
        safetensors.torch.save_file({name: state[name] for name in state if homes[name] == home}, folder / home)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    return folder
