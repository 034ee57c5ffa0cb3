"""Frank-Wolfe and the matching of many: planted permutations, cycles, and what a descent over single groups misses."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from merging.methods.algorithms.coordinate_descent import matchable, objective, packed
from merging.methods.algorithms.frank_wolfe import barycentre, hard, pairwise_products, soften
from merging.methods.algorithms.many_models import agreement_of, rebased
from merging.methods.align.cycle_consistent import CycleConsistentSettings, cycle_consistent
from merging.methods.align.frank_wolfe import FrankWolfeSettings, frank_wolfe
from merging.methods.align.merge_many import MergeManySettings, merge_many
from merging.methods.align.weight_matching import WeightMatchingSettings, weight_matching
from merging.methods.problem import Problem
from merging.network.graph.graph import export
from merging.network.permutation import compose, invert, permute, permute_tensors
from merging.network.tracing.tracer import trace_graph
from merging.zoo.architectures import build
from tests.nets.nets import NETS
from tests.nets.pairs import make, problem, structure, twin

JOINT = {
    "cycle-consistent": lambda given: cycle_consistent(given, CycleConsistentSettings()),
    "merge-many": lambda given: merge_many(given, MergeManySettings()),
}


class ResidualMLP(nn.Module):
    """A stream that only the first and the last layer anchor, with N(0, 1) weights: the trap of coordinate descent."""

    def __init__(self, stream: int, hidden: int, seed: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(2, stream), nn.Linear(stream, 2)
        self.up = nn.ModuleList(nn.Linear(stream, hidden) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(hidden, stream) for _ in range(2))
        rng = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=rng)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.head(x)


def planted(net: nn.Module, example: torch.Tensor, seed: int) -> Problem:
    """The net and a twin of it with its units in another order."""
    graph = export(net, example)
    spec = trace_graph(graph)
    return Problem((net, permute(net, spec, spec.random(seed))), graph, spec, seed=seed)


def recovers(given: Problem, alignment) -> bool:
    back = permute(given.models[1], given.spec, alignment.permutations[1])
    pairs = zip(back.parameters(), given.models[0].parameters(), strict=True)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


@cache
def draw(seed: int) -> Problem:
    return planted(ResidualMLP(30, 50, seed), torch.randn(2, 2), seed + 100)


def test_weakly_anchored_residual_twins_are_recovered_where_coordinate_descent_is_caught() -> None:
    """Ten draws of a hundred that `python -m benchmarks.planted` makes; coordinate descent finds about one in three."""
    by_descent = [recovers(draw(s), weight_matching(draw(s), WeightMatchingSettings(restarts=1))) for s in range(6)]
    together = [recovers(draw(s), frank_wolfe(draw(s), FrankWolfeSettings(start="barycentre"))) for s in range(6)]
    assert all(together)
    assert not all(by_descent)


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("mlp", {"in_shape": [1, 6, 6], "classes": 10, "widths": [24, 20]}),
        ("cnn", {"in_shape": [1, 12, 12], "classes": 10, "widths": [8, 12], "norm": "batch"}),
        ("resnet", {"in_shape": [1, 12, 12], "classes": 10, "widths": [8, 12], "blocks": [1, 1], "norm": "batch"}),
    ],
)  # fmt: skip
def test_twins_of_every_zoo_architecture_are_recovered(architecture: str, config: dict) -> None:
    torch.manual_seed(0)
    net = build(architecture, config).eval()
    given = planted(net, torch.randn(2, *config["in_shape"]), 5)
    assert recovers(given, frank_wolfe(given, FrankWolfeSettings()))


@pytest.mark.parametrize("name", ["grouped", "transformer", "concatenated", "tied", "residual-pad", "used-twice"])
def test_nested_concatenated_and_tied_groups_are_followed(name: str) -> None:
    net, example = NETS[name]()
    given = planted(net, example, 2)
    assert recovers(given, frank_wolfe(given, FrankWolfeSettings()))


def test_what_it_finds_is_never_worse_than_the_identity_or_the_descent_it_ends_with() -> None:
    given = problem("cnn", (make("cnn", 0), make("cnn", 1)))
    notes = frank_wolfe(given, FrankWolfeSettings()).notes
    assert notes["objective"] == max(notes["objectives"].values()) >= notes["objective_at_identity"]
    assert all(later >= earlier - 1e-3 for earlier, later in zip(notes["soft"], notes["soft"][1:], strict=False))


def test_a_hard_soft_permutation_is_the_permutation_and_the_barycentre_is_all_of_them() -> None:
    net, example = NETS["transformer"]()
    graph = export(net, example)
    tensors, spec = packed(matchable(net, trace_graph(graph)), trace_graph(graph))
    order, like = spec.random(4), next(iter(tensors.values()))
    moved = permute_tensors(tensors, spec, order)
    for name, tensor in soften(tensors, spec, hard(order, like)).items():
        assert torch.allclose(tensor, moved[name]), name
    assert all(torch.allclose(p.sum(0), torch.ones(len(p))) for p in barycentre(spec, like).values())


def test_the_agreement_is_the_sum_of_inner_products_over_pairs() -> None:
    nets = [matchable(make("mlp", seed), structure("mlp")[1]) for seed in range(3)]
    pairs = [objective(nets[i], nets[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert float(pairwise_products(nets)) == pytest.approx(sum(pairs), rel=1e-5)
    still = [structure("mlp")[1].identity()] * 3
    assert agreement_of(nets, structure("mlp")[1], still) == pytest.approx(sum(pairs), rel=1e-6)


@pytest.mark.parametrize("method", JOINT)
@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_three_twins_come_back_to_the_first(kind: str, method: str) -> None:
    net = make(kind, 0)
    second, back = twin(kind, net, 1)
    third, home = twin(kind, net, 2)
    found = JOINT[method](problem(kind, (net, second, third))).permutations
    assert all(torch.equal(found[1][group], back[group]) for group in back)
    assert all(torch.equal(found[2][group], home[group]) for group in home)


@pytest.mark.parametrize("method", JOINT)
def test_going_round_a_cycle_of_models_changes_nothing_and_the_order_of_models_hardly_matters(method: str) -> None:
    nets = tuple(make("mlp", seed) for seed in range(3))
    found = JOINT[method](problem("mlp", nets))
    a, b, c = found.permutations
    spec = structure("mlp")[1]
    to_b, to_c, home = (compose(invert(y), x) for x, y in ((a, b), (b, c), (c, a)))
    cycle = compose(compose(home, to_c), to_b)
    assert all(torch.equal(cycle[name], still) for name, still in spec.identity().items())
    assert found.notes["objective"] > found.notes["objective_at_identity"]


def test_rebasing_keeps_all_pairs_matched() -> None:
    spec = structure("mlp")[1]
    nets = [matchable(make("mlp", seed), spec) for seed in range(3)]
    found = [spec.random(seed) for seed in range(3)]
    first, *_ = moved = rebased(found)
    assert all(torch.equal(p, spec.identity()[name]) for name, p in first.items())
    assert agreement_of(nets, spec, moved) == pytest.approx(agreement_of(nets, spec, found), rel=1e-9)


@pytest.mark.parametrize("method", JOINT)
def test_models_are_left_as_they_are_and_a_seed_gives_one_answer(method: str) -> None:
    nets = tuple(make("residual", seed) for seed in range(3))
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    first, again = (JOINT[method](problem("residual", nets, seed=4)) for _ in range(2))
    assert first.notes == again.notes
    assert all(
        torch.equal(a, b)
        for old, net in zip(before, nets, strict=True)
        for a, b in zip(old.values(), net.state_dict().values(), strict=True)
    )
