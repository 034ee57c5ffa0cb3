"""Contents of a loaded file: the state dicts in it, under any path, and everything else.

Training scripts save weights under any key, next to an optimizer's state, epochs, copies of the weights and metrics. A
*network* is a mapping of names to tensors with at least one tensor of two or more dimensions. Tables of loss weights
and counters have no such tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from merging.errors import CheckpointError
from merging.zoo.checkpoints.reading.kinds import HOW
from merging.zoo.checkpoints.reading.limits import KEY, MAX_KEY, MAX_TENSORS, shown

MAX_DEPTH = 6
MAX_ENTRIES = 200_000  # summed over all mappings
_OPTIMIZER = {"param_groups", "exp_avg", "momentum_buffer", "base_lrs"}


@dataclass(frozen=True)
class Contents:
    """Contents of a file.

    Attributes:
        networks: path inside the file ("" for the file itself) -> the network's tensors, of any shapes, unchecked.
        aside: dotted keys of everything else in the file, such as "optimizer" and "epoch".
    """

    networks: dict[str, dict[str, Tensor]]
    aside: tuple[str, ...]


def contents_of(loaded: Any) -> Contents:
    """Find the networks in a loaded file. Raises CheckpointError if there is none, or a tensor name is invalid."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"The file holds {article(loaded)}, not a state dict of named tensors. {HOW}")
    if not loaded:
        raise CheckpointError(f"The file holds no tensors at all. {HOW}")
    networks: dict[str, dict[str, Tensor]] = {}
    mappings = dict(_mappings(loaded))
    for path, mapping in mappings.items():
        tensors = {name: value for name, value in mapping.items() if isinstance(value, Tensor)}
        if _is_network(tensors):
            _check_names(tensors)
            networks[path] = tensors
    if not networks:
        raise CheckpointError(f"The file holds no network: no tensor in it has two dimensions or more. {HOW}")
    above = {path[:end] for path in networks for end in range(len(path) + 1) if path[end : end + 1] in ("", ".")} | {""}
    aside = [
        _joined(path, key)
        for path, mapping in mappings.items()
        if path in above
        for key, value in mapping.items()
        if _joined(path, key) not in above and not (path in networks and isinstance(value, Tensor))
    ]
    return Contents(_split(networks), tuple(aside))


def article(value: Any) -> str:
    """Name of a value's type with its article: "a list", "an int"."""
    kind = type(value).__name__
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"


def common_prefix(names: list[str]) -> str:
    """The longest dotted prefix of all names, with its last dot: "module.net." or ""."""
    parts = [name.split(".")[:-1] for name in names]
    depth = 0
    while all(len(part) > depth for part in parts) and len({part[depth] for part in parts}) == 1:
        depth += 1
    return "".join(f"{part}." for part in parts[0][:depth]) if parts else ""


def _mappings(loaded: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield (dotted path of keys, mapping) for the file and every mapping inside it, except optimizers' states.

    Raises CheckpointError if there are too many entries, which a small file can have: a list may stand in many places.
    """
    stack: list[tuple[str, Any, int]] = [("", loaded, 0)]
    entries, nested = 0, dict[int, bool]()
    while stack:
        path, value, depth = stack.pop()
        entries += len(value)
        if entries > MAX_ENTRIES:
            raise CheckpointError(f"The file lists more than {MAX_ENTRIES:,} entries. It was not loaded.")
        if isinstance(value, Mapping):
            if _OPTIMIZER & {key for key in value if isinstance(key, str)}:
                continue
            yield path, value
        if depth < MAX_DEPTH:
            inner = value.items() if isinstance(value, Mapping) else enumerate(value)
            below = [(_joined(path, key), item, depth + 1) for key, item in inner if _is_nested(item, nested)]
            stack += reversed(below)


def _is_nested(value: Any, known: dict[int, bool]) -> bool:
    """Whether the value is a mapping, or a list with one in it. known: the answers for lists, by their `id`."""
    if not isinstance(value, (list, tuple)):
        return isinstance(value, Mapping)
    if id(value) not in known:
        known[id(value)] = False  # a list may hold itself
        known[id(value)] = any(_is_nested(item, known) for item in value[:64])
    return known[id(value)]


def _joined(path: str, key: Any) -> str:
    text = str(key)[:MAX_KEY]
    return f"{path}.{text}" if path else text


def _is_network(tensors: Mapping[Any, Tensor]) -> bool:
    return any(tensor.dim() >= 2 for tensor in tensors.values())


def _check_names(tensors: Mapping[Any, Tensor]) -> None:
    if len(tensors) > MAX_TENSORS:
        raise CheckpointError(f"The file holds {len(tensors)} tensors; at most {MAX_TENSORS} are read.")
    for name in tensors:
        if not isinstance(name, str) or len(name) > MAX_KEY or not KEY.fullmatch(name):
            raise _wrong_name(name)


def _wrong_name(name: Any) -> CheckpointError:
    return CheckpointError(
        f"The tensor name {shown(str(name))} is not one that torch makes (letters, digits, _ - and dots, "
        f"at most {MAX_KEY} characters). It was not loaded."
    )


def _split(networks: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Split each state dict that holds the same structure under several prefixes (student and teacher, weights and
    their moving average) into one network per prefix."""
    result: dict[str, dict[str, Tensor]] = {}
    for path, tensors in networks.items():
        shaped = [name for name, tensor in tensors.items() if tensor.dim()]
        start = common_prefix(shaped)
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            head, dot, rest = name.removeprefix(start).partition(".")
            if dot and name.startswith(start):
                groups.setdefault(head, {})[rest] = tensor
        twins = [{key: tensor.shape for key, tensor in group.items()} for group in groups.values()]
        twin_heads = [head for head, own in zip(groups, twins, strict=True) if twins.count(own) > 1]
        whole = sum(len(group) for head, group in groups.items() if head in twin_heads) == len(shaped)
        networks_alike = all(_is_network(groups[head]) and len(groups[head]) > 2 for head in twin_heads)
        if len(twin_heads) > 1 and whole and networks_alike and not any(head.isdigit() for head in twin_heads):
            result |= {_joined(path, f"{start}{head}"): groups[head] for head in twin_heads}
        else:
            result[path] = tensors
    return result
