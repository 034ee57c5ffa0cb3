"""Exported programs as networks of the zoo: their configuration, their metadata in a file, and the added first step
that standardises their images.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from merging.errors import CheckpointError, UnknownArchitecture
from merging.network.programs.graph import trial
from merging.network.programs.json_text import program_from_json, program_to_json
from merging.network.programs.module import ProgramModule, program_constants, program_of
from merging.network.programs.operators import FLOAT, Argument, Term
from merging.network.programs.program import Program, ProgramNode, ProgramTensor
from merging.network.programs.writer import write_program
from merging.zoo.architectures.names import PROGRAM
from merging.zoo.checkpoints.metadata import MAX_NAME
from merging.zoo.checkpoints.recognise.variants import missing_or_extra, variants

MEAN, STD = "standardise_mean", "standardise_std"  # constants of the first step
SHIFTED, SCALED = "standardise_shifted", "standardise_scaled"  # operations of the first step
_COUNTED = {
    **{"conv1d": "conv", "conv2d": "conv", "conv3d": "conv", "embedding": "embedding", "lstm": "LSTM", "gru": "GRU"},
    **{"rnn_tanh": "RNN", "rnn_relu": "RNN", "scaled_dot_product_attention": "attention", "linear": "linear"},
}


@dataclass(frozen=True, eq=False)
class KnownProgram:
    """A program with its constants (name -> tensor). It runs with any state dict of the same names and shapes."""

    program: Program
    constants: Mapping[str, Tensor]

    @property
    def config(self) -> dict[str, Any]:
        """Configuration that identifies the network in a request: hash of the graph, input shape, number of classes,
        and, for token inputs, the number of tokens."""
        outputs = trial(self.program).shapes[self.program.output]
        config: dict[str, Any] = {"program": structure_digest(self.program), "in_shape": list(self.program.shape)}
        if len(outputs) == 2:
            config["classes"] = outputs[1]
        if self.program.dtype != FLOAT:
            config["tokens"] = _tokens(self.program)
        return {**config, "label": label(self.program)}


def _tokens(program: Program) -> int:
    """Number of rows of the smallest embedding table: every token below it is valid in all tables."""
    sizes = {tensor.name: tensor.shape for tensor in program.tensors}
    homes = dict(program.reads)
    tables = [node.args[0] for node in program.nodes if node.target.startswith("aten.embedding") and node.args]
    rows = [sizes[homes[table.text]][0] for table in tables if isinstance(table, Term) and table.text in homes]
    return min(rows, default=2)


def structure_digest(program: Program) -> str:
    """Hash the graph and its tensors' names and shapes: two networks of the same structure have the same hash."""
    return hashlib.sha256(program_to_json(replace(program, torch="")).encode()).hexdigest()[:16]


def label(program: Program) -> str:
    """Readable name of the network, such as "Exported program, 20 conv, 1 linear"."""
    kinds = Counter(_COUNTED.get(node.target.split(".")[1], "") for node in program.nodes if "." in node.target)
    parts = [f"{kinds[kind]} {kind}" for kind in dict.fromkeys(_COUNTED.values()) if kinds[kind]]
    return ", ".join(["Exported program", *(parts or [f"{len(program.nodes)} operations"])])[:MAX_NAME]


def program_story(program: Program) -> dict[str, Any]:
    """Metadata for a file that holds the program's tensors; `program_in` reads the program back from it."""
    return {"architecture": PROGRAM, "program": program_to_json(program)}


def program_in(story: Mapping[str, Any], constants: Mapping[str, Tensor]) -> KnownProgram:
    """Read and check the program in a file's metadata. Raises CheckpointError when it is missing or damaged.

    constants: name -> tensor, of any shape.
    """
    text = story.get("program")
    if not isinstance(text, str):
        raise CheckpointError("The file says that it is an exported program, but holds none. Bring the .pt2 again.")
    return KnownProgram(program_from_json(text), dict(constants))


def fit_program(state: Mapping[str, Tensor], known: KnownProgram) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Match a file's tensors to the program's.

    Returns:
        The tensors under the program's names, in its order; and the file's names -> the program's, where they differ.
    Raises:
        UnknownArchitecture: when names or shapes differ from the program's.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    expected = {tensor.name: tensor.shape for tensor in known.program.state}
    for way in variants(shapes):
        misfits = missing_or_extra(way.names, expected.keys())
        if not misfits and all(expected.get(name, shape) == shape for name, shape in way.shapes(shapes).items()):
            named = {name: state[theirs] for name, theirs in way.names.items()}
            zeros = {name: torch.zeros((), dtype=torch.int64) for name in expected.keys() - named.keys()}
            renamed = {theirs: name for name, theirs in way.names.items() if name != theirs}
            return {name: (named | zeros)[name] for name in expected}, renamed
    differing = sorted(expected.keys() ^ shapes.keys()) or [name for name in expected if expected[name] != shapes[name]]
    raise UnknownArchitecture(
        f"The file's tensors are not those of the exported program: {', '.join(differing[:3])} differ. "
        "Export the network itself, or name the program that the tensors belong to."
    )


def build_program(
    known: KnownProgram, state: Mapping[str, Tensor], mean: Sequence[float], std: Sequence[float]
) -> ProgramModule:
    """Build the program's network with these tensors, in eval mode. It standardises its images (n, channels, ...)."""
    standard = standardised(known, mean, std)
    return ProgramModule(standard.program, state, standard.constants)


def to_pt2(module: ProgramModule) -> bytes:
    """Export the network to a new .pt2 file, under the user's own tensor names and without the step that standardises
    images. torch loads it without Mergescope. Raises UnsupportedOperation when torch cannot write it."""
    known = plain_program(module)
    return write_program(ProgramModule(known.program, module.cpu().state_dict(), known.constants))


def standardised(known: KnownProgram, mean: Sequence[float], std: Sequence[float]) -> KnownProgram:
    """Put the step (x - mean) / std per channel before the program; unchanged for mean 0 and std 1, and for tokens."""
    program = known.program
    if program.dtype != FLOAT or (not any(mean) and all(value == 1 for value in std)):
        return known
    shape = (1, -1, *(1,) * (len(program.shape) - 1))
    constants = {name: torch.tensor(list(v), dtype=torch.float32).view(shape) for name, v in ((MEAN, mean), (STD, std))}
    entries = tuple(ProgramTensor(name, "constant", tuple(t.shape), FLOAT) for name, t in constants.items())
    x = Term("value", program.input)
    first = (
        ProgramNode(SHIFTED, "aten.sub.Tensor", (x, Term("value", MEAN)), (), ()),
        ProgramNode(SCALED, "aten.div.Tensor", (Term("value", SHIFTED), Term("value", STD)), (), ()),
    )
    nodes = tuple(_reading(node, program.input, SCALED) for node in program.nodes)
    reads = (*program.reads, (MEAN, MEAN), (STD, STD))
    extended = replace(program, nodes=(*first, *nodes), tensors=(*program.tensors, *entries), reads=reads)
    return KnownProgram(extended, {**known.constants, **constants})


def plain_program(module: ProgramModule) -> KnownProgram:
    """The program that a module runs, without the first step that `standardised` added."""
    program, constants = program_of(module), program_constants(module)
    if MEAN not in constants:
        return KnownProgram(program, constants)
    nodes = tuple(_reading(node, SCALED, program.input) for node in program.nodes if node.name not in (SHIFTED, SCALED))
    tensors = tuple(tensor for tensor in program.tensors if tensor.name not in (MEAN, STD))
    reads = tuple(pair for pair in program.reads if pair[1] not in (MEAN, STD))
    remaining = {name: tensor for name, tensor in constants.items() if name not in (MEAN, STD)}
    return KnownProgram(replace(program, nodes=nodes, tensors=tensors, reads=reads), remaining)


def _reading(node: ProgramNode, old: str, new: str) -> ProgramNode:
    """The operation with the value `old` replaced by `new` among its arguments."""

    def exchanged(argument: Argument) -> Argument:
        if isinstance(argument, tuple):
            return tuple(map(exchanged, argument))
        return Term("value", new) if argument == Term("value", old) else argument

    return replace(
        node, args=tuple(map(exchanged, node.args)), kwargs=tuple((key, exchanged(value)) for key, value in node.kwargs)
    )
