"""Read files of torch.export.save (.pt2): a network's graph and weights, without running any code in the file.

The archive is read entry by entry. torch.export is not called, nothing is unpickled, and expressions are
compared but not parsed. The result is a `Program` that is checked and run on shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from merging.errors import CheckpointError
from merging.network.programs.graph import trial
from merging.network.programs.json_text import Taker
from merging.network.programs.operators import AGAIN, FLOAT, Term
from merging.network.programs.program import MAX_NODES, Program, ProgramNode, ProgramTensor
from merging.zoo.checkpoints.reading.limits import shown
from merging.zoo.checkpoints.reading.programs.archive import archive_entries, is_exported_program
from merging.zoo.checkpoints.reading.programs.nodes import NodeReader, float_type
from merging.zoo.checkpoints.reading.programs.signature import Signature, signature_of, stated
from merging.zoo.checkpoints.reading.programs.tensors import StoredTensor, constant_tensor, payloads, read_description
from merging.zoo.checkpoints.reading.tensors import checked

__all__ = ["Exported", "is_exported_program", "read_program"]

take = Taker("exported program")


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported network.

    Attributes:
        state: the network's state dict, name -> tensor; floating-point tensors are float32, integer tensors int64.
        aliases: further names of tied tensors -> the tensor's first name.
        constants: name -> tensor outside the state dict; infinities are allowed.
        was: the floating-point types in the file.
    """

    program: Program
    state: dict[str, Tensor]
    aliases: dict[str, str]
    constants: dict[str, Tensor]
    was: tuple[str, ...]


def read_program(data: bytes) -> Exported:
    """Read the network in a .pt2 file's bytes.

    Raises CheckpointError when the file is damaged, hostile or of an unsupported layout, and UnsupportedOperation
    when the network cannot be represented as a `Program`. Each message advises what to do.
    """
    files = archive_entries(data)
    name = _model(files)
    whole = read_description(files, f"models/{name}.json", "exported program")
    signature = signature_of(whole)
    module = whole["graph_module"]
    nodes, calls = _nodes(module["graph"], signature.version)
    weights, others = (payloads(files, folder, name, signature.version) for folder in ("weights", "constants"))

    used = {term.text for node in nodes for term in _terms((*node.args, *(value for _, value in node.kwargs)))}
    reads = {value: place for value, place in signature.tensors.items() if value in used}
    constants = {key: constant_tensor(key, others[key]) for key in _constants(reads, weights, others)}
    loaded = checked({key: weights[key].strided for key in _in_order(weights, module)})
    program = Program(
        signature.x,
        signature.shape,
        signature.dtype,
        nodes,
        signature.output,
        (*_state(weights, loaded.state, loaded.aliases, signature), *map(_entry, constants.items())),
        tuple((value, loaded.aliases.get(key, key)) for value, (_, key) in reads.items()),
        calls,
        signature.version,
    )
    _compare(program, module["graph"]["tensor_values"], {signature.output, *used})
    return Exported(program, loaded.state, loaded.aliases, constants, loaded.was)


def _model(files: Mapping[str, memoryview]) -> str:
    """Name of the only program in the archive. Raises CheckpointError for none, several, or another format."""
    names = [path[7:-5] for path in files if path.startswith("models/") and path.endswith(".json")]
    if not names:
        raise CheckpointError(f"The archive holds no exported program. {AGAIN}")
    if len(names) > 1:
        raise CheckpointError(f"The archive holds {len(names)} exported programs; bring a file with one. {AGAIN}")
    for path, mark in {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}.items():
        content = bytes(files.get(path, b"")[:40])
        if content != mark:
            raise CheckpointError(
                f"The archive's {path} is {shown(str(content, 'latin-1'))}, but only {mark.decode()!r} is read. Export "
                f"the network with a newer torch, on a little-endian computer. {AGAIN}"
            )
    return names[0]


def _nodes(graph: Any, version: str) -> tuple[tuple[ProgramNode, ...], tuple[str, ...]]:
    """The graph's operations, and the module path of every module call, in the order of their numbers."""
    reader = NodeReader(version)
    records = take.items(graph, "nodes", dict)
    if len(records) > MAX_NODES:
        raise CheckpointError(f"The program has {len(records):,} operations; at most {MAX_NODES:,} are run.")
    nodes = [node for number, record in enumerate(records) for node in reader.read(record, number)]
    return tuple(nodes), tuple(reader.calls)


def _terms(argument: Any) -> Iterator[Term]:
    if isinstance(argument, tuple):
        for item in argument:
            yield from _terms(item)
    elif isinstance(argument, Term) and argument.kind == "value":
        yield argument


def _in_order(weights: Mapping[str, StoredTensor], module: Any) -> list[str]:
    """Names of the tensors in the order of a state dict: module by module, parameters before buffers."""
    paths = [call.get("fqn") for call in take.items(module, "module_call_graph", dict)]
    order = {path: number for number, path in enumerate(paths) if isinstance(path, str)}

    def place(name: str) -> tuple[int, bool]:
        return order.get(name.rpartition(".")[0], len(order)), not weights[name].is_parameter

    return sorted(weights, key=place)


def _state(
    weights: Mapping[str, StoredTensor], state: Mapping[str, Tensor], aliases: Mapping[str, str], signature: Signature
) -> Iterator[ProgramTensor]:
    kinds = {name: kind for kind, name in signature.tensors.values()}
    for name, tensor in state.items():
        kind = "parameter" if weights[name].is_parameter else "buffer"
        if kinds.get(name, kind) != kind:
            raise take.damaged(f"{name} is a {kind} in one place and something else in another")
        dtype = float_type(str(weights[name].strided.dtype).removeprefix("torch."))
        yield ProgramTensor(name, kind, tuple(tensor.shape), dtype, aliases.get(name, ""))


def _constants(
    reads: Mapping[str, tuple[str, str]], weights: Mapping[str, StoredTensor], others: Mapping[str, StoredTensor]
) -> list[str]:
    """Names of the constants that the graph reads. Raises CheckpointError when the file lacks a tensor that is read."""
    for kind, name in reads.values():
        if name not in (others if kind == "tensor_constant" else weights):
            raise CheckpointError(f"The file holds no values for {shown(name)}, which the network reads. {AGAIN}")
        if name in weights and kind == "tensor_constant":
            raise take.damaged(f"{shown(name)} is both a weight and a constant")
    return list(dict.fromkeys(name for kind, name in reads.values() if kind == "tensor_constant"))


def _entry(constant: tuple[str, Tensor]) -> ProgramTensor:
    name, tensor = constant
    kind = FLOAT if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return ProgramTensor(name, "constant", tuple(tensor.shape), kind)


def _compare(program: Program, values: Any, used: set[str]) -> None:
    """Run the program on shapes; raise CheckpointError when the shape or type of a value differs from the file's.

    used: the values to compare.
    """
    result = trial(program)
    for name, shape in result.shapes.items():
        if name in values and name in used and isinstance(shape, tuple):
            sizes, dtype = stated(take(values, name, dict))
            kind = FLOAT if result.dtypes[name].is_floating_point else str(result.dtypes[name]).removeprefix("torch.")
            same = len(sizes) == len(shape) and dtype == kind
            if not same or any(isinstance(a, int) and a != b for a, b in zip(sizes, shape, strict=True)):
                raise CheckpointError(
                    f"The program says that {shown(name)} has the sizes {sizes!r:.100} ({dtype}). For two images "
                    f"it has {shape} ({kind}). It was not loaded. {AGAIN}"
                )
