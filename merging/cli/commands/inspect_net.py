"""`inspect`: show what a checkpoint is, and which of its tensor axes may be permuted together."""

from __future__ import annotations

import argparse
from math import prod
from typing import TYPE_CHECKING, Any

from merging.cli.console import say, say_json
from merging.cli.nets import Net, read_net, refuse_useless_options
from merging.cli.options import Options, add_data, add_json, add_nets
from merging.errors import AmbiguousCheckpoint
from merging.progress import Progress

if TYPE_CHECKING:
    from merging.network.permutation import Group

NAME, HELP = "inspect", "show a checkpoint's architecture, data and permutation groups"
MOST_VALUES = 10_000_000  # limit on the values of one input, above the size of any usual image


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_nets(parser, "NET")
    add_data(parser)
    parser.add_argument("--input", metavar="C,H,W", help="shape of one input, for a network of your own factory")
    add_json(parser)


def run(options: Options, report: Progress) -> None:
    """Load and trace the network, and print what was found."""
    from merging.network.graph.graph import export
    from merging.network.tracing.tracer import coverage, trace_graph, verify

    net = _read(options)
    model, inputs = net.module(), _example(net, options.input)
    report("tracing", None, net.label)
    graph = export(model, inputs)
    spec = trace_graph(graph)
    permuted, units = coverage(graph, spec)
    report("verifying", None, "permuting units at random and comparing outputs")
    error = verify(model, spec, inputs)
    facts = {
        **_facts(net),
        "equivalence": error,
        "permuted": permuted,
        "units": units,
        "groups": [_group(group) for group in spec.groups],
    }
    if options.json:
        return say_json(facts)
    for key in ("name", "architecture", "label", "config", "dataset", "classes", "mean", "std", "seed", "parameters"):
        value = facts[key]
        say(f"{key:13} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    say(f"{'why':13} {facts['why']}")
    for theirs, ours in facts["renamed"].items():
        say(f"{'renamed':13} {theirs} is called {ours} here")
    say(f"{'equivalence':13} {error:.1e} (largest relative change of the outputs under a random permutation)")
    say(f"{'permuted':13} {permuted} of {units} units of hidden layers")
    for group in spec.groups:
        say(f"\n{group.name}: {group.size} units{'' if group.linear else ', which can only be permuted'}")
        for place in group.places:
            say(f"  {place}")
    return None


def _read(options: Options) -> Net:
    """Read the network. If several fit, --json prints the candidates before AmbiguousCheckpoint is raised."""
    try:
        refuse_useless_options((options.net,), options)
        return read_net(options.net, options)
    except AmbiguousCheckpoint as question:
        if options.json:
            candidates = [candidate.to_dict() for candidate in question.candidates]
            say_json({"candidates": candidates, "accuracy": None, "why": question.why})
        raise


def _facts(net: Net) -> dict[str, Any]:
    checkpoint = net.checkpoint
    keys = ("name", "architecture", "config", "dataset", "seed", "epochs", "sha256")
    return {
        **{key: getattr(checkpoint, key) for key in keys},
        **{key: list(getattr(checkpoint, key)) for key in ("classes", "mean", "std", "was")},
        "label": net.label,
        "parameters": sum(parameter.numel() for parameter in net.module().parameters()),
        "renamed": dict(checkpoint.renamed or {}),
        "why": checkpoint.why,
        "aside": list(checkpoint.aside),
        "accuracy": checkpoint.measured[0].accuracy if checkpoint.measured else None,
        "measured": [one.to_dict() for one in checkpoint.measured],
        "candidates": [{"architecture": checkpoint.architecture, "config": checkpoint.config, "label": net.label}],
    }


def _example(net: Net, shape: str | None) -> Any:
    import torch

    from merging.errors import InvalidSetting
    from merging.jobs.tasks.common import example

    if shape is None and net.is_own:
        raise InvalidSetting(
            "A network of your own factory needs --input, the shape of one input, such as --input 3,32,32."
        )
    if shape is None:
        return example(net.ref, torch.device("cpu"))
    sizes = [int(size) for size in shape.split(",") if size.isdecimal()]
    if len(sizes) != shape.count(",") + 1 or not 1 <= prod(sizes) <= MOST_VALUES:
        limit = f"with {MOST_VALUES:,} values at most"
        raise InvalidSetting(f"--input takes whole numbers above 0 such as 3,32,32, {limit}; got {shape}.")
    return torch.rand(2, *sizes)


def _group(group: Group) -> dict[str, Any]:
    return {"name": group.name, "units": group.size, "axes": [vars(axis) for axis in group.axes]}
