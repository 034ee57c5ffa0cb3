"""Recovery rate of planted permutations on weakly anchored residual MLPs: `python -m benchmarks.planted`.

B is A with its units in a random order; A's weights are N(0, 1). A draw counts as recovered if B, permuted back, equals
A within 1e-5. "biases only": the stem and the head each have equal weights for all units of the residual stream, so
that there only biases distinguish these units.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

from merging.methods.align.frank_wolfe import FrankWolfeSettings, frank_wolfe
from merging.methods.align.weight_matching import WeightMatchingSettings, weight_matching
from merging.methods.problem import Alignment, Problem
from merging.network.graph.graph import export
from merging.network.permutation import permute
from merging.network.tracing.tracer import trace_graph

SIZES = ((16, 32), (30, 50), (64, 128))


class ResidualMLP(nn.Module):
    """Two residual blocks between a stem of two inputs and a head of two outputs."""

    def __init__(self, stream: int, hidden: int, seed: int, *, biases_only: bool) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(2, stream), nn.Linear(stream, 2)
        self.up = nn.ModuleList(nn.Linear(stream, hidden) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(hidden, stream) for _ in range(2))
        rng = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=rng)
        if biases_only:
            with torch.no_grad():
                self.stem.weight.copy_(self.stem.weight[:1].expand_as(self.stem.weight))
                self.head.weight.copy_(self.head.weight[:, :1].expand_as(self.head.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 2) of inputs x (n, 2)."""
        x = self.stem(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.head(x)


def planted(stream: int, hidden: int, seed: int, biases_only: bool) -> Problem:
    """A network, and the same network with its units in an order drawn from the seed."""
    net = ResidualMLP(stream, hidden, seed, biases_only=biases_only)
    graph = export(net, torch.zeros(2, 2))
    spec = trace_graph(graph)
    return Problem((net, permute(net, spec, spec.random(seed + 1000))), graph, spec, seed=seed)


def found(given: Problem, alignment: Alignment) -> bool:
    """Whether the alignment turns B's weights into A's again."""
    back = permute(given.models[1], given.spec, alignment.permutations[1])
    pairs = zip(back.parameters(), given.models[0].parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=1e-5) for a, b in pairs)


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    draws = range(parser.parse_args().draws)
    for biases_only in (False, True):
        for stream, hidden in SIZES:
            problems = [planted(stream, hidden, seed, biases_only) for seed in draws]
            descent = sum(found(p, weight_matching(p, WeightMatchingSettings(restarts=1))) for p in problems)
            restarts = sum(found(p, weight_matching(p, WeightMatchingSettings())) for p in problems)
            together = sum(found(p, frank_wolfe(p, FrankWolfeSettings())) for p in problems)
            label = "biases only" if biases_only else "all weights"
            print(f"stream {stream}, hidden {hidden}, {label}: of {len(draws)} draws weight matching found {descent} "
                  f"(best of 5 restarts {restarts}), Frank-Wolfe {together}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
