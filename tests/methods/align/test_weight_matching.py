"""Weight matching recovers permuted twins, only ever gains, looks at biases and not at running statistics."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import nn

from merging.errors import IncompatibleModels
from merging.methods.algorithms.coordinate_descent import (
    coordinate_descent,
    inner,
    matchable,
    neighbours,
    packed,
    rows_per_unit,
    unit_rows,
)
from merging.methods.align.weight_matching import WeightMatchingSettings, weight_matching
from merging.methods.problem import Problem
from merging.network.permutation import Axis, Group, PermutationSpec, permute, permute_tensors
from merging.pipeline.merge import merge
from merging.zoo.architectures import build
from tests.nets.pairs import make, problem, structure, tensors_of, trained, twin

DEFAULT = WeightMatchingSettings()


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
@given(seed=st.integers(0, 10_000))
def test_a_permuted_twin_is_recovered(kind: str, seed: int) -> None:
    model = make(kind, seed)
    other, back = twin(kind, model, seed + 1)
    found = weight_matching(problem(kind, (model, other), seed=seed), DEFAULT).permutations
    assert all(torch.equal(found[1][group], back[group]) for group in back)
    assert all(p.dtype == torch.int64 for p in found[1].values())


@pytest.mark.parametrize("start", ["identity", "random"])
def test_the_noted_objective_is_that_of_the_permutation(start: str) -> None:
    a, b = trained("cnn", 0, 3), trained("cnn", 1, 3)
    task = problem("cnn", (a, b))
    found = weight_matching(task, WeightMatchingSettings(start=start))
    parameters = {name: p.detach().double() for name, p in a.named_parameters() if name in task.spec.by_parameter}
    moved = dict(permute(b, task.spec, found.permutations[1]).named_parameters())
    objective = sum(float((p * moved[name].detach()).sum()) for name, p in parameters.items())
    notes = found.notes
    assert notes["objective"] == pytest.approx(objective, rel=1e-9)
    assert notes["objective"] == max(notes["objectives"]) > notes["objective_at_identity"]
    assert notes["spread"] == max(notes["objectives"]) - min(notes["objectives"])
    assert len(notes["objectives"]) == 5
    assert notes["settled"]


def test_no_sweep_loses_and_the_gains_sum_to_the_objective() -> None:
    task = problem("residual", (make("residual", 3), make("residual", 4)))
    notes = weight_matching(task, WeightMatchingSettings(restarts=1)).notes
    assert min(notes["gains"]) >= 0
    assert notes["objective_at_identity"] + sum(notes["gains"]) == pytest.approx(notes["objective"], rel=1e-5)


def test_the_end_is_a_local_optimum_of_every_group() -> None:
    """Where the descent stops, no single assignment of one group gains: skipping unchanged groups lost nothing."""
    _, spec = structure("residual")
    (a, spec), (b, _) = (packed(matchable(make("residual", seed).double(), spec), spec) for seed in (3, 4))
    end = coordinate_descent(a, b, spec, spec.identity(), np.random.default_rng(0), 100, lambda sweep, gain: None)
    moved = permute_tensors(b, spec, end.permutation)
    for group in spec.groups:
        scores = sum(x @ y.T for x, y in zip(unit_rows(a, group), unit_rows(moved, group), strict=True)).numpy()
        rows, columns = linear_sum_assignment(scores, maximize=True)
        assert scores[rows, columns].sum() <= np.trace(scores) * (1 + 1e-9)


def test_the_bound_on_sweeps_is_kept_and_said() -> None:
    task = problem("residual", (make("residual", 3), make("residual", 4)))
    notes = weight_matching(task, WeightMatchingSettings(restarts=1, sweeps=1)).notes
    assert len(notes["gains"]) == 1
    assert not notes["settled"]


def test_running_statistics_are_not_matched_on() -> None:
    a, b = make("residual", 0), make("residual", 1)
    changed = copy.deepcopy(b)
    for module in changed.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.mul_(-50)
            module.running_var.copy_(module.running_var.flip(0) * 90)
    before = weight_matching(problem("residual", (a, b)), DEFAULT)
    after = weight_matching(problem("residual", (a, changed)), DEFAULT)
    assert before.notes["objective"] == after.notes["objective"]
    assert all(torch.equal(before.permutations[1][g], after.permutations[1][g]) for g in before.permutations[1])


@pytest.mark.parametrize("vector", ["1.bias", "3.bias"])
def test_biases_decide_where_weights_do_not(vector: str) -> None:
    a = make("mlp", 0)
    with torch.no_grad():
        for name, p in a.named_parameters():
            if name != vector:
                p.fill_(0.1)
    other, back = twin("mlp", a, 1)
    found = weight_matching(problem("mlp", (a, other)), DEFAULT).permutations[1]
    group = vector.removesuffix(".bias")
    assert torch.equal(found[group], back[group])


def test_norm_parameters_decide_where_weights_do_not() -> None:
    a = make("residual", 0)
    with torch.no_grad():
        for name, p in a.named_parameters():
            if name != "3.bn1.weight":
                p.fill_(0.1)
    other, back = twin("residual", a, 1)
    task = problem("residual", (a, other))
    group = next(g.name for g in task.spec.groups if any(axis.parameter == "3.bn1.weight" for axis in g.axes))
    assert torch.equal(weight_matching(task, DEFAULT).permutations[1][group], back[group])


def test_a_group_on_both_axes_of_a_tensor_is_named_and_never_loses() -> None:
    net = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 9), nn.Linear(9, 3))
    axes = (Axis("0.weight", 0), Axis("0.bias", 0), Axis("1.weight", 1), Axis("1.weight", 0), Axis("1.bias", 0))
    spec = PermutationSpec((Group("stream", 9, (*axes, Axis("2.weight", 1))),))
    other = copy.deepcopy(net)
    with torch.no_grad():
        for p in other.parameters():
            p.normal_()
    found = weight_matching(Problem((net, other), structure("mlp")[0], spec), DEFAULT)
    assert found.notes["quadratic_groups"] == ["stream"] == neighbours(spec)["stream"]
    assert min(found.notes["gains"]) >= 0
    assert found.notes["settled"]
    shuffled = permute(net, spec, spec.random(3))
    again = weight_matching(Problem((net, shuffled), structure("mlp")[0], spec), DEFAULT)
    assert again.notes["objective"] == pytest.approx(sum(inner(p, p) for p in matchable(net, spec).values()))


def test_units_are_unfolded_in_blocks_and_from_an_offset() -> None:
    weight = torch.arange(2 * 7).view(2, 7).float()
    rows = rows_per_unit(weight, Axis("w", 1, block=2, offset=1), units=3)
    assert rows.shape == (3, 4)
    assert sorted(rows[1].tolist()) == [3.0, 4.0, 10.0, 11.0]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_matched_too(kind: torch.dtype) -> None:
    model = make("cnn", 0).to(kind)
    other, back = twin("cnn", model, 1)
    found = weight_matching(problem("cnn", (model, other)), DEFAULT).permutations[1]
    assert all(torch.equal(found[group], back[group]) for group in back)


def test_sweeps_are_told_in_words() -> None:
    told: list[tuple[str, float | None, str]] = []
    task = problem("mlp", (make("mlp", 0), make("mlp", 1)), report=lambda *args: told.append(args))
    before = tensors_of(task.models[1])
    weight_matching(task, WeightMatchingSettings(restarts=2))
    assert told[0][0] == "matching"
    assert "sweep 1, gain" in told[0][2]
    assert told[-1][2].endswith("(restart 2 of 2)")
    fractions = [fraction for _, fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0
    assert fractions[-1] < 1
    assert all(torch.equal(before[name], t) for name, t in task.models[1].state_dict().items())


def test_weights_whose_products_overflow_are_refused_in_words():
    nets = [build("mlp", {"widths": [8, 8]}, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        for net in nets:
            for parameter in net.parameters():
                parameter.mul_(1e30)
    with pytest.raises(IncompatibleModels, match="too large for their number type"):
        merge(nets, example=torch.rand(2, 1, 28, 28))
